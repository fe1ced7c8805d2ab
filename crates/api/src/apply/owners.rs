//! Owners of fields as text: `metadata.managedFields` is long, and hardly anything of it changes in a write.
//!
//! A typed object spells every set out as a tree of maps, half of what decoding a pod costs. So drafts carry the text
//! beside the object, and what is not touched goes from one revision to the next as it is.

use std::borrow::Cow;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::managers::Owner;
use super::set::Set;

/// The text of an object's `metadata.managedFields`, in the form in which it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owners(Bytes);

/// One entry of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    pub(super) api_version: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) fields_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) fields_v1: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) manager: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) operation: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) subresource: Cow<'a, str>,
    pub(super) time: Option<Time>,
}

impl Entry<'_> {
    /// What is owned; nothing if it is malformed.
    pub(super) fn set(&self) -> Option<Set> {
        self.fields_v1.map_or_else(|| Some(Set::default()), |text| serde_json::from_str(text.get()).ok())
    }
}

impl Owners {
    /// As a stored object has them; `text` must be that of its `managedFields`.
    pub fn stored(text: Bytes) -> Self {
        Self(text)
    }

    /// As somebody sent them, if he did.
    pub fn sent(entries: Option<Vec<ManagedFieldsEntry>>) -> Option<Self> {
        // Maps with texts as keys can be written.
        serde_json::to_vec(&entries?).ok().map(|text| Self(text.into()))
    }

    /// As they have become; nothing if there are none.
    pub(super) fn of(owners: &[Owner<'_>]) -> Option<Self> {
        if owners.is_empty() { None } else { serde_json::to_vec(owners).ok().map(|text| Self(text.into())) }
    }

    /// Their JSON.
    pub fn text(&self) -> &[u8] {
        &self.0
    }

    /// Their JSON as a tree.
    ///
    /// # Errors
    /// If the text is none.
    pub fn tree(&self) -> serde_json::Result<Value> {
        serde_json::from_slice(&self.0)
    }

    /// True if there are none, or if they are told in the way in which a request does away with all: one that says nothing.
    pub fn is_nobody(&self) -> bool {
        matches!(&*self.0, b"[]" | b"[{}]")
    }

    /// The versions in which they wrote.
    pub fn versions(&self) -> Vec<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        #[derive(Default)]
        struct Version {
            api_version: String,
        }
        let read: Vec<Version> = serde_json::from_slice(&self.0).unwrap_or_default();
        read.into_iter().map(|entry| entry.api_version).collect()
    }

    /// Each of them; nothing if the text is malformed.
    pub(super) fn entries(&self) -> Option<Vec<Entry<'_>>> {
        serde_json::from_slice(&self.0).ok()
    }
}
