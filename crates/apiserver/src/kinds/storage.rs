//! The group `storage.k8s.io`: where volumes come from and what drivers can do.

pub mod csi_driver;
pub mod csi_node;
pub mod csi_storage_capacity;
pub mod storage_class;
pub mod volume_attachment;
pub mod volume_attributes_class;

use std::collections::BTreeMap;

use skiff_api::{Errors, names};

use crate::kinds::check;

/// Most parameters that a class may have.
const MOST_PARAMETERS: usize = 512;
/// Most bytes that parameters may have together.
const LARGEST: usize = 256 * 1024;

/// A provisioner or driver as a class names it.
fn provisioner(errors: &mut Errors, field: &str, name: &str) {
    if name.is_empty() {
        errors.required(field, "");
    } else {
        check::named(errors, field, name, names::qualified_name(&name.to_lowercase()));
    }
}

/// A CSI driver's own name.
fn driver(errors: &mut Errors, field: &str, name: &str) {
    if name.is_empty() {
        errors.required(field, "");
    }
    check::named(errors, field, name, names::dns1123_subdomain(&name.to_lowercase()));
}

/// What a class tells its driver.
fn parameters(errors: &mut Errors, parameters: Option<&BTreeMap<String, String>>, may_be_empty: bool) {
    let empty = BTreeMap::new();
    let parameters = parameters.unwrap_or(&empty);
    if parameters.len() > MOST_PARAMETERS {
        return errors.too_long("parameters", MOST_PARAMETERS);
    }
    if parameters.contains_key("") {
        errors.invalid("parameters", "", "field can not be empty.");
    }
    if parameters.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > LARGEST {
        errors.too_long("parameters", LARGEST);
    }
    if parameters.is_empty() && !may_be_empty {
        errors.required("parameters", "must contain at least one key/value pair");
    }
}

#[cfg(test)]
mod tests;
