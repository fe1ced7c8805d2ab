//! What nobody should do who is not trusted with the node.

use k8s_openapi::api::core::v1::{LifecycleHandler, Probe, SELinuxOptions};

use super::{
    Subject, Violation, containers, has_own_users, listed, named, plural, quoted, setters, sorted, violation,
};
use crate::admission::pod_security::policy::Version;

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
/// What a container may add to the capabilities that runtimes give.
const CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Kernel settings of a pod's own, and the version that allowed them.
const SYSCTLS: &[(u32, &str)] = &[
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
];
const SELINUX_TYPES: &[(u32, &str)] = &[
    (0, ""),
    (0, "container_t"),
    (0, "container_init_t"),
    (0, "container_kvm_t"),
    (31, "container_engine_t"),
];

pub(super) fn app_armor(subject: Subject<'_>) -> Option<Violation> {
    let good = |kind: &str| matches!(kind, "RuntimeDefault" | "Localhost");
    let spec = subject.spec;
    let pod = spec.security_context.as_ref().and_then(|security| security.app_armor_profile.as_ref());
    let pod = pod.map(|profile| profile.type_.as_str()).filter(|kind| !good(kind));
    let mut values: Vec<&str> = pod.into_iter().collect();
    let mut bad = Vec::new();
    for container in containers(spec) {
        let profile = container.security.and_then(|security| security.app_armor_profile.as_ref());
        if let Some(profile) = profile.filter(|profile| !good(&profile.type_)) {
            bad.push(container.name);
            values.push(&profile.type_);
        }
    }
    let allowed =
        |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let annotations = subject.meta.annotations.iter().flatten();
    let annotations: Vec<String> = annotations
        .filter(|(key, value)| key.starts_with(APP_ARMOR) && !allowed(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    let mut who: Vec<String> = setters(pod.is_some(), &bad).into_iter().collect();
    if !annotations.is_empty() {
        who.push(plural("annotation", "annotations", annotations.len()).to_owned());
    }
    let mut values = sorted(values.into_iter());
    values.extend(annotations.iter().map(String::as_str));
    if who.is_empty() {
        return None;
    }
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len());
    let detail = format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(values));
    violation(reason, detail)
}

pub(super) fn capabilities(subject: Subject<'_>) -> Option<Violation> {
    let mut added = Vec::new();
    let mut bad = Vec::new();
    for container in containers(subject.spec) {
        let capabilities = container.security.and_then(|security| security.capabilities.as_ref());
        let add = capabilities.into_iter().flat_map(|capabilities| capabilities.add.iter().flatten());
        let before = added.len();
        added.extend(add.map(String::as_str).filter(|name| !CAPABILITIES.contains(name)));
        if added.len() > before {
            bad.push(container.name);
        }
    }
    if bad.is_empty() {
        return None;
    }
    let added = quoted(sorted(added.into_iter()));
    let detail = format!("{} must not include {added} in securityContext.capabilities.add", listed(&bad));
    violation("non-default capabilities", detail)
}

pub(super) fn host_namespaces(subject: Subject<'_>) -> Option<Violation> {
    let spec = subject.spec;
    let shared = [
        (spec.host_network, "hostNetwork=true"),
        (spec.host_pid, "hostPID=true"),
        (spec.host_ipc, "hostIPC=true"),
    ];
    let shared: Vec<&str> =
        shared.into_iter().filter(|(shared, _)| *shared == Some(true)).map(|(_, what)| what).collect();
    if shared.is_empty() { None } else { violation("host namespaces", shared.join(", ")) }
}

