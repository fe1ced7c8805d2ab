//! Environment variables and where they come from.

use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector,
};
use skiff_api::quantity::Quantity;
use skiff_api::{Errors, names};

use crate::kinds::check;

/// Fields of the pod that a variable may show.
const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields that can be named at all.
const KNOWN: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.hostNetwork",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.nominatedNodeName",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];
/// Amounts that a variable may show.
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const ONE_ONLY: &str = "may not have more than one field specified at a time";

/// Checks the variables of a container.
pub(super) fn variables(variables: &[EnvVar], errors: &mut Errors) {
    for (index, variable) in variables.iter().enumerate() {
        errors.item("env", index, |errors| {
            if variable.name.is_empty() {
                errors.required("name", "");
            } else {
                check::named(errors, "name", &variable.name, check::env_name(&variable.name));
            }
            if let Some(source) = &variable.value_from {
                let has_value = variable.value.as_ref().is_some_and(|value| !value.is_empty());
                errors.at("valueFrom", |errors| value_from(source, has_value, errors));
            }
        });
    }
}

fn value_from(source: &EnvVarSource, has_value: bool, errors: &mut Errors) {
    let mut count = 0;
    if let Some(field) = &source.field_ref {
        count += 1;
        errors.at("fieldRef", |errors| field_ref(field, FIELDS, errors));
    }
    if let Some(field) = &source.resource_field_ref {
        count += 1;
        errors.at("resourceFieldRef", |errors| resource_ref(field, false, errors));
    }
    if let Some(key) = &source.config_map_key_ref {
        count += 1;
        errors.at("configMapKeyRef", |errors| key_ref(&key.name, &key.key, errors));
    }
    if let Some(key) = &source.secret_key_ref {
        count += 1;
        errors.at("secretKeyRef", |errors| key_ref(&key.name, &key.key, errors));
    }
    if let Some(key) = &source.file_key_ref {
        count += 1;
        errors.at("fileKeyRef", |errors| {
            if key.volume_name.is_empty() {
                errors.required("volumeName", "");
            }
            if key.key.is_empty() {
                errors.required("key", "");
            }
            check::local_file_path(errors, "path", &key.path);
        });
    }
    if count == 0 {
        let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
        errors.invalid("", "", why);
    } else if has_value {
        errors.invalid("", "", "may not be specified when `value` is not empty");
    } else if count > 1 {
        errors.invalid("", "", ONE_ONLY);
    }
}

fn key_ref(name: &str, key: &str, errors: &mut Errors) {
    check::named(errors, "name", name, names::dns1123_subdomain(name));
    if key.is_empty() {
        errors.required("key", "");
    } else {
        check::named(errors, "key", key, check::config_key(key));
    }
}

/// Checks a reference to a field of the pod; also for downward API volumes, with other fields.
pub(super) fn field_ref(field: &ObjectFieldSelector, allowed: &[&str], errors: &mut Errors) {
    if check::given(field.api_version.as_ref()).is_none() {
        errors.required("apiVersion", "");
        return;
    }
    let path = field.field_path.as_str();
    if path.is_empty() {
        errors.required("fieldPath", "");
        return;
    }
    if let Some((map, subscript)) = subscripted(path) {
        match map {
            "metadata.annotations" => {
                check::named(errors, "", subscript, names::qualified_name(&subscript.to_lowercase()));
            }
            "metadata.labels" => check::named(errors, "", subscript, names::qualified_name(subscript)),
            _ => errors.invalid("", map, "does not support subscript"),
        }
    } else if !KNOWN.contains(&path) {
        let why = format!("error converting fieldPath: field label not supported: {path}");
        errors.invalid("fieldPath", path, why);
    } else {
        check::one_of(errors, "fieldPath", path, allowed);
    }
}

/// `metadata.labels['app']` as its map and key.
fn subscripted(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['")
}

/// Checks a reference to an amount of a container.
pub(super) fn resource_ref(field: &ResourceFieldSelector, in_volume: bool, errors: &mut Errors) {
    if in_volume && check::given(field.container_name.as_ref()).is_none() {
        errors.required("containerName", "");
    }
    let resource = field.resource.as_str();
    if resource.is_empty() {
        errors.required("resource", "");
    } else if !RESOURCES.contains(&resource) && !resource.contains(".hugepages-") {
        errors.not_supported("resource", resource, RESOURCES);
    }
    let Some(text) = &field.divisor else { return };
    const BYTES: &[&str] =
        &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let (allowed, kind) = match resource.rsplit('.').next() {
        Some("cpu") => (&["1m", "1"] as &[&str], "cpu"),
        Some("memory") => (BYTES, "memory"),
        Some("ephemeral-storage") => (BYTES, "local ephemeral storage"),
        _ => (BYTES, "hugepages"),
    };
    match Quantity::parse(&text.0) {
        Err(why) => errors.invalid("divisor", &text.0, why.to_string()),
        Ok(divisor) if divisor.is_zero() => {}
        Ok(divisor) => {
            if !allowed.iter().any(|one| Quantity::parse(one) == Ok(divisor)) {
                let list = if kind == "cpu" { "1m and 1".to_owned() } else { allowed.join(", ") };
                let why = format!("only divisor's values {list} are supported with the {kind} resource");
                errors.invalid("divisor", resource, why);
            }
        }
    }
}

/// Checks whole maps taken as variables.
pub(super) fn sources(sources: &[EnvFromSource], errors: &mut Errors) {
    for (index, source) in sources.iter().enumerate() {
        let count = errors.item("envFrom", index, |errors| {
            if let Some(prefix) = check::given(source.prefix.as_ref()) {
                check::named(errors, "prefix", prefix, check::env_name(prefix));
            }
            let map = source.config_map_ref.as_ref().map(|map| ("configMapRef.name", &map.name));
            let secret = source.secret_ref.as_ref().map(|secret| ("secretRef.name", &secret.name));
            let count = map.iter().chain(&secret).count();
            for (field, name) in map.into_iter().chain(secret) {
                if name.is_empty() {
                    errors.required(field, "");
                } else {
                    check::named(errors, field, name, names::dns1123_subdomain(name));
                }
            }
            count
        });
        // Upstream puts these two at the list, not at the item.
        match count {
            0 => errors.invalid("envFrom", "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid("envFrom", "", ONE_ONLY),
        }
    }
}
