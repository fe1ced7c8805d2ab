//! What is wrong with an object's metadata, whatever its kind.
//!
//! Follows upstream's `k8s.io/apimachinery/pkg/api/validation/objectmeta.go` and what core adds to it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use skiff_api::errors::{Errors, Fault};
use skiff_api::names;

use crate::catalog::Entry;

/// All annotations of an object together.
const ANNOTATIONS_MAX: usize = 256 * 1024;
/// Holds an owner until its dependents are orphaned.
pub(crate) const ORPHAN: &str = "orphan";
/// Holds an owner until its dependents are gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

/// Drops lists and maps that are there but empty, as upstream's encoder does.
pub(crate) fn drop_empty(meta: &mut ObjectMeta) {
    meta.labels.take_if(|map| map.is_empty());
    meta.annotations.take_if(|map| map.is_empty());
    meta.owner_references.take_if(|list| list.is_empty());
    meta.finalizers.take_if(|list| list.is_empty());
}

/// The rule for the name of a new object; upstream does not judge names again once they are stored.
pub(crate) fn check_name(rule: fn(&str) -> Vec<String>, meta: &ObjectMeta, errors: &mut Errors) {
    errors.at("metadata", |errors| name(rule, meta, errors));
}

/// Metadata of an object that is created or updated.
pub(crate) fn check(entry: &Entry, meta: &ObjectMeta, errors: &mut Errors) {
    errors.at("metadata", |errors| {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        if entry.resource.namespaced {
            if namespace.is_empty() {
                errors.required("namespace", "");
            } else {
                each(errors, "namespace", namespace, names::dns1123_label(namespace));
            }
        } else if !namespace.is_empty() {
            errors.forbidden("namespace", "not allowed on this type");
        }
        if let Some(generation) = meta.generation.filter(|generation| *generation < 0) {
            errors.invalid("generation", &generation, "must be greater than or equal to 0");
        }
        if let Some(map) = &meta.labels {
            labels("labels", map, errors);
        }
        if let Some(map) = &meta.annotations {
            annotations(map, errors);
        }
        owners(meta.owner_references.as_deref().unwrap_or_default(), errors);
        finalizers(meta.finalizers.as_deref().unwrap_or_default(), is_strict(entry), errors);
    });
}

/// Whether finalizers must be standard ones or name their domain: upstream asks that of its own kinds, but not of custom
/// resources (many an operator's finalizer is one bare word) nor of these groups, which judge by apimachinery's rules.
fn is_strict(entry: &Entry) -> bool {
    const LENIENT: &[&str] =
        &["admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io"];
    entry.built_in && !LENIENT.contains(&&*entry.resource.group)
}

/// What an update may not do to metadata.
pub(crate) fn check_update(new: &ObjectMeta, old: &ObjectMeta, errors: &mut Errors) {
    errors.at("metadata", |errors| {
        if old.deletion_timestamp.is_some() {
            let before = old.finalizers.as_deref().unwrap_or_default();
            let added: Vec<String> = new
                .finalizers
                .iter()
                .flatten()
                .filter(|finalizer| !before.contains(finalizer))
                .map(|finalizer| format!("{finalizer:?}"))
                .collect();
            if !added.is_empty() {
                let list = added.join(", ");
                let why = format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{list}}}"
                );
                errors.forbidden("finalizers", why);
            }
        }
        errors.immutable("name", &new.name, &old.name);
        errors.immutable("namespace", &new.namespace, &old.namespace);
        errors.immutable("uid", &new.uid, &old.uid);
        errors.immutable("creationTimestamp", &new.creation_timestamp, &old.creation_timestamp);
        errors.immutable("deletionTimestamp", &new.deletion_timestamp, &old.deletion_timestamp);
        errors.immutable(
            "deletionGracePeriodSeconds",
            &new.deletion_grace_period_seconds,
            &old.deletion_grace_period_seconds,
        );
    });
}

fn each(errors: &mut Errors, field: &str, value: &str, why: Vec<String>) {
    for why in why {
        errors.invalid(field, value, why);
    }
}

fn name(rule: fn(&str) -> Vec<String>, meta: &ObjectMeta, errors: &mut Errors) {
    if let Some(prefix) = meta.generate_name.as_deref().filter(|prefix| !prefix.is_empty()) {
        // A prefix may end as a name may not, since letters follow.
        let whole = match prefix.strip_suffix('-') {
            Some(rest) => format!("{rest}a"),
            None => prefix.to_owned(),
        };
        each(errors, "generateName", prefix, rule(&whole));
    }
    match meta.name.as_deref().unwrap_or_default() {
        "" => errors.required("name", "name or generateName is required"),
        name => each(errors, "name", name, rule(name)),
    }
}

/// Labels, wherever they stand.
pub(crate) fn labels(field: &str, labels: &BTreeMap<String, String>, errors: &mut Errors) {
    for (key, value) in labels {
        each(errors, field, key, names::qualified_name(key));
        each(errors, field, value, names::label_value(value));
    }
}

fn annotations(annotations: &BTreeMap<String, String>, errors: &mut Errors) {
    for key in annotations.keys() {
        // Keys are case-insensitive in the rule alone.
        each(errors, "annotations", key, names::qualified_name(&key.to_lowercase()));
    }
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > ANNOTATIONS_MAX {
        errors.too_long("annotations", ANNOTATIONS_MAX);
    }
}

fn owners(owners: &[OwnerReference], errors: &mut Errors) {
    let mut controller: Option<&OwnerReference> = None;
    for owner in owners {
        errors.at("ownerReferences", |errors| {
            let (group, version) = owner.api_version.rsplit_once('/').unwrap_or(("", &owner.api_version));
            if version.is_empty() {
                errors.invalid("apiVersion", &owner.api_version, "version must not be empty");
            }
            for (field, value) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
                if value.is_empty() {
                    errors.invalid(field, value, "must not be empty");
                }
            }
            if group.is_empty() && owner.kind == "Event" {
                let shown = skiff_api::decode::tree(owner).unwrap_or_default().to_string();
                let why = format!("/{version}, Kind=Event is disallowed from being an owner");
                errors.push(Fault::Invalid, "", shown, why);
            }
        });
        if owner.controller == Some(true) {
            if let Some(first) = controller {
                let shown = skiff_api::decode::tree(owners).unwrap_or_default().to_string();
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                    first.name, owner.name
                );
                errors.push(Fault::Invalid, "ownerReferences", shown, why);
            } else {
                controller = Some(owner);
            }
        }
    }
}

fn finalizers(finalizers: &[String], strict: bool, errors: &mut Errors) {
    for (index, finalizer) in finalizers.iter().enumerate() {
        each(errors, "finalizers", finalizer, names::qualified_name(finalizer));
        let standard = ["kubernetes", ORPHAN, FOREGROUND].contains(&finalizer.as_str());
        if strict && !finalizer.contains('/') && !standard {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.item("finalizers", index, |errors| errors.invalid("", finalizer.as_str(), why));
        }
    }
    let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
    if has(ORPHAN) && has(FOREGROUND) {
        let shown = serde_json::to_string(finalizers).unwrap_or_default();
        let why = format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set");
        errors.push(Fault::Invalid, "finalizers", shown, why);
    }
}
