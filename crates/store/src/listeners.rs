//! Who is told when a table changes: all its watches at once by one signal, narrow ones each by its own.
//!
//! One lock is held while events are delivered and become visible, and while a narrow watch registers and takes its first
//! look: so an event is either in the state it sees then, or in its inbox.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    Event,
    narrow::{Inbox, Inboxes, Narrow},
};

pub(crate) struct Listeners<V>(Mutex<HashMap<Arc<str>, OfTable<V>>>);

/// One for each table ever watched; they are few.
struct OfTable<V> {
    all: Arc<Notify>,
    narrow: Inboxes<V>,
}

impl<V> Default for Listeners<V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<V> Default for OfTable<V> {
    fn default() -> Self {
        Self { all: Arc::default(), narrow: Inboxes::default() }
    }
}

impl<V> Listeners<V> {
    /// The signal of a table, and the name all its watches share.
    pub(crate) fn signal(&self, table: &str) -> (Arc<str>, Arc<Notify>) {
        let mut tables = self.0.lock();
        if let Some((name, of_table)) = tables.get_key_value(table) {
            return (name.clone(), of_table.all.clone());
        }
        let (name, of_table) = (Arc::<str>::from(table), OfTable::default());
        let signal = of_table.all.clone();
        tables.insert(name.clone(), of_table);
        (name, signal)
    }

    /// An inbox for what concerns a narrow watch from now on; `look` at the state meanwhile.
    pub(crate) fn register<T>(
        &self,
        table: &Arc<str>,
        narrow: &Narrow<V>,
        look: impl FnOnce() -> T,
    ) -> (Arc<Inbox<V>>, T) {
        let inbox = Arc::new(Inbox::new());
        let mut tables = self.0.lock();
        tables.entry(table.clone()).or_default().narrow.add(narrow, &inbox);
        (inbox, look())
    }

    pub(crate) fn unregister(&self, table: &str, narrow: &Narrow<V>, inbox: &Arc<Inbox<V>>) {
        if let Some(of_table) = self.0.lock().get_mut(table) {
            of_table.narrow.remove(narrow, inbox);
        }
    }

    /// Delivers a batch's events, which are of these tables, and has `publish` make them visible. The signals are to be
    /// given afterwards.
    pub(crate) fn deliver<'a>(
        &self,
        events: &[Arc<Event<V>>],
        changed: impl Iterator<Item = &'a Arc<str>>,
        publish: impl FnOnce(),
    ) -> Vec<Arc<Notify>> {
        let tables = self.0.lock();
        let mut signals: Vec<_> =
            changed.filter_map(|table| tables.get(table)).map(|of_table| of_table.all.clone()).collect();
        for event in events {
            if let Some(of_table) = tables.get(&event.key.table) {
                of_table.narrow.deliver(event, &mut signals);
            }
        }
        publish();
        signals
    }

    /// Every signal there is.
    pub(crate) fn all(&self) -> Vec<Arc<Notify>> {
        let tables = self.0.lock();
        let of_table = |table: &OfTable<V>| {
            std::iter::once(table.all.clone()).chain(table.narrow.signals()).collect::<Vec<_>>()
        };
        tables.values().flat_map(of_table).collect()
    }
}
