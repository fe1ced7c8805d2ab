//! The kinds this server serves, found by path: the table of kinds, indexed once.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use skiff_api::{Object, Resource};

use crate::kinds::{self, Row};
use crate::request::Target;

/// A kind and what is derived from its row once.
pub(crate) struct Entry {
    pub(crate) row: &'static Row,
    pub(crate) resource: Resource,
    /// Its table in the store.
    pub(crate) table: Arc<str>,
    /// `v1` or `apps/v1`.
    pub(crate) api_version: String,
    /// The opening of a list up to its metadata.
    pub(crate) list_head: Bytes,
    /// The fields its field selectors may name.
    pub(crate) fields: Vec<&'static str>,
}

impl Entry {
    fn new(row: &'static Row) -> Self {
        let resource = row.resource();
        let api_version = resource.api_version();
        let list_head = format!(r#"{{"kind":"{}","apiVersion":"{api_version}","metadata":"#, row.list_kind);
        let mut fields = vec!["metadata.name"];
        if row.namespaced {
            fields.push("metadata.namespace");
        }
        // Every object offers the same fields, so an empty one tells their names.
        let empty = Object::parse(Bytes::from_static(br#"{"metadata":{}}"#));
        let own = empty.ok().and_then(|empty| row.ops.fields(&empty).ok()).unwrap_or_default();
        fields.extend(own.into_iter().map(|(name, _)| name));
        Self { row, table: resource.table(), resource, api_version, list_head: list_head.into(), fields }
    }
}

/// All kinds.
pub(crate) struct Catalog {
    entries: Vec<Arc<Entry>>,
    by_path: HashMap<String, Arc<Entry>>,
}

impl Catalog {
    /// The built-in kinds.
    pub(crate) fn built_in() -> Self {
        let entries: Vec<Arc<Entry>> = kinds::ALL.iter().map(|row| Arc::new(Entry::new(row))).collect();
        let by_path = entries
            .iter()
            .map(|entry| (path(entry.row.group, entry.row.version, entry.row.plural), Arc::clone(entry)))
            .collect();
        Self { entries, by_path }
    }

    /// Every kind, in discovery's order.
    pub(crate) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// The kind a path names.
    pub(crate) fn find(&self, target: &Target) -> Option<&Arc<Entry>> {
        self.get(&target.group, &target.version, &target.plural)
    }

    /// The kind of a group, version and plural.
    pub(crate) fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Entry>> {
        self.by_path.get(&path(group, version, plural))
    }

    /// The kind of a Rust type; nothing if the table does not have it.
    pub(crate) fn of<K: skiff_api::Readable>(&self) -> Option<&Arc<Entry>> {
        self.get(K::GROUP, K::VERSION, K::URL_PATH_SEGMENT)
    }
}

fn path(group: &str, version: &str, plural: &str) -> String {
    format!("{group}/{version}/{plural}")
}
