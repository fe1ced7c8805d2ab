//! Security contexts: who a container runs as and what it may do.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSpec, SeccompProfile, SecurityContext};
use skiff_api::Errors;

use crate::kinds::check;

const ID_RANGE: &str = "must be between 0 and 2147483647, inclusive";
const SYSCTL: &str = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

fn id(errors: &mut Errors, field: &str, id: Option<i64>) {
    if let Some(id) = id.filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        errors.invalid(field, &id, ID_RANGE);
    }
}

/// Checks what holds for a whole pod.
pub(super) fn pod(spec: &PodSpec, errors: &mut Errors) {
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid("shareProcessNamespace", &true, why);
    }
    let Some(context) = &spec.security_context else { return };
    errors.at("securityContext", |errors| {
        id(errors, "fsGroup", context.fs_group);
        id(errors, "runAsUser", context.run_as_user);
        id(errors, "runAsGroup", context.run_as_group);
        for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
            id(errors, &format!("supplementalGroups[{index}]"), Some(*group));
        }
        let mut seen = HashSet::new();
        for (index, sysctl) in context.sysctls.iter().flatten().enumerate() {
            let field = format!("sysctls[{index}].name");
            if sysctl.name.is_empty() {
                errors.required(&field, "");
            } else if !is_sysctl(&sysctl.name) {
                errors.invalid(&field, &sysctl.name, SYSCTL);
            } else if spec.host_network == Some(true) && sysctl.name.starts_with("net") {
                errors.invalid(&field, &sysctl.name, "may not be specified when 'hostNetwork' is true");
            } else if !seen.insert(&sysctl.name) {
                errors.duplicate(&field, &sysctl.name);
            }
        }
        if let Some(policy) = &context.fs_group_change_policy {
            check::one_of(errors, "fsGroupChangePolicy", policy, &["Always", "OnRootMismatch"]);
        }
        if let Some(policy) = &context.supplemental_groups_policy {
            check::one_of(errors, "supplementalGroupsPolicy", policy, &["Merge", "Strict"]);
        }
        seccomp(context.seccomp_profile.as_ref(), errors);
        app_armor(context.app_armor_profile.as_ref(), errors);
    });
}

fn is_sysctl(name: &str) -> bool {
    let part = |part: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(part.as_bytes().first()) && edge(part.as_bytes().last()) && part.bytes().all(inner)
    };
    name.len() <= 253 && name.split(['.', '/']).all(part)
}

/// Checks what holds for one container.
pub(super) fn container(context: &SecurityContext, errors: &mut Errors) {
    id(errors, "runAsUser", context.run_as_user);
    id(errors, "runAsGroup", context.run_as_group);
    if let Some(mount) = &context.proc_mount {
        check::one_of(errors, "procMount", mount, &["Default", "Unmasked"]);
    }
    seccomp(context.seccomp_profile.as_ref(), errors);
    app_armor(context.app_armor_profile.as_ref(), errors);
    if context.allow_privilege_escalation != Some(false) {
        return;
    }
    let shown = skiff_api::decode::tree(context).unwrap_or_default();
    if context.privileged == Some(true) {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.invalid("", &shown, why);
    }
    let added = context.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
    if added.into_iter().any(|name| name == "CAP_SYS_ADMIN") {
        let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        errors.invalid("", &shown, why);
    }
}

fn seccomp(profile: Option<&SeccompProfile>, errors: &mut Errors) {
    if let Some(profile) = profile {
        let file = profile.localhost_profile.as_ref();
        confinement("seccompProfile", "seccomp", &profile.type_, file, errors);
    }
}

fn app_armor(profile: Option<&AppArmorProfile>, errors: &mut Errors) {
    if let Some(profile) = profile {
        let file = profile.localhost_profile.as_ref();
        confinement("appArmorProfile", "AppArmor", &profile.type_, file, errors);
    }
}

fn confinement(field: &str, word: &str, kind: &str, file: Option<&String>, errors: &mut Errors) {
    errors.at(field, |errors| match (kind, check::given(file)) {
        ("", _) => errors.required("type", format!("type is required when {field} is set")),
        ("Localhost", None) => {
            errors.required("localhostProfile", format!("must be set when {word} type is Localhost"));
        }
        ("Localhost", Some(path)) if word == "seccomp" => {
            check::local_descending_path(errors, "localhostProfile", path);
        }
        ("Localhost", Some(_)) => {}
        ("RuntimeDefault" | "Unconfined", given) => {
            if let Some(path) = given {
                let why = format!("can only be set when {word} type is Localhost");
                errors.invalid("localhostProfile", path, why);
            }
        }
        (other, _) => errors.not_supported("type", other, &["Localhost", "RuntimeDefault", "Unconfined"]),
    });
}
