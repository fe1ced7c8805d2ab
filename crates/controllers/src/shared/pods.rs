//! Pods made from a template, and their end.

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, OwnerReference};
use skiff_api::{Readable, names};
use skiff_client::events::{EventKind, reference};
use skiff_client::write;

use crate::table::Ctx;

/// The reference of an owner that manages what it owns.
pub(crate) fn manager<K: Readable>(owner: &K) -> OwnerReference {
    let meta = owner.metadata();
    manager_named::<K>(meta.name.as_deref().unwrap_or_default(), meta.uid.as_deref().unwrap_or_default())
}

/// The same, of an owner of which only name and uid are at hand.
pub(crate) fn manager_named<K: Readable>(name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: K::API_VERSION.to_owned(),
        kind: K::KIND.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// A pod as the template says, named after and managed by its owner.
pub(crate) fn from_template<K: Readable>(template: &PodTemplateSpec, owner: &K) -> Pod {
    let given = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(name_prefix(owner.metadata().name.as_deref().unwrap_or_default())),
            namespace: owner.metadata().namespace.clone(),
            labels: given.labels,
            annotations: given.annotations,
            finalizers: given.finalizers,
            owner_references: Some(vec![manager(owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Deletes a pod and says so about its owner.
///
/// # Errors
/// What the server refused, or a failure on the way.
pub(crate) async fn delete_pod<K: Readable>(ctx: &Ctx, owner: &K, pod: &Pod) -> write::Result<()> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let deleted = ctx.delete(pod, DeleteOptions::default()).await;
    let (kind, reason, message) = match &deleted {
        Ok(()) => (EventKind::Normal, "SuccessfulDelete", format!("Deleted pod: {name}")),
        Err(error) => {
            (EventKind::Warning, "FailedDelete", format!("Error deleting: {}", write::words(error)))
        }
    };
    ctx.event(reference(owner), kind, reason, message);
    deleted
}

/// `NAME-`. Owners made through the API of 2014 may bear names that pods may not: those are lower-cased, and what else
/// is not allowed becomes a dash.
pub(crate) fn name_prefix(owner: &str) -> String {
    if names::dns1123_subdomain(owner).is_empty() {
        return format!("{owner}-");
    }
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let plain: String = owner.chars().map(allowed).collect();
    let labels = plain.split('.').map(|label| label.trim_matches('-')).filter(|label| !label.is_empty());
    let plain = labels.collect::<Vec<_>>().join(".");
    if plain.is_empty() { "pod-".to_owned() } else { format!("{plain}-") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_2014_become_legal() {
        for (owner, prefix) in [
            ("web", "web-"),
            ("redisSlaveController", "redisslavecontroller-"),
            ("my_controller", "my-controller-"),
            ("-x-.Y", "x.y-"),
            ("___", "pod-"),
        ] {
            assert_eq!(name_prefix(owner), prefix);
        }
    }
}
