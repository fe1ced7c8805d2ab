//! What a pod does that is hardened as far as is known how.

use k8s_openapi::api::core::v1::SecurityContext;

use super::baseline::{any_proc_mount, confines, seccomp_setters};
use super::{Subject, Violation, containers, has_own_users, listed, quoted, setters, sorted, violation};
use crate::admission::pod_security::policy::Version;

/// From 1.25 on, pods of Windows need not set what only Linux knows.
fn is_windows(subject: Subject<'_>) -> bool {
    subject.version >= Version::minor(25) && subject.spec.os.as_ref().is_some_and(|os| os.name == "windows")
}

pub(super) fn privilege_escalation(subject: Subject<'_>) -> Option<Violation> {
    if is_windows(subject) {
        return None;
    }
    let forbids = |security: &SecurityContext| security.allow_privilege_escalation == Some(false);
    let bad: Vec<&str> = containers(subject.spec)
        .filter(|container| !container.security.is_some_and(forbids))
        .map(|container| container.name)
        .collect();
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", listed(&bad));
    violation("allowPrivilegeEscalation != false", detail)
}

pub(super) fn capabilities(subject: Subject<'_>) -> Option<Violation> {
    if is_windows(subject) {
        return None;
    }
    let (mut keeping, mut adding, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for container in containers(subject.spec) {
        let capabilities = container.security.and_then(|security| security.capabilities.as_ref());
        let drops_all = capabilities.is_some_and(|c| c.drop.iter().flatten().any(|name| name == "ALL"));
        if !drops_all {
            keeping.push(container.name);
        }
        let add = capabilities.into_iter().flat_map(|capabilities| capabilities.add.iter().flatten());
        let before = added.len();
        added.extend(add.map(String::as_str).filter(|name| *name != "NET_BIND_SERVICE"));
        if added.len() > before {
            adding.push(container.name);
        }
    }
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", listed(&keeping)));
    }
    if !adding.is_empty() {
        let added = quoted(sorted(added.into_iter()));
        details.push(format!(
            "{} must not include {added} in securityContext.capabilities.add",
            listed(&adding)
        ));
    }
    if details.is_empty() { None } else { violation("unrestricted capabilities", details.join("; ")) }
}

pub(super) fn proc_mount(subject: Subject<'_>) -> Option<Violation> {
    any_proc_mount(subject)
}

pub(super) fn volumes(subject: Subject<'_>) -> Option<Violation> {
    let volumes = subject.spec.volumes.iter().flatten().filter(|volume| {
        let harmless = volume.config_map.is_some()
            || volume.csi.is_some()
            || volume.downward_api.is_some()
            || volume.empty_dir.is_some()
            || volume.ephemeral.is_some()
            || volume.image.is_some()
            || volume.persistent_volume_claim.is_some()
            || volume.projected.is_some()
            || volume.secret.is_some();
        !harmless
    });
    let mut bad: Vec<(&str, &str)> = volumes.map(|volume| (volume.name.as_str(), kind(volume))).collect();
    bad.sort_unstable();
    if bad.is_empty() {
        return None;
    }
    let names: Vec<&str> = bad.iter().map(|(name, _)| *name).collect();
    let kinds = sorted(bad.iter().map(|(_, kind)| *kind));
    let detail = format!(
        "{} {} {} restricted volume {} {}",
        super::plural("volume", "volumes", names.len()),
        quoted(names.iter().copied()),
        super::plural("uses", "use", names.len()),
        super::plural("type", "types", kinds.len()),
        quoted(kinds)
    );
    violation("restricted volume types", detail)
}

/// The field that says what a volume is.
fn kind(volume: &k8s_openapi::api::core::v1::Volume) -> &'static str {
    let kinds = [
        (volume.host_path.is_some(), "hostPath"),
        (volume.gce_persistent_disk.is_some(), "gcePersistentDisk"),
        (volume.aws_elastic_block_store.is_some(), "awsElasticBlockStore"),
        (volume.git_repo.is_some(), "gitRepo"),
        (volume.nfs.is_some(), "nfs"),
        (volume.iscsi.is_some(), "iscsi"),
        (volume.glusterfs.is_some(), "glusterfs"),
        (volume.rbd.is_some(), "rbd"),
        (volume.flex_volume.is_some(), "flexVolume"),
        (volume.cinder.is_some(), "cinder"),
        (volume.cephfs.is_some(), "cephfs"),
        (volume.flocker.is_some(), "flocker"),
        (volume.fc.is_some(), "fc"),
        (volume.azure_file.is_some(), "azureFile"),
        (volume.vsphere_volume.is_some(), "vsphereVolume"),
        (volume.quobyte.is_some(), "quobyte"),
        (volume.azure_disk.is_some(), "azureDisk"),
        (volume.photon_persistent_disk.is_some(), "photonPersistentDisk"),
        (volume.portworx_volume.is_some(), "portworxVolume"),
        (volume.scale_io.is_some(), "scaleIO"),
        (volume.storageos.is_some(), "storageos"),
    ];
    kinds.into_iter().find(|(is, _)| *is).map_or("unknown", |(_, kind)| kind)
}

pub(super) fn run_as_non_root(subject: Subject<'_>) -> Option<Violation> {
    if has_own_users(subject.spec) {
        return None;
    }
    let reason = "runAsNonRoot != true";
    let pod = subject.spec.security_context.as_ref().and_then(|security| security.run_as_non_root);
    let (mut explicit, mut implicit) = (Vec::new(), Vec::new());
    for container in containers(subject.spec) {
        match container.security.and_then(|security| security.run_as_non_root) {
            Some(false) => explicit.push(container.name),
            None if pod != Some(true) => implicit.push(container.name),
            _ => {}
        }
    }
    if let Some(who) = setters(pod == Some(false), &explicit) {
        return violation(reason, format!("{who} must not set securityContext.runAsNonRoot=false"));
    }
    if implicit.is_empty() {
        return None;
    }
    violation(reason, format!("pod or {} must set securityContext.runAsNonRoot=true", listed(&implicit)))
}

pub(super) fn run_as_user(subject: Subject<'_>) -> Option<Violation> {
    if has_own_users(subject.spec) {
        return None;
    }
    let pod = subject.spec.security_context.as_ref().is_some_and(|security| security.run_as_user == Some(0));
    let bad = super::named(subject.spec, |security| security.run_as_user == Some(0));
    let who = setters(pod, &bad)?;
    violation("runAsUser=0", format!("{who} must not set runAsUser=0"))
}

pub(super) fn seccomp(subject: Subject<'_>) -> Option<Violation> {
    if is_windows(subject) {
        return None;
    }
    if let Some((who, values)) = seccomp_setters(subject) {
        let detail = format!("{who} must not set securityContext.seccompProfile.type to {values}");
        return violation("seccompProfile", detail);
    }
    let pod = subject.spec.security_context.as_ref().and_then(|security| security.seccomp_profile.as_ref());
    if pod.is_some_and(|profile| confines(&profile.type_)) {
        return None;
    }
    let unset = |security: Option<&SecurityContext>| security.is_none_or(|s| s.seccomp_profile.is_none());
    let bad: Vec<&str> = containers(subject.spec)
        .filter(|container| unset(container.security))
        .map(|container| container.name)
        .collect();
    if bad.is_empty() {
        return None;
    }
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        listed(&bad)
    );
    violation("seccompProfile", detail)
}
