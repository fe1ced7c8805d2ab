//! ConfigMap: files and settings for pods.

use k8s_openapi::api::core::v1::ConfigMap;
use skiff_api::Errors;

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of ConfigMap.
pub(crate) const KIND: Row = Row { short: &["cm"], ..row::<ConfigMap>() };

/// Most bytes that the data of one ConfigMap or Secret may have.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

impl Kind for ConfigMap {
    fn validate(&self, errors: &mut Errors) {
        let mut size = 0;
        for (key, value) in self.data.iter().flatten() {
            size += value.len();
            errors.entry("data", key, |errors| check::named(errors, "", key, check::config_key(key)));
            if self.binary_data.as_ref().is_some_and(|binary| binary.contains_key(key)) {
                errors.invalid(&format!("data[{key}]"), key, "duplicate of key present in binaryData");
            }
        }
        for (key, value) in self.binary_data.iter().flatten() {
            size += value.0.len();
            errors.entry("binaryData", key, |errors| check::named(errors, "", key, check::config_key(key)));
        }
        if size > MAX_BYTES {
            errors.too_long("", MAX_BYTES);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        const WHY: &str = "field is immutable when `immutable` is set";
        if old.immutable != Some(true) {
            return;
        }
        check::unchanged(errors, "immutable", &self.immutable, &old.immutable, WHY);
        check::unchanged(errors, "data", &self.data, &old.data, WHY);
        check::unchanged(errors, "binaryData", &self.binary_data, &old.binary_data, WHY);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Data", |map, _| {
                (map.data.iter().flatten().count() + map.binary_data.iter().flatten().count()).into()
            }),
            Column::age(),
        ]
    }
}
