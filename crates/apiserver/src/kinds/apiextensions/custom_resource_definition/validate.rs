//! What may be in a definition.
//!
//! Where all versions say the same, upstream names the field without its version (`spec.validation`); so do we.

use std::collections::HashSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec, CustomResourceDefinitionVersion, CustomResourceSubresources,
    SelectableField,
};
use skiff_api::Errors;
use skiff_api::errors::Fault;
use skiff_api::names::{dns1035_label, dns1123_subdomain};

use super::holds;
use crate::crd::names::protected;
use crate::crd::{Node, Path, structural};

/// Fields that one definition may offer for selection.
const MOST_SELECTABLE: usize = 8;
const APPROVED: &str = "api-approved.kubernetes.io";

/// The whole definition.
pub(super) fn check(crd: &CustomResourceDefinition, errors: &mut Errors) {
    let spec = &crd.spec;
    let name = crd.metadata.name.as_deref().unwrap_or_default();
    errors.at("metadata", |errors| {
        if name != format!("{}.{}", spec.names.plural, spec.group) {
            errors.invalid("name", name, "must be spec.names.plural+\".\"+spec.group");
        }
        let annotations = crd.metadata.annotations.as_ref();
        let approved = annotations.and_then(|map| map.get(APPROVED)).map(String::as_str).unwrap_or_default();
        if protected(&spec.group) && approved.is_empty() {
            let why = format!(
                "protected groups must have approval annotation {APPROVED:?}, see https://github.com/kubernetes/enhancements/pull/1111"
            );
            errors.entry("annotations", APPROVED, |errors| errors.required("", why));
        }
    });
    errors.at("spec", |errors| specification(spec, errors));
}

/// What an update may not do.
pub(super) fn update(crd: &CustomResourceDefinition, old: &CustomResourceDefinition, errors: &mut Errors) {
    let (new, before) = (&crd.spec, &old.spec);
    errors.at("spec", |errors| {
        if holds(old, "Established") {
            errors.immutable("scope", &new.scope, &before.scope);
            errors.immutable("names.kind", &new.names.kind, &before.names.kind);
        }
        errors.immutable("group", &new.group, &before.group);
        errors.immutable("names.plural", &new.names.plural, &before.names.plural);
    });
    stored_versions(crd, errors);
}

/// Versions in which objects may be stored must stay.
pub(super) fn stored_versions(crd: &CustomResourceDefinition, errors: &mut Errors) {
    let stored = crd.status.as_ref().and_then(|status| status.stored_versions.as_deref()).unwrap_or_default();
    for (index, version) in stored.iter().enumerate() {
        if !crd.spec.versions.iter().any(|own| own.name == *version) {
            let why = format!(
                "missing from spec.versions; {version} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {version} and removes {version} from status.storedVersions"
            );
            errors.at("status", |errors| {
                errors.item("storedVersions", index, |errors| errors.invalid("", version, why));
            });
        }
    }
}

fn specification(spec: &CustomResourceDefinitionSpec, errors: &mut Errors) {
    let faults = dns1123_subdomain(&spec.group);
    if spec.group.is_empty() {
        errors.required("group", "");
    } else if !faults.is_empty() {
        errors.invalid("group", &spec.group, faults.join(","));
    } else if !spec.group.contains('.') {
        errors.invalid("group", &spec.group, "should be a domain with at least one dot");
    }
    match spec.scope.as_str() {
        "" => errors.required("scope", ""),
        "Cluster" | "Namespaced" => {}
        other => errors.not_supported("scope", other, &["Cluster", "Namespaced"]),
    }
    if spec.preserve_unknown_fields == Some(true) {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.invalid("preserveUnknownFields", &true, why);
    }
    versions(&spec.versions, errors);
    errors.at("names", |errors| {
        let names = &spec.names;
        let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        for (field, there) in [
            ("plural", !names.plural.is_empty()),
            ("singular", given(&names.singular)),
            ("kind", !names.kind.is_empty()),
            ("listKind", given(&names.list_kind)),
        ] {
            if !there {
                errors.required(field, "");
            }
        }
        names_check(names, errors);
    });
    conversion(spec, errors);
}

