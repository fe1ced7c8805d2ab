//! What the API looks like, for clients that ask: OpenAPI v2 (JSON and protobuf) and v3 (one document a group).
//!
//! Everything comes from the table of kinds: schemas from the Rust types, merge facts from `skiff_api::patch::facts`, paths
//! from the rows. Each document is made when it is first asked for, once, and kept as bytes with its tag.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::catalog::{Entry, Kinds};
use crate::reviews::Review;

mod paths;
mod protobuf;
mod reviews;
mod schemas;

use reviews::Reviews;

/// The media type of the protobuf form of v2, as old kubectl asks for it.
pub(crate) const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// A finished document.
#[derive(Clone)]
pub(crate) struct Document {
    /// What is sent.
    pub(crate) body: Bytes,
    /// Changes when the body does; without quotes.
    pub(crate) etag: String,
}

impl Document {
    fn new(body: Vec<u8>) -> Self {
        let etag = Sha256::digest(&body).iter().map(|byte| format!("{byte:02X}")).collect();
        Self { body: body.into(), etag }
    }

    fn json(value: &Value) -> Self {
        Self::new(value.to_string().into_bytes())
    }
}

/// A finished document of a tree.
pub(crate) fn v2_document(value: &Value) -> Document {
    Document::json(value)
}

/// The same in the protobuf form of [`V2_PROTOBUF`].
pub(crate) fn v2_protobuf_document(value: &Value) -> Document {
    Document::new(protobuf::encode(value))
}

/// The documents of one set of kinds. A group-version whose kinds are the same as before keeps its document.
pub(crate) struct Documents {
    v2: OnceLock<Document>,
    v2_protobuf: OnceLock<Document>,
    index: OnceLock<Document>,
    v3: BTreeMap<String, Arc<Group>>,
}

/// The kinds of one group-version, its reviews, and their v3 document.
#[derive(Default)]
struct Group {
    entries: Vec<Arc<Entry>>,
    reviews: Reviews,
    made: OnceLock<Document>,
}

impl Group {
    fn same(&self, entries: &[Arc<Entry>]) -> bool {
        self.entries.len() == entries.len()
            && self.entries.iter().zip(entries).all(|(mine, other)| Arc::ptr_eq(mine, other))
    }

    fn document(&self) -> Document {
        self.made.get_or_init(|| Document::json(&v3_value(&self.entries, &self.reviews))).clone()
    }
}

impl Documents {
    /// The documents of `entries`, none of them made yet, but for what `before` has of the same kinds.
    pub(crate) fn new(entries: &[Arc<Entry>], reviews: &[&'static Review], before: Option<&Self>) -> Self {
        let mut groups: BTreeMap<String, Vec<Arc<Entry>>> = BTreeMap::new();
        for entry in entries {
            groups.entry(entry.root()).or_default().push(Arc::clone(entry));
        }
        let mut reviews = reviews::by_group(reviews);
        for name in reviews.keys() {
            groups.entry(name.clone()).or_default();
        }
        let group = |(name, entries): (String, Vec<Arc<Entry>>)| {
            let kept = before.and_then(|before| before.v3.get(&name)).filter(|group| group.same(&entries));
            let reviews = reviews.remove(&name).unwrap_or_default();
            let fresh = || Arc::new(Group { entries, reviews, ..Group::default() });
            let group = kept.cloned().unwrap_or_else(fresh);
            (name, group)
        };
        Self {
            v2: OnceLock::new(),
            v2_protobuf: OnceLock::new(),
            index: OnceLock::new(),
            v3: groups.into_iter().map(group).collect(),
        }
    }

    /// The whole API as OpenAPI v2.
    pub(crate) fn v2(&self, kinds: &Kinds) -> Document {
        self.v2.get_or_init(|| Document::json(&v2_value(kinds))).clone()
    }

    /// The same in the protobuf form of [`V2_PROTOBUF`].
    pub(crate) fn v2_protobuf(&self, kinds: &Kinds) -> Document {
        self.v2_protobuf.get_or_init(|| Document::new(protobuf::encode(&v2_value(kinds)))).clone()
    }

    /// Which v3 documents there are.
    pub(crate) fn v3_index(&self) -> Document {
        let entry = |(name, group): (&String, &Arc<Group>)| {
            let url = format!("/openapi/v3/{name}?hash={}", group.document().etag);
            (name.clone(), json!({ "serverRelativeURL": url }))
        };
        let index = || {
            let paths: serde_json::Map<String, Value> = self.v3.iter().map(entry).collect();
            Document::json(&json!({ "paths": paths }))
        };
        self.index.get_or_init(index).clone()
    }

    /// One group-version (`api/v1`, `apis/apps/v1`) as OpenAPI v3.
    pub(crate) fn v3(&self, group_version: &str) -> Option<Document> {
        self.v3.get(group_version).map(|group| group.document())
    }
}

/// Made anew for each of its two forms, since the tree is ten times as big as the bytes.
pub(crate) fn v2_value(kinds: &Kinds) -> Value {
    let (entries, reviews) = (kinds.entries(), kinds.reviews());
    let mut definitions = schemas::definitions(entries, reviews);
    schemas::for_v2(&mut definitions);
    let paths =
        entries.iter().flat_map(|entry| paths::of(entry)).chain(reviews.iter().map(|it| paths::review(it)));
    let paths: serde_json::Map<String, Value> = paths.map(|path| (path.at.clone(), path.v2())).collect();
    json!({ "swagger": "2.0", "info": info(), "paths": paths, "definitions": definitions })
}

fn info() -> Value {
    json!({ "title": "Kubernetes", "version": concat!("skiff-", env!("CARGO_PKG_VERSION")) })
}

fn v3_value(entries: &[Arc<Entry>], reviews: &[&'static Review]) -> Value {
    let mut definitions = schemas::definitions(entries, reviews);
    schemas::for_v3(&mut definitions);
    let paths =
        entries.iter().flat_map(|entry| paths::of(entry)).chain(reviews.iter().map(|it| paths::review(it)));
    let paths: serde_json::Map<String, Value> = paths.map(|path| (path.at.clone(), path.v3())).collect();
    json!({ "openapi": "3.0.0", "info": info(), "paths": paths, "components": { "schemas": definitions } })
}

#[cfg(test)]
mod tests;