pub(super) fn host_path_volumes(subject: Subject<'_>) -> Option<Violation> {
    let volumes = subject.spec.volumes.iter().flatten().filter(|volume| volume.host_path.is_some());
    let names: Vec<&str> = volumes.map(|volume| volume.name.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    let word = plural("volume", "volumes", names.len());
    violation("hostPath volumes", format!("{word} {}", quoted(names)))
}

pub(super) fn host_ports(subject: Subject<'_>) -> Option<Violation> {
    let (mut bad, mut ports) = (Vec::new(), Vec::new());
    for container in containers(subject.spec) {
        let own: Vec<i32> =
            container.ports.iter().filter_map(|port| port.host_port).filter(|port| *port != 0).collect();
        if !own.is_empty() {
            bad.push(container.name);
            ports.extend(own.into_iter().map(|port| port.to_string()));
        }
    }
    if bad.is_empty() {
        return None;
    }
    // Sorted as texts, as upstream's set does.
    ports.sort_unstable();
    ports.dedup();
    let uses = plural("uses", "use", bad.len());
    let word = plural("hostPort", "hostPorts", ports.len());
    violation("hostPort", format!("{} {uses} {word} {}", listed(&bad), ports.join(", ")))
}

pub(super) fn probe_hosts(subject: Subject<'_>) -> Option<Violation> {
    let (mut bad, mut hosts) = (Vec::new(), Vec::new());
    for container in containers(subject.spec) {
        let lifecycle = container.lifecycle;
        let handlers = [
            lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref()),
            lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref()),
        ];
        let probes = container.probes.into_iter().flatten().flat_map(of_probe);
        let own: Vec<&str> = probes.chain(handlers.into_iter().flatten().flat_map(of_handler)).collect();
        if !own.is_empty() {
            bad.push(container.name);
            hosts.extend(own);
        }
    }
    if bad.is_empty() {
        return None;
    }
    let (bad, hosts) = (sorted(bad.into_iter()), sorted(hosts.into_iter()));
    let uses = plural("uses", "use", bad.len());
    let word = plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len());
    violation("probe or lifecycle host", format!("{} {uses} {word} {}", listed(&bad), quoted(hosts)))
}

fn of_probe(probe: &Probe) -> impl Iterator<Item = &str> {
    let http = probe.http_get.as_ref().and_then(|get| get.host.as_deref());
    let tcp = probe.tcp_socket.as_ref().and_then(|socket| socket.host.as_deref());
    http.into_iter().chain(tcp).filter(|host| !host.is_empty())
}

fn of_handler(handler: &LifecycleHandler) -> impl Iterator<Item = &str> {
    let http = handler.http_get.as_ref().and_then(|get| get.host.as_deref());
    let tcp = handler.tcp_socket.as_ref().and_then(|socket| socket.host.as_deref());
    http.into_iter().chain(tcp).filter(|host| !host.is_empty())
}

pub(super) fn privileged(subject: Subject<'_>) -> Option<Violation> {
    let bad = named(subject.spec, |security| security.privileged == Some(true));
    if bad.is_empty() {
        return None;
    }
    violation("privileged", format!("{} must not set securityContext.privileged=true", listed(&bad)))
}

pub(super) fn proc_mount(subject: Subject<'_>) -> Option<Violation> {
    if has_own_users(subject.spec) { None } else { any_proc_mount(subject) }
}

pub(super) fn any_proc_mount(subject: Subject<'_>) -> Option<Violation> {
    let (mut bad, mut values) = (Vec::new(), Vec::new());
    for container in containers(subject.spec) {
        let mount = container.security.and_then(|security| security.proc_mount.as_deref());
        if let Some(mount) = mount.filter(|mount| *mount != "Default") {
            bad.push(container.name);
            values.push(mount);
        }
    }
    if bad.is_empty() {
        return None;
    }
    let values = quoted(sorted(values.into_iter()));
    violation("procMount", format!("{} must not set securityContext.procMount to {values}", listed(&bad)))
}

