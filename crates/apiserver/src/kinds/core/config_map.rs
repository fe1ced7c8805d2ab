//! ConfigMap: files and settings for pods.

use k8s_openapi::api::core::v1::ConfigMap;
use skiff_api::Errors;

use crate::kinds::{Column, Kind, Row, row};

/// The row of ConfigMap.
pub(crate) const KIND: Row = Row { short: &["cm"], ..row::<ConfigMap>() };

impl Kind for ConfigMap {
    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if old.immutable == Some(true) && self.immutable != Some(true) {
            errors.forbidden("immutable", "field is immutable when `immutable` is set");
        }
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::number("Data", |map, _| {
                (map.data.iter().flatten().count() + map.binary_data.iter().flatten().count()).into()
            }),
            Column::age(),
        ]
    }
}