fn names_check(names: &CustomResourceDefinitionNames, errors: &mut Errors) {
    let label = |errors: &mut Errors, field: &str, text: &str| {
        let faults = dns1035_label(text);
        if !text.is_empty() && !faults.is_empty() {
            errors.invalid(field, text, faults.join(","));
        }
    };
    let mixed = |errors: &mut Errors, field: &str, text: &str| {
        let faults = dns1035_label(&text.to_lowercase());
        if !text.is_empty() && !faults.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", faults.join(","));
            errors.invalid(field, text, why);
        }
    };
    let list_kind = names.list_kind.as_deref().unwrap_or_default();
    label(errors, "plural", &names.plural);
    label(errors, "singular", names.singular.as_deref().unwrap_or_default());
    mixed(errors, "kind", &names.kind);
    mixed(errors, "listKind", list_kind);
    for (field, list) in [("shortNames", &names.short_names), ("categories", &names.categories)] {
        for (index, name) in list.iter().flatten().enumerate() {
            errors.item(field, index, |errors| label(errors, "", name));
        }
    }
    if !names.kind.is_empty() && names.kind == list_kind {
        errors.invalid("listKind", list_kind, "kind and listKind may not be the same");
    }
}

fn versions(versions: &[CustomResourceDefinitionVersion], errors: &mut Errors) {
    let mut seen = HashSet::new();
    let shown = || serde_json::to_string(versions).unwrap_or_default();
    for (index, version) in versions.iter().enumerate() {
        let faults = dns1035_label(&version.name);
        errors.item("versions", index, |errors| {
            if !faults.is_empty() {
                errors.invalid("name", &version.name, faults.join(","));
            }
            let warning = version.deprecation_warning.as_deref().unwrap_or_default();
            if version.deprecation_warning.is_some() && version.deprecated != Some(true) {
                errors.invalid("deprecationWarning", warning, "can only be set for deprecated versions");
            }
            if version.schema.as_ref().is_none_or(|schema| schema.open_api_v3_schema.is_none()) {
                errors.at("schema", |errors| errors.required("openAPIV3Schema", "schemas are required"));
            }
        });
    }
    if !versions.iter().all(|version| seen.insert(&version.name)) {
        errors.push(Fault::Invalid, "versions", shown(), "must contain unique version names");
    }
    if versions.iter().filter(|version| version.storage).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(Fault::Invalid, "versions", shown(), why);
    }
    let Some(first) = versions.first() else { return };
    let schema = |version: &CustomResourceDefinitionVersion, errors: &mut Errors| {
        let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        if let Some(schema) = schema {
            errors.at("openAPIV3Schema", |errors| structural::check(schema, errors));
        }
    };
    if versions.iter().all(|version| version.schema == first.schema) {
        errors.at("validation", |errors| schema(first, errors));
    } else {
        for (index, version) in versions.iter().enumerate() {
            errors.item("versions", index, |errors| errors.at("schema", |errors| schema(version, errors)));
        }
    }
    if versions.iter().all(|version| version.subresources == first.subresources) {
        errors.at("subresources", |errors| subresources(first.subresources.as_ref(), errors));
    } else {
        for (index, version) in versions.iter().enumerate() {
            let walk = |errors: &mut Errors| subresources(version.subresources.as_ref(), errors);
            errors.item("versions", index, |errors| errors.at("subresources", walk));
        }
    }
    if versions.iter().all(|version| version.additional_printer_columns == first.additional_printer_columns) {
        columns(first.additional_printer_columns.as_deref().unwrap_or_default(), errors);
    } else {
        for (index, version) in versions.iter().enumerate() {
            let list = version.additional_printer_columns.as_deref().unwrap_or_default();
            errors.item("versions", index, |errors| columns(list, errors));
        }
    }
    for (index, version) in versions.iter().enumerate() {
        let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let Some((fields, schema)) = version.selectable_fields.as_deref().zip(schema) else { continue };
        let alone = versions.len() == 1;
        let walk = |errors: &mut Errors| selectable(fields, &Node::root(schema), errors);
        if alone { walk(errors) } else { errors.item("versions", index, walk) }
    }
}

fn subresources(subresources: Option<&CustomResourceSubresources>, errors: &mut Errors) {
    let Some(scale) = subresources.and_then(|sub| sub.scale.as_ref()) else { return };
    let mut path = |field: &str, text: &str, under: &str| {
        if text.is_empty() {
            errors.required(field, "");
        } else if !text.starts_with('.') {
            errors.invalid(field, text, "must be a simple json path starting with .");
        } else if !Path::parse(text).is_ok_and(|path| path.fields().is_some()) {
            errors.invalid(field, text, "must be a json path in the dot notation");
        } else if !text.starts_with(under) {
            let root = under.trim_end_matches('.');
            errors.invalid(field, text, format!("should be a json path under {root}"));
        }
    };
    path("scale.specReplicasPath", &scale.spec_replicas_path, ".spec.");
    path("scale.statusReplicasPath", &scale.status_replicas_path, ".status.");
    match scale.label_selector_path.as_deref() {
        None | Some("") => {}
        Some(text) if text.starts_with(".spec.") => path("scale.labelSelectorPath", text, ".spec."),
        Some(text) if text.starts_with(".status.") => path("scale.labelSelectorPath", text, ".status."),
        Some(text) => {
            let why = "should be a json path under either .spec or .status";
            errors.invalid("scale.labelSelectorPath", text, why);
        }
    }
}