pub(super) fn selinux(subject: Subject<'_>) -> Option<Violation> {
    let (mut types, mut user, mut role) = (Vec::new(), false, false);
    let mut bad = |options: &'_ SELinuxOptions| -> bool {
        let kind = options.type_.clone().unwrap_or_default();
        let known = SELINUX_TYPES
            .iter()
            .any(|(since, name)| *name == kind && subject.version >= Version::minor(*since));
        if !known {
            types.push(kind);
        }
        let set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        user |= set(&options.user);
        role |= set(&options.role);
        !known || set(&options.user) || set(&options.role)
    };
    let pod = subject.spec.security_context.as_ref().and_then(|security| security.se_linux_options.as_ref());
    let pod = pod.is_some_and(&mut bad);
    let of = |security: Option<&'_ k8s_openapi::api::core::v1::SecurityContext>| {
        security.and_then(|security| security.se_linux_options.clone())
    };
    let names: Vec<&str> = containers(subject.spec)
        .filter(|container| of(container.security).is_some_and(|options| bad(&options)))
        .map(|container| container.name)
        .collect();
    let who = setters(pod, &names)?;
    let types = sorted(types.iter().map(String::as_str));
    let mut what = Vec::new();
    if !types.is_empty() {
        what.push(format!("{} {}", plural("type", "types", types.len()), quoted(types)));
    }
    if user {
        what.push("user may not be set".to_owned());
    }
    if role {
        what.push("role may not be set".to_owned());
    }
    violation(
        "seLinuxOptions",
        format!("{who} set forbidden securityContext.seLinuxOptions: {}", what.join("; ")),
    )
}

pub(super) fn seccomp(subject: Subject<'_>) -> Option<Violation> {
    if subject.version < Version::minor(19) {
        return seccomp_annotations(subject);
    }
    let (who, values) = seccomp_setters(subject)?;
    violation("seccompProfile", format!("{who} must not set securityContext.seccompProfile.type to {values}"))
}

/// Before seccomp had fields.
fn seccomp_annotations(subject: Subject<'_>) -> Option<Violation> {
    let good = |value: &str| {
        matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/")
    };
    let keys = containers(subject.spec).map(|container| format!("{SECCOMP_CONTAINER}{}", container.name));
    let keys = std::iter::once(SECCOMP_POD.to_owned()).chain(keys);
    let annotations = subject.meta.annotations.as_ref()?;
    let mut bad: Vec<String> = keys
        .filter_map(|key| annotations.get(&key).map(|value| (key, value)))
        .filter(|(_, value)| !good(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    bad.sort_unstable();
    if bad.is_empty() {
        return None;
    }
    let word = plural("annotation", "annotations", bad.len());
    violation("seccompProfile", format!("forbidden {word} {}", bad.join(", ")))
}

/// A profile that confines.
pub(super) fn confines(kind: &str) -> bool {
    matches!(kind, "Localhost" | "RuntimeDefault")
}

/// Who sets a seccomp profile that does not confine, and which.
pub(super) fn seccomp_setters(subject: Subject<'_>) -> Option<(String, String)> {
    let pod = subject.spec.security_context.as_ref().and_then(|security| security.seccomp_profile.as_ref());
    let pod = pod.map(|profile| profile.type_.as_str()).filter(|kind| !confines(kind));
    let mut values: Vec<&str> = pod.into_iter().collect();
    let mut bad = Vec::new();
    for container in containers(subject.spec) {
        let profile = container.security.and_then(|security| security.seccomp_profile.as_ref());
        if let Some(profile) = profile.filter(|profile| !confines(&profile.type_)) {
            bad.push(container.name);
            values.push(&profile.type_);
        }
    }
    Some((setters(pod.is_some(), &bad)?, quoted(sorted(values.into_iter()))))
}

pub(super) fn sysctls(subject: Subject<'_>) -> Option<Violation> {
    let allowed = |name: &str| {
        SYSCTLS.iter().any(|(since, known)| *known == name && subject.version >= Version::minor(*since))
    };
    let security = subject.spec.security_context.as_ref();
    let set = security.into_iter().flat_map(|security| security.sysctls.iter().flatten());
    let bad: Vec<&str> = set.map(|sysctl| sysctl.name.as_str()).filter(|name| !allowed(name)).collect();
    if bad.is_empty() { None } else { violation("forbidden sysctls", bad.join(", ")) }
}

pub(super) fn windows_host_process(subject: Subject<'_>) -> Option<Violation> {
    let pod = subject.spec.security_context.as_ref().and_then(|security| security.windows_options.as_ref());
    let pod = pod.is_some_and(|options| options.host_process == Some(true));
    let bad = named(subject.spec, |security| {
        security.windows_options.as_ref().is_some_and(|options| options.host_process == Some(true))
    });
    let who = setters(pod, &bad)?;
    violation("hostProcess", format!("{who} must not set securityContext.windowsOptions.hostProcess=true"))
}
