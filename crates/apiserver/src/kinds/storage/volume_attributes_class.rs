//! VolumeAttributesClass: properties of a volume that its driver can change while it is used.

use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use skiff_api::Errors;

use crate::kinds::{Column, Kind, Row, row};

/// The row of VolumeAttributesClass.
pub(crate) const KIND: Row = Row { short: &["vac"], answer_deleted: true, ..row::<VolumeAttributesClass>() };

impl Kind for VolumeAttributesClass {
    fn validate(&self, errors: &mut Errors) {
        super::provisioner(errors, "driverName", &self.driver_name);
        super::parameters(errors, self.parameters.as_ref(), false);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if self.driver_name != old.driver_name {
            errors.forbidden("driverName", "updates to driverName are forbidden.");
        }
        if self.parameters != old.parameters {
            errors.forbidden("parameters", "updates to parameters are forbidden.");
        }
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::<Self>::text("DriverName", |class, _| class.driver_name.as_str().into()), Column::age()]
    }
}
