//! Namespace: a scope for names.
//!
//! It goes in two steps: deletion marks it Terminating, the namespace controller empties it and then takes its own
//! word out of `spec.finalizers` through the `finalize` subresource.

use k8s_openapi::api::core::v1::{Namespace, NamespaceSpec, NamespaceStatus};
use skiff_api::{Errors, names};

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of Namespace.
pub(crate) const KIND: Row = Row {
    short: &["ns"],
    // One by one only.
    verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
    status: true,
    name_rule: names::dns1123_label,
    ..row::<Namespace>()
};

/// The finalizer of the namespace controller.
const FINALIZER: &str = "kubernetes";

fn phase(namespace: &Namespace) -> String {
    namespace.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default()
}

impl Kind for Namespace {
    fn set_defaults(&mut self) {
        if let Some(name) = self.metadata.name.clone().filter(|name| !name.is_empty()) {
            let labels = self.metadata.labels.get_or_insert_default();
            labels.insert(names::NAMESPACE_NAME.to_owned(), name);
        }
    }

    fn prepare_create(&mut self) {
        // A generated name is known only now.
        self.set_defaults();
        self.status = Some(NamespaceStatus { phase: Some("Active".to_owned()), conditions: None });
        let finalizers =
            self.spec.get_or_insert_with(NamespaceSpec::default).finalizers.get_or_insert_default();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            finalizers.push(FINALIZER.to_owned());
        }
    }

    fn prepare_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut Errors) {
        let finalizers = self.spec.iter().flat_map(|spec| spec.finalizers.iter().flatten());
        for (index, finalizer) in finalizers.enumerate() {
            let field = format!("spec.finalizers[{index}]");
            check::named(errors, &field, finalizer, names::qualified_name(finalizer));
            if !finalizer.contains('/') && finalizer != FINALIZER && finalizer != "orphan" {
                errors.invalid(
                    &field,
                    finalizer,
                    "name is neither a standard finalizer name nor is it fully qualified",
                );
            }
        }
    }

    fn validate_status(&self, _old: &Self, errors: &mut Errors) {
        let phase = phase(self);
        if self.metadata.deletion_timestamp.is_none() {
            if phase != "Active" {
                let why = "may only be 'Active' if `deletionTimestamp` is empty";
                errors.invalid("status.phase", &phase, why);
            }
        } else if phase != "Terminating" {
            let why = "may only be 'Terminating' if `deletionTimestamp` is not empty";
            errors.invalid("status.phase", &phase, why);
        }
    }

    fn begin_deletion(&mut self) {
        self.status.get_or_insert_with(NamespaceStatus::default).phase = Some("Terminating".to_owned());
    }

    fn held(&self) -> bool {
        self.spec.as_ref().and_then(|spec| spec.finalizers.as_ref()).is_some_and(|list| !list.is_empty())
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::<Self>::text("Status", |namespace, _| phase(namespace).into()), Column::age()]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![("status.phase", phase(self))]
    }
}
