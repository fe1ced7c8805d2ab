//! What the API looks like, for clients that ask: OpenAPI v2 (JSON and protobuf) and v3 (one document a group).
//!
//! Everything comes from the table of kinds: schemas from the Rust types, merge facts from `skiff_api::patch::facts`, paths
//! from the rows. Each document is made when it is first asked for, once, and kept as bytes with its tag.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::kinds::{ALL, Row};

mod paths;
mod protobuf;
mod schemas;

/// The media type of [`v2_protobuf`], as old kubectl asks for it.
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

/// Made anew for each of its two forms, since the tree is ten times as big as the bytes.
fn v2_value() -> Value {
    let mut definitions = schemas::definitions(ALL);
    schemas::for_v2(&mut definitions);
    let paths: serde_json::Map<String, Value> =
        ALL.iter().flat_map(|row| paths::of(row)).map(|path| (path.at.clone(), path.v2())).collect();
    json!({ "swagger": "2.0", "info": info(), "paths": paths, "definitions": definitions })
}

static V3: LazyLock<BTreeMap<String, Document>> = LazyLock::new(|| {
    let mut groups: BTreeMap<String, Vec<&'static Row>> = BTreeMap::new();
    for row in ALL {
        groups.entry(group_version(row)).or_default().push(row);
    }
    groups.into_iter().map(|(name, rows)| (name, Document::json(&v3_value(&rows)))).collect()
});

/// `api/v1` or `apis/apps/v1`: where a row's paths begin, and the name of its v3 document.
fn group_version(row: &Row) -> String {
    if row.group.is_empty() {
        format!("api/{}", row.version)
    } else {
        format!("apis/{}/{}", row.group, row.version)
    }
}

fn info() -> Value {
    json!({ "title": "Kubernetes", "version": concat!("skiff-", env!("CARGO_PKG_VERSION")) })
}

fn v3_value(rows: &[&'static Row]) -> Value {
    let mut definitions = schemas::definitions(rows);
    schemas::for_v3(&mut definitions);
    let paths: serde_json::Map<String, Value> =
        rows.iter().flat_map(|row| paths::of(row)).map(|path| (path.at.clone(), path.v3())).collect();
    json!({ "openapi": "3.0.0", "info": info(), "paths": paths, "components": { "schemas": definitions } })
}

/// The whole API as OpenAPI v2.
pub(crate) fn v2() -> Document {
    static MADE: LazyLock<Document> = LazyLock::new(|| Document::json(&v2_value()));
    MADE.clone()
}

/// The same in the protobuf form of [`V2_PROTOBUF`].
pub(crate) fn v2_protobuf() -> Document {
    static MADE: LazyLock<Document> = LazyLock::new(|| Document::new(protobuf::encode(&v2_value())));
    MADE.clone()
}

/// Which v3 documents there are.
pub(crate) fn v3_index() -> Document {
    static MADE: LazyLock<Document> = LazyLock::new(|| {
        let entry = |(name, document): (&String, &Document)| {
            let url = format!("/openapi/v3/{name}?hash={}", document.etag);
            (name.clone(), json!({ "serverRelativeURL": url }))
        };
        let paths: serde_json::Map<String, Value> = V3.iter().map(entry).collect();
        Document::json(&json!({ "paths": paths }))
    });
    MADE.clone()
}

/// One group-version (`api/v1`, `apis/apps/v1`) as OpenAPI v3.
pub(crate) fn v3(group_version: &str) -> Option<Document> {
    V3.get(group_version).cloned()
}

#[cfg(test)]
mod tests;
