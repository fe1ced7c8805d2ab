//! ResourceClaimTemplate: from which each pod gets a claim of its own.

use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use skiff_api::Errors;

use super::claim;
use crate::kinds::{Kind, Row, check, row};

/// The row of ResourceClaimTemplate.
pub(crate) const KIND: Row = row::<ResourceClaimTemplate>();

impl Kind for ResourceClaimTemplate {
    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default().spec.get_or_insert_default();
        claim::set_defaults(spec.devices.get_or_insert_default());
    }

    fn validate_create(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        errors.at("spec", |errors| {
            if let Some(meta) = &spec.metadata {
                errors.at("metadata", |errors| {
                    check::labels(errors, "labels", meta.labels.as_ref().unwrap_or(&Default::default()));
                    let annotations = meta.annotations.clone().unwrap_or_default();
                    check::annotations(errors, "annotations", &annotations);
                });
            }
            let devices = spec.spec.as_ref().and_then(|spec| spec.devices.clone()).unwrap_or_default();
            errors.at("spec.devices", |errors| claim::validate(&devices, errors));
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        errors.immutable("spec", &self.spec, &old.spec);
    }
}
