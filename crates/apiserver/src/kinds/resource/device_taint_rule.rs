//! DeviceTaintRule: a taint that somebody puts on devices of others.

use k8s_openapi::api::resource::v1::DeviceTaintRule;
use skiff_api::Errors;

use super::{claim, resource_slice};
use crate::kinds::{Kind, Row, row};

/// The row of DeviceTaintRule.
pub(crate) const KIND: Row = Row { status: true, ..row::<DeviceTaintRule>() };

impl Kind for DeviceTaintRule {
    fn set_defaults(&mut self) {
        self.status.get_or_insert_default();
    }

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

    fn generation_changed(&self, old: &Self) -> bool {
        self.spec != old.spec
    }

    fn validate(&self, errors: &mut Errors) {
        errors.at("spec", |errors| {
            errors.at("taint", |errors| resource_slice::taint(&self.spec.taint, errors));
            if let Some(driver) =
                self.spec.device_selector.as_ref().and_then(|selector| selector.driver.as_deref())
            {
                claim::driver(errors, "deviceSelector.driver", driver);
            }
        });
    }
}
