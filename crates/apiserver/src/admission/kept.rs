//! Configurations in the form in which they are used, made anew when a table has changed and not before.

use std::sync::Arc;

use parking_lot::Mutex;
use skiff_api::Object;
use skiff_store::Snapshot;

use crate::api::Api;
use crate::stored::Stored;

/// What is made of a table's objects, in the order of their names.
pub(super) struct Kept<T> {
    table: &'static str,
    make: fn(&Object) -> Vec<T>,
    made: Mutex<Option<Made<T>>>,
}

struct Made<T> {
    of: Snapshot<Stored>,
    items: Arc<[T]>,
}

impl<T> Kept<T> {
    pub(super) const fn new(table: &'static str, make: fn(&Object) -> Vec<T>) -> Self {
        Self { table, make, made: Mutex::new(None) }
    }

    /// True if the table holds nothing: what a write pays when nobody has configured anything.
    pub(super) fn is_idle(&self, api: &Api) -> bool {
        api.store.snapshot(self.table).objects.is_empty()
    }

    /// The items as of now.
    pub(super) fn get(&self, api: &Api) -> Arc<[T]> {
        let snapshot = api.store.snapshot(self.table);
        let mut made = self.made.lock();
        if let Some(made) = made.as_ref().filter(|made| made.of.objects.ptr_eq(&snapshot.objects)) {
            return Arc::clone(&made.items);
        }
        let items: Arc<[T]> =
            snapshot.objects.iter().flat_map(|(_, stored)| (self.make)(stored.object())).collect();
        *made = Some(Made { of: snapshot, items: Arc::clone(&items) });
        items
    }
}
