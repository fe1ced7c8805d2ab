//! The whole state at one revision: pure, no locks, no IO.
//!
//! The writer owns one and changes it; readers get clones of the published one. Everything in it is persistent,
//! so a clone is a few reference counts and a change copies only the path to what it touches. It must never be
//! changed after it has been published, and must not know who is watching.

use std::{sync::Arc, time::Instant};

use imbl::OrdMap;

use crate::{Compacted, Event, Expect, Key, Options, Refused, Value, window::Window};

pub(crate) struct State<V> {
    /// The revision of the last change in here.
    pub(crate) revision: u64,
    /// What was already history when the store was opened.
    floor: u64,
    /// Nothing will ever be added.
    pub(crate) closed: bool,
    tables: OrdMap<Arc<str>, Arc<Table<V>>>,
}

/// One table: its values, the revision of each, and its past. A table once made stays, for the sake of its past.
struct Table<V> {
    objects: OrdMap<Arc<str>, Arc<V>>,
    revisions: OrdMap<Arc<str>, u64>,
    window: Window<V>,
}

/// All values of a table at one revision. Cheap to clone and to keep for a while.
pub struct Snapshot<V> {
    /// The store's revision when it was taken; watch after this one.
    pub revision: u64,
    /// The values by name.
    pub objects: OrdMap<Arc<str>, Arc<V>>,
}

impl<V> Snapshot<V> {
    /// The entries whose name begins with `prefix`, in order, without looking at the others.
    pub fn beginning<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<V>)> + 'a {
        let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        self.objects.range::<_, str>(from).take_while(move |(name, _)| name.starts_with(prefix))
    }
}

impl<V> Clone for Snapshot<V> {
    fn clone(&self) -> Self {
        Self { revision: self.revision, objects: self.objects.clone() }
    }
}

/// The current value of a key and the revision it was written at.
pub(crate) type Current<V> = Option<(u64, Arc<V>)>;

impl<V: Value> State<V> {
    /// The state after a restart, still without values. A store that never held anything starts at revision 1,
    /// which leaves 0 free for callers to mean "none".
    pub(crate) fn new(loaded: u64) -> Self {
        Self { revision: loaded.max(1), floor: loaded, closed: false, tables: OrdMap::new() }
    }

    /// Adds a value that was there before the restart; no event.
    pub(crate) fn restore(&mut self, key: &Key, revision: u64, value: Arc<V>) {
        let table = self.table_mut(&key.table);
        table.objects.insert(key.name.clone(), value);
        table.revisions.insert(key.name.clone(), revision);
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<V>> {
        self.tables.get(&*key.table)?.objects.get(&*key.name).cloned()
    }

    pub(crate) fn snapshot(&self, table: &str) -> Snapshot<V> {
        let objects = self.tables.get(table).map(|table| table.objects.clone()).unwrap_or_default();
        Snapshot { revision: self.revision, objects }
    }

    pub(crate) fn tables(&self) -> Vec<Arc<str>> {
        let filled = self.tables.iter().filter(|(_, table)| !table.objects.is_empty());
        filled.map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn window(&self, table: &str) -> Option<&Window<V>> {
        self.tables.get(table).map(|table| &table.window)
    }

    /// The place in a table's window of the first event after a revision.
    pub(crate) fn place(&self, table: &str, after: u64) -> Result<u64, Compacted> {
        let compacted = self.compacted(table);
        if after < compacted {
            return Err(Compacted { asked: after, compacted });
        }
        self.window(table).map_or(Ok(0), |window| window.after(after))
    }

    pub(crate) fn compacted(&self, table: &str) -> u64 {
        self.window(table).map_or(self.floor, Window::compacted)
    }

    /// What a write would change, or why it may not.
    pub(crate) fn check(&self, key: &Key, expect: Expect, delete: bool) -> Result<Current<V>, Refused<V>> {
        let current = self.tables.get(&*key.table).and_then(|table| {
            Some((*table.revisions.get(&*key.name)?, table.objects.get(&*key.name)?.clone()))
        });
        match (expect, current) {
            (Expect::Absent, Some((_, value))) => Err(Refused::Exists(value)),
            (Expect::Present | Expect::Revision(_), None) => Err(Refused::Missing),
            (Expect::Revision(wanted), Some((revision, value))) if wanted != revision => {
                Err(Refused::Moved(value))
            }
            (_, None) if delete => Err(Refused::Missing),
            (_, current) => Ok(current),
        }
    }

    /// Makes a change that was checked and numbered: the next revision, in values and in the window.
    pub(crate) fn apply(&mut self, event: Event<V>, at: Instant) -> Arc<Event<V>> {
        debug_assert_eq!(event.revision, self.revision + 1, "revisions are dense");
        self.revision = event.revision;
        let table = self.table_mut(&event.key.table);
        if event.deleted {
            table.objects.remove(&*event.key.name);
            table.revisions.remove(&*event.key.name);
        } else {
            table.objects.insert(event.key.name.clone(), event.object.clone());
            table.revisions.insert(event.key.name.clone(), event.revision);
        }
        let event = Arc::new(event);
        table.window.push(event.clone(), at);
        event
    }

    /// Forgets a table's oldest events, as far as the bounds say.
    pub(crate) fn trim(&mut self, table: &Arc<str>, options: &Options, now: Instant) {
        let table = self.table_mut(table);
        table.window.trim(options, table.objects.len(), now);
    }

    fn table_mut(&mut self, name: &Arc<str>) -> &mut Table<V> {
        let floor = self.floor;
        let table = self.tables.entry(name.clone()).or_insert_with(|| {
            Arc::new(Table { objects: OrdMap::new(), revisions: OrdMap::new(), window: Window::new(floor) })
        });
        Arc::make_mut(table)
    }
}

impl<V> Clone for State<V> {
    fn clone(&self) -> Self {
        Self { revision: self.revision, floor: self.floor, closed: self.closed, tables: self.tables.clone() }
    }
}

impl<V> Clone for Table<V> {
    fn clone(&self) -> Self {
        Self { objects: self.objects.clone(), revisions: self.revisions.clone(), window: self.window.clone() }
    }
}
