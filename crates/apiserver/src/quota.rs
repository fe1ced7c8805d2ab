//! Resource quotas: what a namespace holds is counted here, so that no write takes it beyond what it may have.
//!
//! Upstream trusts the usage that stands in a quota's status, and writes it before each object; that status may lag and
//! stays too high when a create fails. Here the stored objects are the truth: the ledger follows the store's own events,
//! catching up before each judgement, and adds what is being written at this moment (a reservation, let go by any end
//! but success, and by success once the ledger has seen the object). So usage is exact with any number of writers, and
//! the status is only its publication, one write for many creates.
//!
//! It costs a namespace without quotas one look into an index, and one with quotas O(changed). `usage` says what an
//! object counts as, `scope` which quotas count it, `space` keeps one namespace's sums, `books` follow the store,
//! `publish` writes the status.

use std::sync::Arc;

use parking_lot::Mutex;
use skiff_api::ApiError;

use crate::admission::RESOURCE_QUOTA;
use crate::kinds::Draft;
use crate::registry::Scope;

mod books;
pub(crate) mod publish;
mod scope;
mod space;
mod usage;

use books::Books;

/// The table of quotas.
const QUOTAS: &str = "resourcequotas";

/// The ledger of all namespaces that have quotas.
#[derive(Default)]
pub(crate) struct Ledger {
    books: Arc<Mutex<Books>>,
}

/// What a write will add, until it is stored or has failed.
#[must_use]
pub(crate) struct Reservation {
    held: Option<Held>,
}

struct Held {
    books: Arc<Mutex<Books>>,
    namespace: Box<str>,
    id: u64,
}

impl Ledger {
    /// Reserves what the object on its way would add to its namespace's usage; a dry run is judged and reserves nothing.
    ///
    /// # Errors
    /// 403 in upstream's words if a quota would be exceeded, or asks for something that the object does not say.
    pub(crate) fn begin(
        &self,
        scope: &Scope<'_>,
        draft: &dyn Draft,
        old: Option<&dyn Draft>,
        dry_run: bool,
    ) -> Result<Reservation, ApiError> {
        let none = Reservation { held: None };
        let table = &scope.entry.table;
        let store = &scope.api.store;
        let on = scope.api.settings.admission.has(RESOURCE_QUOTA);
        let applies = on
            && scope.entry.resource.namespaced
            && usage::is_counted(table, scope.subresource, old.is_some());
        // Most namespaces have none: that must cost nothing.
        let prefix = format!("{}/", scope.namespace);
        if !applies || store.snapshot(QUOTAS).beginning(&prefix).next().is_none() {
            return Ok(none);
        }
        let mut books = self.books.lock();
        books.catch_up(store);
        let id = books.number();
        let Some(space) = books.space(scope.namespace) else { return Ok(none) };
        let name = draft.meta().name.as_deref().unwrap_or_default();
        let deltas = space
            .judge(table, draft.as_any(), old.map(Draft::as_any))
            .map_err(|why| ApiError::forbidden(&scope.entry.resource, name, why))?;
        if dry_run || deltas.is_empty() {
            return Ok(none);
        }
        let meta = old.map_or(draft.meta(), Draft::meta);
        let uid = meta.uid.as_deref().unwrap_or_default();
        let base = old.and_then(|old| old.meta().resource_version.as_deref()?.parse().ok());
        space.reserve(id, table, uid, base, deltas);
        let held = Held { books: Arc::clone(&self.books), namespace: scope.namespace.into(), id };
        Ok(Reservation { held: Some(held) })
    }
}

impl Reservation {
    /// The object is stored at this revision: the reservation goes when the ledger has seen it.
    pub(crate) fn commit(mut self, revision: u64) {
        if let Some(held) = self.held.take() {
            let mut books = held.books.lock();
            if let Some(space) = books.space(&held.namespace) {
                space.commit(held.id, revision);
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            let mut books = held.books.lock();
            if let Some(space) = books.space(&held.namespace) {
                space.release(held.id);
            }
        }
    }
}
