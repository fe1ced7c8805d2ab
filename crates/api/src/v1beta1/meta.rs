//! TypeMeta: what every object and list of 2014 carries, flat among its own members.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::{Deserialize, Serialize};

use super::value::{self, Map};

/// The members common to all objects, in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TypeMeta {
    /// Only on the outer object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Identity over time. Never shown (profile A), accepted as a precondition.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Always there: `null` on lists and Status.
    #[serde(deserialize_with = "value::time")]
    pub creation_timestamp: Option<Time>,
    /// The object's own path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub self_link: String,
    /// A number here, a string in v1.
    #[serde(skip_serializing_if = "no_revision", deserialize_with = "value::revision")]
    pub resource_version: u64,
    /// Only on the outer object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// `default` if none was given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Free text by key.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub annotations: Map,
    /// The beginning of a name that the server completes (L).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub generate_name: String,
    /// When the object will be gone (L).
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "value::time")]
    pub deletion_timestamp: Option<Time>,
}

fn no_revision(revision: &u64) -> bool {
    *revision == 0
}

impl TypeMeta {
    /// What 2014 shows of a v1 object's metadata. `kind`, `apiVersion` and `selfLink` are the door's to fill in.
    pub fn from_v1(meta: &ObjectMeta) -> Self {
        Self {
            id: value::text(meta.name.as_ref()),
            creation_timestamp: meta.creation_timestamp.clone(),
            resource_version: meta.resource_version.as_ref().and_then(|text| text.parse().ok()).unwrap_or(0),
            namespace: value::text(meta.namespace.as_ref()),
            annotations: meta.annotations.clone().unwrap_or_default(),
            generate_name: value::text(meta.generate_name.as_ref()),
            deletion_timestamp: meta.deletion_timestamp.clone(),
            ..Self::default()
        }
    }

    /// As v1 metadata. Times are the server's to set and do not travel back.
    pub fn to_v1(&self, labels: &Map) -> ObjectMeta {
        ObjectMeta {
            name: value::some(&self.id),
            uid: value::some(&self.uid),
            resource_version: (self.resource_version != 0).then(|| self.resource_version.to_string()),
            namespace: value::some(&self.namespace),
            annotations: value::some_map(&self.annotations),
            generate_name: value::some(&self.generate_name),
            labels: value::some_map(labels),
            creation_timestamp: self.creation_timestamp.clone(),
            ..ObjectMeta::default()
        }
    }

    /// Takes over from what the client was shown whatever its PUT does not mention.
    pub fn keep(&mut self, shown: &Self) {
        keep_text(&mut self.id, &shown.id);
        keep_text(&mut self.namespace, &shown.namespace);
        keep_text(&mut self.generate_name, &shown.generate_name);
        keep_map(&mut self.annotations, &shown.annotations);
        self.creation_timestamp = shown.creation_timestamp.clone();
        self.deletion_timestamp = shown.deletion_timestamp.clone();
    }
}

/// Keeps `shown` where nothing was sent.
pub(super) fn keep_text(sent: &mut String, shown: &str) {
    if sent.is_empty() {
        shown.clone_into(sent);
    }
}

/// Keeps `shown` where nothing was sent.
pub(super) fn keep_map(sent: &mut Map, shown: &Map) {
    if sent.is_empty() {
        sent.clone_from(shown);
    }
}

/// Keeps `shown` where nothing was sent.
pub(super) fn keep_option<T: Clone>(sent: &mut Option<T>, shown: Option<&T>) {
    if sent.is_none() {
        *sent = shown.cloned();
    }
}
