//! The rules of 2014 that v1 does not have. Everything else is v1's to judge; its faults are put into the words of
//! 2014 by [`super::cause`].

use super::manifest::ContainerManifest;
use super::meta::TypeMeta;
use crate::errors::{Fault, FieldError};

/// How long a service's id may be: environment variables are named after it.
const SERVICE_NAME_MAX: usize = 24;
/// How long any name may be.
const NAME_MAX: usize = 253;

/// A fault in the form both words and causes are made from.
pub fn fault(path: &str, fault: Fault, value: &str, detail: &str) -> FieldError {
    FieldError { path: path.to_owned(), fault, value: value.to_owned(), detail: detail.to_owned() }
}

/// A member that must be given is missing.
pub fn required(path: &str) -> FieldError {
    fault(path, Fault::Required, "", "")
}

/// Why a free-text id cannot be a name, if it cannot. v1's format does not apply, but a name must fit in a path.
pub fn name_fault(id: &str) -> Option<&'static str> {
    if id.is_empty() {
        return Some("must not be empty");
    }
    if id == "." || id == ".." {
        return Some("must not be '.' or '..'");
    }
    if id.contains(['/', '%']) {
        return Some("must not contain '/' or '%'");
    }
    if id.bytes().any(|byte| byte.is_ascii_control()) {
        return Some("must not contain control characters");
    }
    (id.len() > NAME_MAX).then_some("must be no more than 253 bytes")
}

/// For the kinds whose ids are free text.
pub(super) fn free_name(meta: &TypeMeta, faults: &mut Vec<FieldError>) {
    if meta.id.is_empty() {
        faults.push(required("id"));
    } else if let Some(why) = name_fault(&meta.id) {
        faults.push(fault("id", Fault::Invalid, &meta.id, why));
    }
}

/// DNS952 as 2014 had it: a letter first, then letters, digits and inner dashes, lower case, 24 at most.
pub(super) fn service_name(meta: &TypeMeta, faults: &mut Vec<FieldError>) {
    let id = meta.id.as_str();
    if id.is_empty() {
        faults.push(required("id"));
    } else if !is_dns952(id) {
        let detail = "must be at most 24 lower case letters, digits and inner dashes, a letter first";
        faults.push(fault("id", Fault::Invalid, id, detail));
    }
}

fn is_dns952(id: &str) -> bool {
    id.len() <= SERVICE_NAME_MAX
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && !id.ends_with('-')
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A letter or underscore, then letters, digits, underscores.
fn is_c_identifier(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What a manifest must be beyond v1's rules.
pub(super) fn manifest(path: &str, manifest: &ContainerManifest, faults: &mut Vec<FieldError>) {
    let policy = &manifest.restart_policy;
    let named = [policy.always.is_some(), policy.on_failure.is_some(), policy.never.is_some()];
    if named.into_iter().filter(|named| *named).count() > 1 {
        let detail = "only one policy may be named";
        faults.push(fault(&format!("{path}.restartPolicy"), Fault::Invalid, "", detail));
    }
    for (index, volume) in manifest.volumes.iter().flatten().enumerate() {
        if volume.sources() > 1 {
            let detail = "only one source may be named";
            faults.push(fault(
                &format!("{path}.volumes[{index}].source"),
                Fault::Invalid,
                &volume.name,
                detail,
            ));
        }
    }
    for (index, container) in manifest.containers.iter().flatten().enumerate() {
        for (place, var) in container.env.iter().enumerate() {
            let name = var.name();
            if !name.is_empty() && !is_c_identifier(name) {
                let path = format!("{path}.containers[{index}].env[{place}].name");
                faults.push(fault(&path, Fault::Invalid, name, "must be a C identifier"));
            }
        }
    }
}

/// Several pods cannot all write to one disk, and a template makes several.
pub(super) fn read_only_disks(path: &str, manifest: &ContainerManifest, faults: &mut Vec<FieldError>) {
    for (index, volume) in manifest.volumes.iter().flatten().enumerate() {
        let disk = volume.source.as_ref().and_then(|source| source.persistent_disk.as_ref());
        if disk.is_some_and(|disk| !disk.read_only) {
            let path = format!("{path}.volumes[{index}].source.persistentDisk.readOnly");
            faults.push(fault(&path, Fault::Invalid, "false", "must be true in a template"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_2014_are_names_unless_they_cannot_stand_in_a_path() {
        for good in ["redisSlaveController", "Ünïcode", "a b", "x.Y_z"] {
            assert_eq!(name_fault(good), None, "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a%b", "a\nb", &"x".repeat(254)] {
            assert!(name_fault(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn service_ids_are_dns952() {
        for (id, good) in [
            ("redismaster", true),
            ("r2-d2", true),
            ("2d", false),
            ("Upper", false),
            ("a-", false),
            (&"a".repeat(25), false),
        ] {
            assert_eq!(is_dns952(id), good, "{id}");
        }
    }
}
