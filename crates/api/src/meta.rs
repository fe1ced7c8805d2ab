//! The part of an object's metadata that machinery needs without decoding the rest.
//!
//! Every stored object carries one of these, so it is kept small: annotations and managed fields stay in the
//! bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// Decoded metadata of one revision of an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Name, unique in its namespace and kind.
    pub name: Arc<str>,
    /// Namespace, absent for cluster-scoped kinds.
    pub namespace: Option<Arc<str>>,
    /// Unique for all time.
    pub uid: Arc<str>,
    /// The store's revision at which this state was written; 0 before the first write.
    #[serde(rename = "resourceVersion", deserialize_with = "revision")]
    pub revision: u64,
    /// Counts changes of the desired state.
    pub generation: i64,
    /// When the object was created.
    pub creation_timestamp: Option<Timestamp>,
    /// When the object may go; present while it is being deleted.
    pub deletion_timestamp: Option<Timestamp>,
    /// Labels.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// Finalizers that hold the object.
    pub finalizers: Vec<Box<str>>,
    /// Owners.
    pub owner_references: Vec<Owner>,
}

/// One owner reference.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// `apps/v1`.
    pub api_version: Box<str>,
    /// `ReplicaSet`.
    pub kind: Box<str>,
    /// The owner's name.
    pub name: Box<str>,
    /// The owner's uid.
    pub uid: Box<str>,
    /// Whether this owner manages the object.
    #[serde(default)]
    pub controller: bool,
    /// Whether a foreground deletion of the owner waits for the object.
    #[serde(default)]
    pub block_owner_deletion: bool,
}

impl Meta {
    /// The projection of full metadata.
    pub fn of(meta: &ObjectMeta) -> Self {
        let owner = |o: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| Owner {
            api_version: o.api_version.as_str().into(),
            kind: o.kind.as_str().into(),
            name: o.name.as_str().into(),
            uid: o.uid.as_str().into(),
            controller: o.controller.unwrap_or(false),
            block_owner_deletion: o.block_owner_deletion.unwrap_or(false),
        };
        Self {
            name: meta.name.as_deref().unwrap_or_default().into(),
            namespace: meta.namespace.as_deref().map(Into::into),
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            revision: meta.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0),
            generation: meta.generation.unwrap_or(0),
            creation_timestamp: meta.creation_timestamp.as_ref().map(|t| t.0),
            deletion_timestamp: meta.deletion_timestamp.as_ref().map(|t| t.0),
            labels: meta
                .labels
                .iter()
                .flatten()
                .map(|(k, v)| (k.as_str().into(), v.as_str().into()))
                .collect(),
            finalizers: meta.finalizers.iter().flatten().map(|f| f.as_str().into()).collect(),
            owner_references: meta.owner_references.iter().flatten().map(owner).collect(),
        }
    }

    /// The owner that manages the object, if any.
    pub fn controller(&self) -> Option<&Owner> {
        self.owner_references.iter().find(|owner| owner.controller)
    }

    /// `namespace/name`, or the name alone for cluster-scoped objects: the object's key in its table.
    pub fn key(&self) -> Arc<str> {
        key(self.namespace.as_deref(), &self.name)
    }
}

/// `namespace/name`, or the name alone.
pub fn key(namespace: Option<&str>, name: &str) -> Arc<str> {
    match namespace {
        Some(namespace) if !namespace.is_empty() => format!("{namespace}/{name}").into(),
        _ => name.into(),
    }
}

/// `resourceVersion` is a decimal string on the wire.
fn revision<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = Option::<std::borrow::Cow<'de, str>>::deserialize(from)?;
    match text.as_deref() {
        None | Some("") => Ok(0),
        Some(text) => text.parse().map_err(serde::de::Error::custom),
    }
}
