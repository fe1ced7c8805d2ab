//! The ledger over the store: which tables it follows, and how it catches up.
//!
//! Nothing runs here by itself: whoever needs the sums takes in first what has happened since, event by event; a table
//! that moved on too far is counted anew. Events come from the published state, so whatever a client has been told is
//! in the sums.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::ResourceQuotaStatus;
use skiff_store::{Event, Store, Watch};

use super::space::Space;
use super::{QUOTAS, usage};
use crate::stored::Stored;

/// All namespaces with quotas, and the tables that they count.
#[derive(Default)]
pub(super) struct Books {
    spaces: HashMap<Box<str>, Space>,
    followed: HashMap<Arc<str>, Watch<Stored>>,
    /// The last number given to a reservation; a namespace may go and come again meanwhile.
    last: u64,
}

impl Books {
    /// A namespace, if it has quotas.
    pub(super) fn space(&mut self, namespace: &str) -> Option<&mut Space> {
        self.spaces.get_mut(namespace)
    }

    /// A number for a reservation.
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The statuses that no longer say what is: namespace, name, status.
    pub(super) fn stale(&self) -> Vec<(String, String, ResourceQuotaStatus)> {
        let mut stale = Vec::new();
        for (namespace, space) in &self.spaces {
            stale
                .extend(space.stale().map(|(name, status)| (namespace.to_string(), name.to_owned(), status)));
        }
        stale
    }

    /// Takes in what has happened.
    pub(super) fn catch_up(&mut self, store: &Store<Stored>) {
        let changed = self.quotas_changed(store);
        self.drain(store);
        for namespace in changed {
            self.reload(store, &namespace);
        }
    }

    /// The namespaces whose quotas changed; all, the first time and after a gap.
    fn quotas_changed(&mut self, store: &Store<Stored>) -> BTreeSet<Box<str>> {
        let mut changed = BTreeSet::new();
        if let Some(watch) = self.followed.get_mut(QUOTAS) {
            let mut whole = true;
            let mut events = Vec::new();
            while let Some(event) = watch.ready() {
                match event {
                    Ok(event) => events.push(event),
                    Err(_too_far) => whole = false,
                }
            }
            if whole {
                for event in events {
                    changed.extend(namespace(&event).map(Into::into));
                    self.take(&event);
                }
                return changed;
            }
        }
        let (snapshot, watch) = store.snapshot_and_watch(QUOTAS);
        self.followed.insert(QUOTAS.into(), watch);
        changed.extend(self.spaces.keys().cloned());
        changed
            .extend(snapshot.objects.keys().filter_map(|key| key.split_once('/')).map(|(ns, _)| ns.into()));
        changed
    }

    /// Takes in the events of every other table.
    fn drain(&mut self, store: &Store<Stored>) {
        let mut lost = Vec::new();
        let mut events = Vec::new();
        for (table, watch) in &mut self.followed {
            if &**table == QUOTAS {
                continue;
            }
            while let Some(event) = watch.ready() {
                match event {
                    Ok(event) => events.push(event),
                    Err(_too_far) => lost.push(Arc::clone(table)),
                }
            }
        }
        events.iter().for_each(|event| self.take(event));
        for table in lost {
            self.followed.remove(&table);
            let counting: Vec<Box<str>> =
                self.spaces.iter().filter(|(_, s)| s.follows(&table)).map(|(n, _)| n.clone()).collect();
            counting.iter().for_each(|namespace| self.recount(store, namespace, &table));
        }
    }

    fn take(&mut self, event: &Event<Stored>) {
        let table = &event.key.table;
        let space = namespace(event).and_then(|namespace| self.spaces.get_mut(namespace));
        let Some(space) = space.filter(|space| space.follows(table)) else { return };
        let base = event.previous.as_ref().map(|before| before.object().meta().revision);
        let object = event.object.object();
        let counted = if event.deleted { None } else { usage::of_stored(table, object) };
        space.wrote(table, &object.meta().uid, base, event.revision, counted);
    }

    /// Reads a namespace's quotas again.
    fn reload(&mut self, store: &Store<Stored>, namespace: &str) {
        let prefix = format!("{namespace}/");
        let snapshot = store.snapshot(QUOTAS);
        let stored: Vec<_> =
            snapshot.beginning(&prefix).filter_map(|(_, stored)| stored.object().decode().ok()).collect();
        if stored.is_empty() {
            self.spaces.remove(namespace);
            let spaces = &self.spaces;
            let counted =
                |table: &str| spaces.values().any(|space| space.tables().any(|own| &**own == table));
            self.followed.retain(|table, _| &**table == QUOTAS || counted(table));
            return;
        }
        let anew = self.spaces.entry(namespace.into()).or_default().set(&stored);
        for table in anew {
            self.recount(store, namespace, &table);
        }
    }

    /// Counts a namespace's objects of a table from a snapshot. Events up to the snapshot that are still to come change
    /// nothing.
    fn recount(&mut self, store: &Store<Stored>, namespace: &str, table: &Arc<str>) {
        let snapshot = if self.followed.contains_key(table) {
            store.snapshot(table)
        } else {
            let (snapshot, watch) = store.snapshot_and_watch(table);
            self.followed.insert(Arc::clone(table), watch);
            snapshot
        };
        let prefix = format!("{namespace}/");
        let objects = snapshot.beginning(&prefix).filter_map(|(_, stored)| {
            let object = stored.object();
            let counted = usage::of_stored(table, object)?;
            Some((Arc::clone(&object.meta().uid), object.meta().revision, counted))
        });
        if let Some(space) = self.spaces.get_mut(namespace) {
            space.recount(table, snapshot.revision, objects);
        }
    }
}

fn namespace(event: &Event<Stored>) -> Option<&str> {
    event.key.name.split_once('/').map(|(namespace, _)| namespace)
}
