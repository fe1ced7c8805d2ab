//! With whose rights a pod and its containers run.
//!
//! A container's word goes before the pod's. Where neither speaks about system calls the node's default applies: no
//! filter, as upstream, or the runtime's (`--seccomp-default`). A sandbox runs only our own pause, behind a filter.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, SeccompProfile};

use super::{all_containers, name, namespace, uid};
use crate::runtime::{Capabilities, Image, NamespaceMode, Namespaces, Seccomp, Security};

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Which instances of the namespaces the pod's containers get.
pub(crate) fn namespaces(spec: &PodSpec) -> Namespaces {
    let node_or_pod =
        |node: Option<bool>| if node == Some(true) { NamespaceMode::Node } else { NamespaceMode::Pod };
    let pid = match (spec.host_pid, spec.share_process_namespace) {
        (Some(true), _) => NamespaceMode::Node,
        (_, Some(true)) => NamespaceMode::Pod,
        _ => NamespaceMode::Container,
    };
    Namespaces { network: node_or_pod(spec.host_network), ipc: node_or_pod(spec.host_ipc), pid }
}

fn privileged(container: &Container) -> bool {
    container.security_context.as_ref().and_then(|context| context.privileged).unwrap_or(false)
}

/// What a node knows about filters of system calls.
#[derive(Debug, Clone)]
pub(crate) struct Filters {
    /// Where the profiles lie that pods may name.
    pub(crate) profiles: PathBuf,
    /// For containers that say nothing.
    pub(crate) default: Seccomp,
}

impl Filters {
    fn of(&self, profile: Option<&SeccompProfile>) -> Seccomp {
        match profile.map(|profile| (profile.type_.as_str(), &profile.localhost_profile)) {
            None => self.default.clone(),
            Some(("Unconfined", _)) => Seccomp::Unconfined,
            Some(("Localhost", Some(file))) => Seccomp::Localhost(self.profiles.join(file)),
            Some(_) => Seccomp::RuntimeDefault,
        }
    }
}

/// The sandbox's rights.
pub(crate) fn of_sandbox(spec: &PodSpec) -> Security {
    let pod = spec.security_context.clone().unwrap_or_default();
    Security {
        namespaces: namespaces(spec),
        user: pod.run_as_user,
        group: pod.run_as_user.and(pod.run_as_group),
        supplemental_groups: groups(spec),
        privileged: all_containers(spec).any(privileged),
        seccomp: Seccomp::RuntimeDefault,
        ..Security::default()
    }
}

fn groups(spec: &PodSpec) -> Vec<i64> {
    let Some(pod) = &spec.security_context else { return Vec::new() };
    pod.fs_group.into_iter().chain(pod.supplemental_groups.iter().flatten().copied()).collect()
}

/// A container's rights; the text says why it may not run.
pub(crate) fn of_container(
    pod: &Pod,
    container: &Container,
    image: &Image,
    filters: &Filters,
) -> Result<Security, String> {
    let Some(spec) = &pod.spec else { return Ok(Security::default()) };
    let shared = spec.security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let user = own.run_as_user.or(shared.run_as_user);
    if own.run_as_non_root.or(shared.run_as_non_root) == Some(true) {
        non_root(pod, container, user, image)?;
    }
    let privileged = privileged(container);
    let unmasked = privileged || own.proc_mount.as_deref() == Some("Unmasked");
    let list = |items: &[&str]| -> Vec<String> {
        if unmasked { Vec::new() } else { items.iter().map(|&item| item.to_owned()).collect() }
    };
    let added = own.capabilities.unwrap_or_default();
    Ok(Security {
        namespaces: namespaces(spec),
        pid_target: None,
        user: user.or(image.uid),
        user_name: if user.or(image.uid).is_none() { image.username.clone() } else { String::new() },
        group: own.run_as_group.or(shared.run_as_group),
        supplemental_groups: groups(spec),
        privileged,
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or(false),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        capabilities: Capabilities {
            add: added.add.unwrap_or_default(),
            drop: added.drop.unwrap_or_default(),
        },
        seccomp: if privileged {
            Seccomp::Unconfined
        } else {
            filters.of(own.seccomp_profile.as_ref().or(shared.seccomp_profile.as_ref()))
        },
        masked_paths: list(&MASKED),
        readonly_paths: list(&READ_ONLY),
    })
}

fn non_root(pod: &Pod, container: &Container, user: Option<i64>, image: &Image) -> Result<(), String> {
    let place =
        format!("(pod: \"{}_{}({})\", container: {})", name(pod), namespace(pod), uid(pod), container.name);
    match (user, image.uid) {
        (Some(0), _) => Err(format!("container's runAsUser breaks non-root policy {place}")),
        (Some(_), _) => Ok(()),
        (None, Some(0)) => Err(format!("container has runAsNonRoot and image will run as root {place}")),
        (None, None) if !image.username.is_empty() => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root {place}",
            image.username
        )),
        (None, None) => Err(format!("container has runAsNonRoot and image will run as root {place}")),
        (None, Some(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_s_filter_is_for_those_who_ask_for_none_of_their_own() {
        let filters = Filters { profiles: "/profiles".into(), default: Seccomp::Unconfined };
        let profile = |kind: &str, file: Option<&str>| SeccompProfile {
            type_: kind.to_owned(),
            localhost_profile: file.map(str::to_owned),
        };
        assert_eq!(filters.of(None), Seccomp::Unconfined);
        assert_eq!(filters.of(Some(&profile("RuntimeDefault", None))), Seccomp::RuntimeDefault);
        assert_eq!(
            filters.of(Some(&profile("Localhost", Some("own.json")))),
            Seccomp::Localhost("/profiles/own.json".into())
        );
        let strict = Filters { default: Seccomp::RuntimeDefault, ..filters };
        assert_eq!(strict.of(None), Seccomp::RuntimeDefault);
        assert_eq!(strict.of(Some(&profile("Unconfined", None))), Seccomp::Unconfined);
    }
}
