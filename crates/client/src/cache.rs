//! What a component knows of the cluster: the objects of one topic, shared, kept current by a feed.
//!
//! A cache holds `Arc<Object>` (metadata and bytes), never typed objects: those weigh ten times as much, and a
//! reconciler decodes only the few it works on. Secondary indexes are functions from an object to values, computed
//! once per change. Readers lock for a map look-up and never wait for the feed.
//!
//! Subscribers are called after a change is visible, in the order of changes, and see old and new: a label that went
//! away must wake those who matched it before. A `Reset` is told as the differences from what was known.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use parking_lot::{Mutex, RwLock};
use skiff_api::{Object, Readable};
use skiff_base::{Latch, Tasks};
use tokio::sync::watch;

use crate::feed::{Delta, Feed, Topic};
use crate::link::Link;

/// A secondary index: the values under which an object is found.
#[derive(Clone, Copy)]
pub struct Index {
    /// What [`Cache::by`] asks for.
    pub name: &'static str,
    /// The object's values; most indexes give one or none.
    pub values: fn(&Object) -> Vec<Box<str>>,
}

/// Finds objects by the uid of the owner that manages them.
pub const BY_CONTROLLER: Index = Index {
    name: "controller",
    values: |object| object.meta().controller().map(|owner| owner.uid.clone()).into_iter().collect(),
};

/// Finds objects by namespace.
pub const BY_NAMESPACE: Index = Index {
    name: "namespace",
    values: |object| object.meta().namespace.as_deref().map(Into::into).into_iter().collect(),
};

/// One object changed: what it was, if known, and what it is, unless gone.
#[derive(Clone, Debug)]
pub struct Change {
    /// The state before.
    pub old: Option<Arc<Object>>,
    /// The state now; absent if gone.
    pub new: Option<Arc<Object>>,
}

impl Change {
    /// The states before and after, as far as there are any.
    pub fn both(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.old.iter().chain(&self.new)
    }

    /// The newest state known.
    pub fn latest(&self) -> &Arc<Object> {
        self.new.as_ref().or(self.old.as_ref()).expect("a change has at least one side")
    }
}

/// What a writer has to see before it trusts the cache again.
#[derive(Clone, Debug)]
pub enum Written {
    /// The object was written at this revision.
    At(Arc<str>, u64),
    /// The object with this uid was deleted, or its deletion began.
    Deleted(Arc<str>, Arc<str>),
}

type Handler = Box<dyn Fn(&Change) + Send + Sync>;

#[derive(Default)]
struct Objects {
    by_key: HashMap<Arc<str>, Arc<Object>>,
    by_index: HashMap<&'static str, BTreeMap<Box<str>, HashSet<Arc<str>>>>,
}

struct Shared {
    indexes: Vec<Index>,
    objects: RwLock<Objects>,
    handlers: Mutex<Vec<Handler>>,
    /// The highest revision seen: within one feed revisions only grow.
    seen: watch::Sender<u64>,
    synced: Latch,
}

/// The objects of one topic; clones share it.
#[derive(Clone)]
pub struct Cache {
    shared: Arc<Shared>,
}

