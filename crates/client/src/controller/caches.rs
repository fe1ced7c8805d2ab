//! The caches that a table of controllers shares: one for each kind any of them reads.

use std::collections::HashMap;
use std::sync::Arc;

use skiff_api::Readable;
use skiff_base::Tasks;

use super::{Key, Row};
use crate::cache::{Cache, Index};
use crate::feed::Topic;
use crate::link::Link;

/// A built-in kind: group and plural.
type Kind = (&'static str, &'static str);

/// One cache per kind; clones share them.
#[derive(Clone, Default)]
pub struct Caches {
    by_kind: Arc<HashMap<Kind, Cache>>,
}

impl Caches {
    /// Begins to follow every kind that `rows` read, through `link`.
    pub(super) fn follow<S>(rows: &[&'static Row<S>], link: &Link, tasks: &Tasks) -> Self {
        let mut wanted: HashMap<Kind, (Topic, Vec<Index>)> = HashMap::new();
        for wake in rows.iter().flat_map(|row| row.wakes) {
            let (_, indexes) = wanted.entry(wake.kind).or_insert_with(|| (wake.topic(), Vec::new()));
            for index in wake.indexes {
                if !indexes.iter().any(|known| known.name == index.name) {
                    indexes.push(*index);
                }
            }
        }
        let follow = |(kind, (topic, indexes)): (Kind, (Topic, Vec<Index>))| {
            (kind, Cache::follow(link, &topic, &indexes, tasks))
        };
        Self { by_kind: Arc::new(wanted.into_iter().map(follow).collect()) }
    }

    /// The caches given, for tests of reconcilers: filled by hand.
    pub fn given(caches: impl IntoIterator<Item = (Kind, Cache)>) -> Self {
        Self { by_kind: Arc::new(caches.into_iter().collect()) }
    }

    /// The cache of a kind.
    pub fn of<K: Readable>(&self) -> &Cache {
        self.by_kind
            .get(&(K::GROUP, K::URL_PATH_SEGMENT))
            .expect("a row names in `wakes` every kind that it reads")
    }

    /// The cache of a kind by group and plural, if there is one.
    pub(super) fn at(&self, group: &str, plural: &str) -> Option<&Cache> {
        self.by_kind.iter().find(|(kind, _)| **kind == (group, plural)).map(|(_, cache)| cache)
    }

    /// One object, decoded.
    pub fn get<K: Readable>(&self, key: &Key) -> Option<Arc<K>> {
        self.of::<K>().typed(key.as_str())
    }

    /// Waits until all of them have their first answer.
    pub(super) async fn synced(&self) {
        for cache in self.by_kind.values() {
            cache.synced().await;
        }
    }
}
