//! Finding pods by their node.

use k8s_openapi::api::core::v1::Pod;
use skiff_api::Object;
use skiff_api::node::NodeFacts;
use skiff_api::pod::facts::PodFacts;
use skiff_client::Change;
use skiff_client::cache::Index;
use skiff_client::controller::{Caches, How, Key};

use crate::Settings;

/// Finds pods by the node they are bound to.
pub(crate) const BY_NODE: Index =
    Index { name: "node", values: |object| object.facts::<PodFacts>().node.iter().cloned().collect() };

/// A node wakes the pods that are bound to it.
pub(crate) struct ItsPods;

impl How<Settings> for ItsPods {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        // Nodes report all the time; only what pods care about wakes them.
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && old.facts::<NodeFacts>() == new.facts::<NodeFacts>()
        {
            return Vec::new();
        }
        let pods = caches.of::<Pod>().by(&BY_NODE, &change.latest().meta().name);
        pods.iter().map(|pod| pod.meta().key().into()).collect()
    }
}

/// Whether the word stands anywhere in the object's JSON: what does not is seen so without decoding it.
pub(crate) fn mentions(object: &Object, word: &str) -> bool {
    std::str::from_utf8(object.bytes()).is_ok_and(|text| text.contains(word))
}
