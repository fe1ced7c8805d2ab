//! CustomResourceDefinition: a kind written down as an object. What it makes served is in `crd`.
//!
//! Follows upstream's `apiextensions-apiserver/pkg/registry/customresourcedefinition/strategy.go`, its defaults in
//! `pkg/apis/apiextensions/v1/defaults.go` and its validation in `pkg/apis/apiextensions/validation/validation.go`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, CustomResourceDefinitionCondition,
    CustomResourceDefinitionStatus,
};
use skiff_api::Errors;

use crate::kinds::{Column, Kind, Row, row};

mod validate;

/// The row of CustomResourceDefinition.
pub(crate) const KIND: Row = Row {
    short: &["crd", "crds"],
    categories: &["api-extensions"],
    status: true,
    unconditional_update: false,
    ..row::<CustomResourceDefinition>()
};

/// Holds a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Whether a condition is there and true.
pub(crate) fn holds(crd: &CustomResourceDefinition, name: &str) -> bool {
    crd.status.as_ref().is_some_and(|status| says(status, name))
}

/// Whether a status has a condition that is true.
pub(crate) fn says(status: &CustomResourceDefinitionStatus, name: &str) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == name && condition.status == "True")
}

/// Sets a condition; its time changes with its status only.
pub(crate) fn set(status: &mut CustomResourceDefinitionStatus, new: CustomResourceDefinitionCondition) {
    let conditions = status.conditions.get_or_insert_default();
    match conditions.iter_mut().find(|condition| condition.type_ == new.type_) {
        Some(old) if old.status == new.status => {
            let since = old.last_transition_time.take();
            *old = CustomResourceDefinitionCondition { last_transition_time: since, ..new };
        }
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

/// Notes that objects may be stored in the present storage version.
fn note_storage(crd: &mut CustomResourceDefinition) {
    let Some(storage) = crd.spec.versions.iter().find(|version| version.storage) else { return };
    let stored = crd.status.get_or_insert_default().stored_versions.get_or_insert_default();
    if !stored.contains(&storage.name) {
        stored.push(storage.name.clone());
    }
}

impl Kind for CustomResourceDefinition {
    fn set_defaults(&mut self) {
        let names = &mut self.spec.names;
        if names.singular.as_deref().unwrap_or_default().is_empty() && !names.kind.is_empty() {
            names.singular = Some(names.kind.to_lowercase());
        }
        if names.list_kind.as_deref().unwrap_or_default().is_empty() && !names.kind.is_empty() {
            names.list_kind = Some(format!("{}List", names.kind));
        }
        let conversion = self.spec.conversion.get_or_insert_with(|| CustomResourceConversion {
            strategy: "None".to_owned(),
            ..CustomResourceConversion::default()
        });
        let client = conversion.webhook.as_mut().and_then(|webhook| webhook.client_config.as_mut());
        if let Some(service) = client.and_then(|client| client.service.as_mut()) {
            service.port.get_or_insert(443);
        }
    }

    fn prepare_create(&mut self) {
        self.status = None;
        self.metadata.generation = Some(1);
        note_storage(self);
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
        note_storage(self);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.spec != old.spec
    }

    fn validate(&self, errors: &mut Errors) {
        validate::check(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        validate::update(self, old, errors);
    }

    fn validate_status(&self, _old: &Self, errors: &mut Errors) {
        validate::stored_versions(self, errors);
    }

    /// Its objects have to go first.
    fn begin_deletion(&mut self) {
        let finalizers = self.metadata.finalizers.get_or_insert_default();
        if !finalizers.iter().any(|name| name == CLEANUP) {
            finalizers.push(CLEANUP.to_owned());
        }
        let terminating = CustomResourceDefinitionCondition {
            type_: "Terminating".to_owned(),
            status: "True".to_owned(),
            reason: Some("InstanceDeletionPending".to_owned()),
            message: Some(
                "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
                    .to_owned(),
            ),
            last_transition_time: self.metadata.deletion_timestamp.clone(),
            observed_generation: None,
        };
        set(self.status.get_or_insert_default(), terminating);
    }

    /// True until a deletion begins, which is what puts the finalizer there.
    fn held(&self) -> bool {
        self.metadata.deletion_timestamp.is_none()
    }

    fn columns() -> Vec<Column<Self>> {
        let created = Column::<Self>::text("Created At", |crd, _| {
            let created = crd.metadata.creation_timestamp.as_ref();
            created.map_or(serde_json::Value::Null, |created| created.0.to_string().into())
        });
        vec![Column { kind: "date", ..created }]
    }
}
