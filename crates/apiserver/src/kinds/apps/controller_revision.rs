//! ControllerRevision: one remembered state of a StatefulSet's or DaemonSet's template.

use k8s_openapi::api::apps::v1::ControllerRevision;
use skiff_api::Errors;

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of ControllerRevision.
pub(crate) const KIND: Row = row::<ControllerRevision>();

impl Kind for ControllerRevision {
    fn validate(&self, errors: &mut Errors) {
        if self.data.0.is_null() {
            errors.required("data", "data is mandatory");
        }
        check::not_negative(errors, "revision", self.revision.unwrap_or(0));
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        errors.immutable("data", &self.data, &old.data);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Controller", |revision, _| {
                let owner = revision.metadata.owner_references.iter().flatten();
                let owner = owner.into_iter().find(|owner| owner.controller == Some(true));
                let shown = owner.map(|owner| {
                    let kind = owner.kind.to_lowercase();
                    match owner.api_version.split_once('/') {
                        Some((group, _)) => format!("{kind}.{group}/{}", owner.name),
                        None => format!("{kind}/{}", owner.name),
                    }
                });
                check::or_none(&shown.unwrap_or_default()).into()
            }),
            Column::<Self>::text("Revision", |revision, _| revision.revision.unwrap_or(0).into()),
            Column::age(),
        ]
    }
}
