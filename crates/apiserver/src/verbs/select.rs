//! Which objects a list or watch means: namespace, labels, fields.

use std::sync::Arc;

use skiff_api::ApiError;
use skiff_api::selector::{FieldSelector, LabelSelector};
use skiff_store::{Compacted, Narrow, Read, Snapshot, Store, Watch};

use crate::catalog::Entry;
use crate::request::Target;
use crate::stored::Stored;

/// The fields by which the many watches of nodes tell what is theirs.
const NARROWING: &[&str] = &["metadata.name", "spec.nodeName"];

/// A selection of one kind's objects.
#[derive(Clone, Debug)]
pub(crate) struct Select {
    /// Empty: everywhere.
    pub(crate) namespace: String,
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Select {
    /// The selection of a request.
    ///
    /// # Errors
    /// 400 for fields the kind does not offer.
    pub(crate) fn new(
        entry: &Entry,
        target: &Target,
        labels: LabelSelector,
        fields: FieldSelector,
    ) -> Result<Self, ApiError> {
        fields
            .check(|name| entry.fields.iter().any(|own| own == name))
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        let namespace = if entry.resource.namespaced { target.namespace.clone() } else { String::new() };
        Ok(Self { namespace, labels, fields })
    }

    /// The start of the keys of everything that could be selected.
    pub(crate) fn prefix(&self) -> String {
        if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) }
    }

    /// True if every object of the namespace is selected.
    pub(crate) fn everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// True if what is selected by may differ between versions of a kind.
    pub(crate) fn looks_inside(&self) -> bool {
        !self.fields.only_names(&["metadata.name", "metadata.namespace"])
    }

    /// All of the kind, and every change after that which may concern the selection.
    pub(crate) fn snapshot_and_watch(
        &self,
        store: &Store<Stored>,
        entry: &Arc<Entry>,
    ) -> (Snapshot<Stored>, Watch<Stored>) {
        match self.narrow(entry) {
            Some(narrow) => store.snapshot_and_watch_narrow(&entry.table, narrow),
            None => store.snapshot_and_watch(&entry.table),
        }
    }

    /// Every change after a revision that may concern the selection.
    ///
    /// # Errors
    /// If these are not kept any more.
    pub(crate) fn watch(
        &self,
        store: &Store<Stored>,
        entry: &Arc<Entry>,
        after: u64,
    ) -> Result<Watch<Stored>, Compacted> {
        match self.narrow(entry) {
            Some(narrow) => store.watch_narrow(&entry.table, after, narrow),
            None => store.watch(&entry.table, after),
        }
    }

    /// How watches of the selection are narrowed in the store: by a field in which few objects say the same.
    fn narrow(&self, entry: &Arc<Entry>) -> Option<Narrow<Stored>> {
        // What is stored in another version may say something else there; its name it has in all.
        let fields = if entry.conversion.is_some() { &NARROWING[..1] } else { NARROWING };
        let (field, wanted) = fields.iter().find_map(|field| Some((*field, self.fields.exact(field)?)))?;
        let entry = Arc::clone(entry);
        let read: Read<Stored> = Arc::new(move |stored| stored.field(&*entry.ops, field).unwrap_or_default());
        Some(Narrow { field: field.into(), read, wanted: wanted.into() })
    }

    /// Whether an object is selected.
    pub(crate) fn matches(&self, entry: &Entry, stored: &Stored) -> bool {
        let meta = stored.object().meta();
        (self.namespace.is_empty() || meta.namespace.as_deref() == Some(self.namespace.as_str()))
            && (self.labels.is_everything() || self.labels.matches(&meta.labels))
            && (self.fields.is_everything() || self.fields.matches(|name| stored.field(&*entry.ops, name)))
    }
}
