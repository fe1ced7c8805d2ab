//! Finding pods by their node.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde::Deserialize;
use skiff_api::Object;
use skiff_client::Change;
use skiff_client::cache::Index;
use skiff_client::controller::{Caches, How, Key};

use crate::Settings;

/// Finds pods by the node they are bound to. Reads no more of a pod than that.
pub(crate) const BY_NODE: Index = Index { name: "node", values: |object| node(object).into_iter().collect() };

fn node(object: &Object) -> Option<Box<str>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec<'a> {
        #[serde(borrow)]
        node_name: Option<std::borrow::Cow<'a, str>>,
    }
    #[derive(Deserialize)]
    struct Placed<'a> {
        #[serde(borrow)]
        spec: Option<Spec<'a>>,
    }
    let placed: Placed<'_> = serde_json::from_slice(object.bytes()).ok()?;
    let name = placed.spec?.node_name?;
    (!name.is_empty()).then(|| name.as_ref().into())
}

/// A node wakes the pods that are bound to it.
pub(crate) struct ItsPods;

impl How<Settings> for ItsPods {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        // Nodes report all the time; only what pods care about wakes them.
        let taints = |object: &Option<Arc<Object>>| {
            let node = object.as_ref().and_then(|object| skiff_client::cache::decode::<Node>(object));
            node.and_then(|node| node.spec.as_ref()?.taints.clone()).unwrap_or_default()
        };
        if change.old.is_some() && change.new.is_some() && taints(&change.old) == taints(&change.new) {
            return Vec::new();
        }
        let pods = caches.of::<Pod>().by(&BY_NODE, &change.latest().meta().name);
        pods.iter().map(|pod| pod.meta().key().into()).collect()
    }
}
