//! A pod as those see it who have many: by its metadata and its facts. It is decoded only when something is done about it.

use std::ops::Deref;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use skiff_api::Object;
use skiff_api::pod::facts::PodFacts;
use skiff_client::cache::decode;

/// A pod; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Seen(Arc<Object>);

impl Deref for Seen {
    type Target = PodFacts;

    fn deref(&self) -> &PodFacts {
        self.0.facts()
    }
}

impl From<Arc<Object>> for Seen {
    fn from(object: Arc<Object>) -> Self {
        Self(object)
    }
}

impl Seen {
    /// All of them.
    pub(crate) fn all(objects: Vec<Arc<Object>>) -> Vec<Self> {
        objects.into_iter().map(Self).collect()
    }

    pub(crate) fn meta(&self) -> &skiff_api::Meta {
        self.0.meta()
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.meta().name
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.0.meta().labels.get(key).map(|value| &**value)
    }

    /// It is being deleted.
    pub(crate) fn is_leaving(&self) -> bool {
        self.0.meta().deletion_timestamp.is_some()
    }

    /// Neither finished nor being deleted: it counts towards its controller's replicas.
    pub(crate) fn is_active(&self) -> bool {
        !self.is_finished() && !self.is_leaving()
    }

    /// Being deleted, and not at its end yet.
    pub(crate) fn is_ending(&self) -> bool {
        !self.is_finished() && self.is_leaving()
    }

    /// The whole pod; nothing if its JSON does not fit.
    pub(crate) fn decode(&self) -> Option<Arc<Pod>> {
        decode(&self.0)
    }

    /// As it would be read.
    #[cfg(test)]
    pub(crate) fn of(pod: &Pod) -> Self {
        let json = serde_json::to_vec(pod).expect("pods can be encoded");
        Self(Arc::new(Object::parse(json.into()).expect("what has metadata is an object")))
    }
}