impl Cache {
    /// An empty cache that somebody else feeds through [`Cache::apply`].
    pub fn new(indexes: &[Index]) -> Self {
        let mut all = vec![BY_NAMESPACE];
        all.extend(indexes.iter().filter(|index| index.name != BY_NAMESPACE.name));
        let shared = Shared {
            indexes: all,
            objects: RwLock::default(),
            handlers: Mutex::default(),
            seen: watch::Sender::new(0),
            synced: Latch::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A cache of `topic` that is kept current until `tasks` stop.
    pub fn follow(link: &Link, topic: &Topic, indexes: &[Index], tasks: &Tasks) -> Self {
        let cache = Self::new(indexes);
        let feed = link.feed(topic);
        tasks.spawn_until_stop(cache.clone().pump(feed));
        cache
    }

    /// Applies the feed until it ends, which feeds do not.
    pub async fn pump(self, mut feed: Feed) {
        while let Some(delta) = feed.next().await {
            self.apply(delta);
        }
    }

    /// Takes in one step of a feed, then tells the subscribers.
    pub fn apply(&self, delta: Delta<Arc<Object>>) {
        let handlers = self.shared.handlers.lock();
        let mut seen = 0;
        let changes = match delta {
            Delta::Reset(objects) => {
                seen = objects.iter().map(|object| object.meta().revision).max().unwrap_or(0);
                self.reset(objects)
            }
            Delta::Put(object) => {
                seen = seen.max(object.meta().revision);
                vec![self.put(object)]
            }
            Delta::Gone(object) => {
                seen = seen.max(object.meta().revision);
                self.remove(&object.meta().key(), Some(object)).into_iter().collect()
            }
        };
        for change in &changes {
            for handler in handlers.iter() {
                handler(change);
            }
        }
        drop(handlers);
        // Also when the number stays: a waiter for a deletion looks at the map again.
        self.shared.seen.send_modify(|highest| *highest = seen.max(*highest));
        self.shared.synced.open();
    }

    /// The object with this key (`namespace/name` or `name`).
    pub fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.shared.objects.read().by_key.get(key).cloned()
    }

    /// The object with this key, decoded. One that does not fit its type is logged and taken for absent.
    pub fn typed<K: Readable>(&self, key: &str) -> Option<Arc<K>> {
        self.get(key).and_then(|object| decode(&object))
    }

    /// Everything, in no particular order.
    pub fn list(&self) -> Vec<Arc<Object>> {
        self.shared.objects.read().by_key.values().cloned().collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.shared.objects.read().by_key.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The objects of one namespace.
    pub fn within(&self, namespace: &str) -> Vec<Arc<Object>> {
        self.by(&BY_NAMESPACE, namespace)
    }

    /// The objects that `index` files under `value`. The cache must have been made with that index.
    pub fn by(&self, index: &Index, value: &str) -> Vec<Arc<Object>> {
        let objects = self.shared.objects.read();
        let keys = objects.by_index.get(index.name).and_then(|values| values.get(value));
        keys.into_iter().flatten().filter_map(|key| objects.by_key.get(key).cloned()).collect()
    }

    /// Calls `handler` with everything there is, then with every change, from the task that feeds the cache: it must
    /// be quick and must not subscribe in turn.
    pub fn subscribe(&self, handler: impl Fn(&Change) + Send + Sync + 'static) {
        let mut handlers = self.shared.handlers.lock();
        for object in self.list() {
            handler(&Change { old: None, new: Some(object) });
        }
        handlers.push(Box::new(handler));
    }

    /// Waits until the feed's first answer is in.
    pub async fn synced(&self) {
        self.shared.synced.opened().await;
    }

    /// True once the feed's first answer is in.
    pub fn is_synced(&self) -> bool {
        self.shared.synced.is_open()
    }

    /// Waits until the cache shows a write, or something later; false if that takes longer than `patience`.
    pub async fn wait_for(&self, write: &Written, patience: Duration) -> bool {
        let mut seen = self.shared.seen.subscribe();
        let shown = seen.wait_for(|highest| self.shows(write, *highest));
        matches!(tokio::time::timeout(patience, shown).await, Ok(Ok(_)))
    }

    fn shows(&self, write: &Written, highest: u64) -> bool {
        match write {
            Written::At(_, revision) => highest >= *revision,
            Written::Deleted(key, uid) => self
                .get(key)
                .is_none_or(|held| held.meta().uid != *uid || held.meta().deletion_timestamp.is_some()),
        }
    }

    fn put(&self, object: Arc<Object>) -> Change {
        let mut objects = self.shared.objects.write();
        let key = object.meta().key();
        let old = objects.by_key.insert(Arc::clone(&key), Arc::clone(&object));
        if let Some(old) = &old {
            objects.unfile(&self.shared.indexes, &key, old);
        }
        objects.file(&self.shared.indexes, &key, &object);
        Change { old, new: Some(object) }
    }

    /// Forgets an object; `last` is its last state where the feed told it.
    fn remove(&self, key: &str, last: Option<Arc<Object>>) -> Option<Change> {
        let mut objects = self.shared.objects.write();
        let (key, held) = objects.by_key.remove_entry(key)?;
        objects.unfile(&self.shared.indexes, &key, &held);
        Some(Change { old: last.or(Some(held)), new: None })
    }

    fn reset(&self, objects: Vec<Arc<Object>>) -> Vec<Change> {
        let kept: HashSet<Arc<str>> = objects.iter().map(|object| object.meta().key()).collect();
        let lost: Vec<Arc<str>> =
            self.shared.objects.read().by_key.keys().filter(|key| !kept.contains(*key)).cloned().collect();
        let mut changes: Vec<Change> = lost.iter().filter_map(|key| self.remove(key, None)).collect();
        for object in objects {
            let held = self.get(&object.meta().key());
            if held.is_none_or(|held| held.meta().revision != object.meta().revision) {
                changes.push(self.put(object));
            }
        }
        changes
    }
}

impl Objects {
    fn file(&mut self, indexes: &[Index], key: &Arc<str>, object: &Object) {
        for index in indexes {
            for value in (index.values)(object) {
                self.by_index
                    .entry(index.name)
                    .or_default()
                    .entry(value)
                    .or_default()
                    .insert(Arc::clone(key));
            }
        }
    }

    fn unfile(&mut self, indexes: &[Index], key: &str, object: &Object) {
        for index in indexes {
            let Some(values) = self.by_index.get_mut(index.name) else { continue };
            for value in (index.values)(object) {
                let Some(keys) = values.get_mut(&value) else { continue };
                keys.remove(key);
                if keys.is_empty() {
                    values.remove(&value);
                }
            }
        }
    }
}

/// The typed form; nothing (and a line in the log) if the stored JSON does not fit the type.
pub fn decode<K: Readable>(object: &Object) -> Option<Arc<K>> {
    object.decode::<K>().inspect_err(|error| tracing::warn!(%error, "an object does not fit its kind")).ok()
}

#[cfg(test)]
mod tests;
