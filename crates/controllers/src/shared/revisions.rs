//! Remembered templates: short hashes of them, and the patches that ControllerRevisions hold.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json};
use skiff_api::Readable;
use skiff_client::write;

use crate::shared::pods::manager;
use crate::table::Ctx;

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

/// The template that a revision holds.
pub(crate) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.0.get("spec")?.get("template")?.clone();
    template.as_object_mut()?.remove("$patch");
    skiff_api::decode::from_tree(&template).ok()
}

/// The hash that a revision's pods bear.
fn hash_of(revision: &ControllerRevision) -> Option<&str> {
    revision.metadata.labels.as_ref()?.get(REVISION_HASH).map(String::as_str)
}

/// The revision that remembers the present template.
pub(crate) struct Present {
    pub(crate) name: String,
    /// What its pods bear.
    pub(crate) hash: String,
}

impl Present {
    fn of(revision: &ControllerRevision) -> Self {
        let name = revision.metadata.name.clone().unwrap_or_default();
        let hash = hash_of(revision).unwrap_or(&name).to_owned();
        Self { name, hash }
    }
}

/// The revision of the present template; makes the one that remembers it, or numbers it as the latest again. A revision
/// is known by what it holds, whatever its name: one that somebody restored or copied is as good.
///
/// # Errors
/// What the server refused, or a failure on the way.
pub(crate) async fn ensure<K: Readable>(
    ctx: &Ctx,
    owner: &K,
    template: &PodTemplateSpec,
    collisions: Option<i32>,
) -> write::Result<Present> {
    let hash = hash(template, collisions);
    let data = patch(template);
    let meta = owner.metadata();
    let held = ctx.managed_by::<ControllerRevision>(meta.uid.as_deref().unwrap_or_default());
    let name = format!("{}-{hash}", meta.name.as_deref().unwrap_or_default());
    let (same, others): (Vec<_>, Vec<_>) = held.iter().partition(|revision| revision.data.0 == data);
    let latest = others.iter().filter_map(|revision| revision.revision).max().unwrap_or(0);
    let own = |revision: &ControllerRevision| revision.metadata.name.as_deref() == Some(name.as_str());
    if let Some(held) = same.into_iter().max_by_key(|revision| (own(revision), revision.revision)) {
        if held.revision.unwrap_or(0) <= latest {
            let mut renewed = ControllerRevision::clone(held);
            renewed.revision = Some(latest + 1);
            ctx.replace(&renewed).await?;
        }
        return Ok(Present::of(held));
    }
    let mut labels = template.metadata.clone().unwrap_or_default().labels.unwrap_or_default();
    labels.insert(REVISION_HASH.to_owned(), hash.clone());
    let revision = ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: meta.namespace.clone(),
            labels: Some(labels),
            annotations: meta.annotations.clone(),
            owner_references: Some(vec![manager(owner)]),
            ..ObjectMeta::default()
        },
        data: RawExtension(data),
        revision: Some(latest + 1),
    };
    match ctx.create(&revision).await {
        Err(error) if !write::already_exists(&error) => return Err(error),
        _ => {}
    }
    Ok(Present::of(&revision))
}

/// Removes old revisions whose hash is not in use, beyond the history that is to be kept.
///
/// # Errors
/// What the server refused, or a failure on the way.
pub(crate) async fn clean_up<K: Readable>(
    ctx: &Ctx,
    owner: &K,
    used: &HashSet<&str>,
    limit: Option<i32>,
) -> write::Result<()> {
    let held = ctx.managed_by::<ControllerRevision>(owner.metadata().uid.as_deref().unwrap_or_default());
    let idle = |revision: &&Arc<ControllerRevision>| hash_of(revision).is_none_or(|own| !used.contains(own));
    let mut idle: Vec<_> = held.iter().filter(idle).collect();
    idle.sort_by_key(|revision| revision.revision);
    let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or(0);
    let surplus = idle.len().saturating_sub(limit);
    for revision in idle.into_iter().take(surplus) {
        ctx.delete(&**revision, DeleteOptions::default()).await?;
    }
    Ok(())
}
