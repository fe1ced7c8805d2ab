//! The annotation of client-side apply, where it meets server-side apply.
//!
//! Follows upstream's `lastappliedmanager.go` and `lastappliedupdater.go`: only for the manager `kubectl`, fields that the
//! annotation says kubectl has set are no conflict, and an annotation that is there is kept up to date.

use serde_json::Value;

use super::schema::Schema;
use super::set::Set;
use super::walk::Part;

/// The annotation in which client-side apply keeps what it sent.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whom the annotation belongs to.
pub(super) const MANAGER: &str = "kubectl";

fn annotation(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][LAST_APPLIED].as_str().filter(|text| !text.is_empty())
}

/// The fields that client-side apply has set and nobody changed since.
pub(super) fn unchanged(schema: &Schema, live: &Value, api_version: &str) -> Option<Set> {
    let config: Value = serde_json::from_str(annotation(live)?).ok()?;
    if config["apiVersion"] != api_version {
        return None;
    }
    let compared = schema.compare(Some(&config), live, Part::All);
    let set = schema.fields(&config, Part::All);
    Some(set.difference(&compared.modified).difference(&compared.added).difference(&compared.removed))
}

/// Brings the annotation of `merged` up to date, if it has one.
pub(super) fn refresh(merged: &mut Value, config: &Value) {
    if annotation(merged).is_none() {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config["metadata"]["annotations"].as_object_mut() {
        annotations.remove(LAST_APPLIED);
    } else if let Some(metadata) = config["metadata"].as_object_mut() {
        metadata.remove("annotations");
    }
    merged["metadata"]["annotations"][LAST_APPLIED] = Value::String(format!("{config}\n"));
}
