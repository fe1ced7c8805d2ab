//! Persistent storage: claims and volumes find one another, volumes are made, attached to nodes, kept while they are used,
//! grown and reclaimed.

pub(crate) mod attach;
pub(crate) mod attributes;
pub(crate) mod binder;
pub(crate) mod ephemeral;
pub(crate) mod expand;
pub(crate) mod local_path;
pub(crate) mod protection;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde::Deserialize;
use skiff_api::pod::facts::PodFacts;
use skiff_api::{Object, meta};
use skiff_client::Change;
use skiff_client::cache::{Index, decode};
use skiff_client::controller::{Caches, How, Key};

use crate::Settings;

/// Finds pods by the claims that their volumes name, as `namespace/name`.
pub(crate) const USERS: Index = Index { name: "claims", values: used };

/// Finds claims by the volume they name, and volumes by the claim they are for (`namespace/name`).
pub(crate) const PARTNER: Index = Index { name: "partner", values: partner };

/// Finds volumes by their class.
pub(crate) const BY_CLASS: Index = Index { name: "class", values: class };

fn used(object: &Object) -> Vec<Box<str>> {
    object.facts::<PodFacts>().claims.to_vec()
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Reference {
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    volume_name: String,
    storage_class_name: String,
    claim_ref: Option<Reference>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Shape {
    spec: Spec,
}

fn shape(object: &Object) -> Spec {
    serde_json::from_slice::<Shape>(object.bytes()).unwrap_or_default().spec
}

fn partner(object: &Object) -> Vec<Box<str>> {
    let spec = shape(object);
    match spec.claim_ref {
        Some(claim) => vec![meta::key(Some(&claim.namespace), &claim.name).as_ref().into()],
        None if spec.volume_name.is_empty() => Vec::new(),
        None => vec![spec.volume_name.into()],
    }
}

fn class(object: &Object) -> Vec<Box<str>> {
    vec![shape(object).storage_class_name.into()]
}

/// A pod wakes its claims when it comes to a node, ends or goes.
pub(crate) struct ItsClaims;

impl How<Settings> for ItsClaims {
    fn keys(change: &Change, _: &Caches, _: &Settings) -> Vec<Key> {
        let matters = |facts: &PodFacts| (facts.claims.clone(), facts.node.clone(), facts.is_finished());
        let latest = change.latest().facts::<PodFacts>();
        if latest.claims.is_empty() {
            return Vec::new();
        }
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && old.meta().uid == new.meta().uid
            && matters(old.facts()) == matters(latest)
        {
            return Vec::new();
        }
        latest.claims.iter().map(|claim| Key::from(Arc::<str>::from(&**claim))).collect()
    }
}

/// The pods whose volumes name a claim.
pub(crate) fn users(caches: &Caches, claim: &PersistentVolumeClaim) -> Vec<Arc<Pod>> {
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let key = meta::key(claim.metadata.namespace.as_deref(), name);
    caches.of::<Pod>().by(&USERS, &key).iter().filter_map(|pod| decode(pod)).collect()
}
