//! Remembered templates: short hashes of them, and the patches that ControllerRevisions hold.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Value, json};

/// Label: of which revision a pod is.
pub(crate) const REVISION_HASH: &str = "controller-revision-hash";

/// A short text made from the template; another one after each collision.
pub(crate) fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    /// Letters that make no words, and digits that are no letters.
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut text = serde_json::to_vec(template).unwrap_or_default();
    if let Some(collisions) = collisions {
        text.extend(collisions.to_le_bytes());
    }
    // FNV-1a with 32 bits.
    let sum =
        text.iter().fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let digits = sum.to_string();
    digits.bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}

/// The patch that brings a template back, as `kubectl rollout undo` applies it.
pub(crate) fn patch(template: &PodTemplateSpec) -> Value {
    let mut template = skiff_api::decode::tree(template).unwrap_or_default();
    if let Some(members) = template.as_object_mut() {
        members.insert("$patch".to_owned(), "replace".into());
    }
    json!({ "spec": { "template": template } })
}