fn columns(columns: &[CustomResourceColumnDefinition], errors: &mut Errors) {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 10] =
        ["byte", "date", "date-time", "double", "float", "int32", "int64", "name", "password", "string"];
    for (index, column) in columns.iter().enumerate() {
        errors.item("additionalPrinterColumns", index, |errors| {
            if column.name.is_empty() {
                errors.required("name", "");
            }
            if column.type_.is_empty() {
                errors.required("type", format!("must be one of {}", TYPES.join(",")));
            } else if !TYPES.contains(&column.type_.as_str()) {
                errors.invalid("type", &column.type_, format!("must be one of {}", TYPES.join(",")));
            }
            let format = column.format.as_deref().unwrap_or_default();
            if !format.is_empty() && !FORMATS.contains(&format) {
                errors.invalid("format", format, format!("must be one of {}", FORMATS.join(",")));
            }
            if column.json_path.is_empty() {
                errors.required("JSONPath", "");
            } else if !column.json_path.starts_with('.') {
                errors.invalid("JSONPath", &column.json_path, "must be a simple json path starting with .");
            } else if let Err(why) = Path::parse(&column.json_path) {
                errors.invalid("JSONPath", &column.json_path, format!("is an invalid jsonpath: {why}"));
            }
        });
    }
}

fn selectable(fields: &[SelectableField], root: &Node, errors: &mut Errors) {
    if fields.len() > MOST_SELECTABLE {
        errors.too_many("selectableFields", fields.len(), MOST_SELECTABLE);
    }
    let mut seen = HashSet::new();
    for (index, field) in fields.iter().enumerate() {
        let text = field.json_path.as_str();
        errors.item("selectableFields", index, |errors| {
            if text.is_empty() {
                return errors.required("jsonPath", "");
            }
            if !seen.insert(text) {
                return errors.duplicate("jsonPath", text);
            }
            let path = Path::parse(text);
            let names = path.as_ref().ok().and_then(Path::fields).filter(|_| text.starts_with('.'));
            let Some(names) = names else {
                return errors.invalid("jsonPath", text, "is an invalid path: does not refer to a valid field");
            };
            if names.first() == Some(&"metadata") {
                return errors.invalid("jsonPath", text, "must not point to fields in metadata");
            }
            let found = names.iter().try_fold(root, |node, name| node.properties.get(name));
            match found.map(|node| node.kind) {
                None => errors.invalid("jsonPath", text, "is an invalid path: does not refer to a valid field"),
                Some("string" | "boolean" | "integer") => {}
                Some(_) => {
                    let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed";
                    errors.invalid("jsonPath", text, why);
                }
            }
        });
    }
}

fn conversion(spec: &CustomResourceDefinitionSpec, errors: &mut Errors) {
    let Some(conversion) = &spec.conversion else { return };
    errors.at("conversion", |errors| match conversion.strategy.as_str() {
        "" => errors.required("strategy", ""),
        "None" => {
            if conversion.webhook.is_some() {
                errors.forbidden(
                    "webhookClientConfig",
                    "should not be set when strategy is not set to Webhook",
                );
            }
        }
        "Webhook" => {
            let client = conversion.webhook.as_ref().and_then(|webhook| webhook.client_config.as_ref());
            match client {
                None => errors.required("webhookClientConfig", "required when strategy is set to Webhook"),
                Some(client) => match (&client.url, &client.service) {
                    (None, None) | (Some(_), Some(_)) => {
                        errors.required("webhookClientConfig", "exactly one of url or service is required");
                    }
                    (Some(url), None) if !url.starts_with("https://") => {
                        let why =
                            "'https' is the only allowed URL scheme; desired format: https://host[/path]";
                        errors.at("webhookClientConfig", |errors| errors.invalid("url", url, why));
                    }
                    _ => {}
                },
            }
            let versions =
                conversion.webhook.as_ref().map(|webhook| webhook.conversion_review_versions.as_slice());
            let versions = versions.unwrap_or_default();
            if versions.is_empty() {
                errors.required("conversionReviewVersions", "");
            } else if !versions.iter().any(|version| matches!(version.as_str(), "v1" | "v1beta1")) {
                let shown = serde_json::to_string(versions).unwrap_or_default();
                let why = "must include at least one of v1, v1beta1";
                errors.push(Fault::Invalid, "conversionReviewVersions", shown, why);
            }
        }
        other => errors.not_supported("strategy", other, &["None", "Webhook"]),
    });
}
