//! Faults of fields in the words of 2014: `desiredState.manifest.containers[0].image: required value ''`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;

use super::kind::Row;
use crate::errors::{Fault, FieldError};

/// The class word and the cause's reason of a fault; what 2014 had no class for was invalid.
fn class(fault: Fault) -> (&'static str, &'static str) {
    match fault {
        Fault::Required => ("required value", "FieldValueRequired"),
        Fault::Duplicate => ("duplicate value", "FieldValueDuplicate"),
        Fault::NotSupported => ("unsupported value", "FieldValueNotSupported"),
        Fault::NotFound => ("not found", "FieldValueNotFound"),
        Fault::Forbidden => ("forbidden", "FieldValueForbidden"),
        _ => ("invalid value", "FieldValueInvalid"),
    }
}

/// One fault as 2014 printed it, and the reason that goes with it.
pub fn worded(fault: &FieldError) -> (String, &'static str) {
    let (class, reason) = class(fault.fault);
    let mut text = format!("{}: {class} '{}'", fault.path, fault.value);
    if !fault.detail.is_empty() {
        text.push_str(": ");
        text.push_str(&fault.detail);
    }
    (text, reason)
}

/// A fault v1 found, at its place in the object of 2014.
pub fn from_v1(row: &Row, cause: &StatusCause) -> FieldError {
    let fault = match cause.reason.as_deref().unwrap_or_default() {
        "FieldValueRequired" => Fault::Required,
        "FieldValueDuplicate" => Fault::Duplicate,
        "FieldValueNotSupported" => Fault::NotSupported,
        "FieldValueNotFound" => Fault::NotFound,
        "FieldValueForbidden" => Fault::Forbidden,
        _ => Fault::Invalid,
    };
    let (value, detail) = split(fault, cause.message.as_deref().unwrap_or_default());
    FieldError { path: path(row, cause.field.as_deref().unwrap_or_default()), fault, value, detail }
}

/// v1's `Head: value: detail` in parts. Required, forbidden and over-long values are not repeated there.
fn split(fault: Fault, message: &str) -> (String, String) {
    let Some((head, rest)) = message.split_once(": ") else { return Default::default() };
    if matches!(fault, Fault::Required | Fault::Forbidden) || head.starts_with("Too ") {
        return (String::new(), rest.to_owned());
    }
    if rest.starts_with('"') {
        let mut reader = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        if let Some(Ok(value)) = reader.next() {
            let detail = rest[reader.byte_offset()..].trim_start_matches(": ");
            return (value, detail.to_owned());
        }
    }
    match rest.split_once(": ") {
        Some((value, detail)) => (value.to_owned(), detail.to_owned()),
        None => (rest.to_owned(), String::new()),
    }
}

/// What the members inside a manifest were called, v1's word first.
const MEMBERS: &[(&str, &str)] = &[
    ("args", "command"),
    ("command", "entrypoint"),
    ("hostPath", "source.hostDir"),
    ("emptyDir", "source.emptyDir"),
    ("gcePersistentDisk", "source.persistentDisk"),
    ("gitRepo", "source.gitRepo"),
    ("secret", "source.secret"),
    ("resources.limits[memory]", "memory"),
    ("resources.limits[cpu]", "cpu"),
    ("resources.limits", "resources.limits"),
    ("securityContext.privileged", "privileged"),
    ("securityContext.capabilities", "capabilities"),
];

/// A v1 field path as a path in the object of 2014.
pub fn path(row: &Row, v1: &str) -> String {
    const META: &[(&str, &str)] = &[("metadata.name", "id"), ("metadata", "")];
    let (prefix, rest) =
        row.paths.iter().chain(META).find_map(|(old, new)| Some((*new, under(v1, old)?))).unwrap_or(("", v1));
    let rest = member(rest);
    match (prefix.is_empty(), rest.is_empty()) {
        (true, _) => rest.trim_start_matches('.').to_owned(),
        (_, true) => prefix.to_owned(),
        _ if rest.starts_with('[') || rest.starts_with('.') => format!("{prefix}{rest}"),
        _ => format!("{prefix}.{rest}"),
    }
}

/// What of `path` lies under `prefix`, at the border of a member.
fn under<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
}

/// Renames the member right under a container or a volume: `.containers[0].args[1]` → `.containers[0].command[1]`.
fn member(path: &str) -> String {
    let inside = [".containers[", ".volumes["].iter().find(|list| path.starts_with(**list));
    let Some((item, rest)) = inside.and_then(|_| path.split_once("].")) else { return path.to_owned() };
    let renamed = MEMBERS.iter().find_map(|(old, new)| Some((*new, under(rest, old)?)));
    match renamed {
        Some((new, rest)) => format!("{item}].{new}{rest}"),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Pod, ReplicationController, Service};
    use super::*;

    #[test]
    fn v1_paths_have_their_places_in_2014() {
        for (row, v1, expected) in [
            (Pod::ROW, "spec.containers[0].image", "desiredState.manifest.containers[0].image"),
            (Pod::ROW, "spec.containers[2].args[1]", "desiredState.manifest.containers[2].command[1]"),
            (
                Pod::ROW,
                "spec.volumes[0].hostPath.path",
                "desiredState.manifest.volumes[0].source.hostDir.path",
            ),
            (Pod::ROW, "spec", "desiredState.manifest"),
            (Pod::ROW, "metadata.labels", "labels"),
            (Pod::ROW, "metadata.name", "id"),
            (Pod::ROW, "spec.nodeName", "desiredState.host"),
            (
                ReplicationController::ROW,
                "spec.template.spec.containers[0].name",
                "desiredState.podTemplate.desiredState.manifest.containers[0].name",
            ),
            (ReplicationController::ROW, "spec.template.metadata.labels", "desiredState.podTemplate.labels"),
            (ReplicationController::ROW, "spec.replicas", "desiredState.replicas"),
            (Service::ROW, "spec.ports[0].port", "port"),
            (Service::ROW, "spec.clusterIPs[0]", "portalIP"),
            (Service::ROW, "spec.selector", "selector"),
        ] {
            assert_eq!(path(row, v1), expected, "{v1}");
        }
    }

    #[test]
    fn v1_faults_are_worded_as_in_2014() {
        for (reason, message, expected) in [
            ("FieldValueRequired", "Required value", "id: required value ''"),
            ("FieldValueInvalid", "Invalid value: \"a: b\": no", "id: invalid value 'a: b': no"),
            ("FieldValueInvalid", "Invalid value: -1: too small", "id: invalid value '-1': too small"),
            ("FieldValueDuplicate", "Duplicate value: \"x\"", "id: duplicate value 'x'"),
            (
                "FieldValueTooLong",
                "Too long: may not be more than 3 bytes",
                "id: invalid value '': may not be more than 3 bytes",
            ),
            ("FieldValueForbidden", "Forbidden: not now", "id: forbidden '': not now"),
        ] {
            let cause = StatusCause {
                field: Some("metadata.name".into()),
                message: Some(message.into()),
                reason: Some(reason.into()),
            };
            assert_eq!(worded(&from_v1(Pod::ROW, &cause)).0, expected);
        }
    }
}
