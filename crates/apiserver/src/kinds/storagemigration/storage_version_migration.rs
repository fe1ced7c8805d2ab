//! StorageVersionMigration: the wish that all objects of a kind be stored in its present form.

use k8s_openapi::api::storagemigration::v1::StorageVersionMigration;
use skiff_api::Errors;

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of StorageVersionMigration.
pub(crate) const KIND: Row = Row { status: true, ..row::<StorageVersionMigration>() };

fn resource(migration: &StorageVersionMigration) -> String {
    let Some(resource) = migration.spec.as_ref().map(|spec| &spec.resource) else { return String::new() };
    match resource.group.as_str() {
        "" => resource.resource.clone(),
        group => format!("{}.{group}", resource.resource),
    }
}

impl Kind for StorageVersionMigration {
    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = Some(Default::default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut Errors) {
        let resource = self.spec.as_ref().map(|spec| spec.resource.resource.as_str()).unwrap_or_default();
        check::required_segment(errors, "spec.resource.resource", resource);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        errors.immutable("spec", &self.spec, &old.spec);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::<Self>::text("Resource", |it, _| resource(it).into())]
    }
}
