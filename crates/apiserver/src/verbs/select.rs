//! Which objects a list or watch means: namespace, labels, fields.

use skiff_api::ApiError;
use skiff_api::selector::{FieldSelector, LabelSelector};

use crate::catalog::Entry;
use crate::request::Target;
use crate::stored::Stored;

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

    /// Whether an object is selected.
    pub(crate) fn matches(&self, entry: &Entry, stored: &Stored) -> bool {
        let meta = stored.object().meta();
        (self.namespace.is_empty() || meta.namespace.as_deref() == Some(self.namespace.as_str()))
            && (self.labels.is_everything() || self.labels.matches(&meta.labels))
            && (self.fields.is_everything() || self.fields.matches(|name| stored.field(&*entry.ops, name)))
    }
}
