//! DeviceClass: a name for devices of a sort, and how they are set up.

use k8s_openapi::api::resource::v1::DeviceClass;
use skiff_api::{Errors, names};

use super::claim;
use crate::kinds::{Kind, Row, check, row};

/// The row of DeviceClass.
pub(crate) const KIND: Row = row::<DeviceClass>();

const MAX_CONFIG: usize = 32;

impl Kind for DeviceClass {
    fn set_defaults(&mut self) {
        self.spec.get_or_insert_default();
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.spec != old.spec
    }

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        errors.at("spec", |errors| {
            claim::selectors(errors, spec.selectors.as_ref());
            let config = spec.config.as_deref().unwrap_or_default();
            claim::at_most(errors, "config", config.len(), MAX_CONFIG);
            for (index, one) in config.iter().enumerate() {
                errors.item("config", index, |errors| claim::opaque(errors, one.opaque.as_ref()));
            }
            if let Some(name) = check::given(spec.extended_resource_name.as_ref()) {
                check::named(errors, "extendedResourceName", name, names::qualified_name(name));
                if !name.contains('/') {
                    errors.invalid("extendedResourceName", name, "must be a valid extended resource name");
                }
            }
        });
    }
}
