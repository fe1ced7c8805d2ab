//! CSINode: the drivers that run on a node.

use std::collections::HashSet;

use k8s_openapi::api::storage::v1::CSINode;
use skiff_api::{Errors, names};

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of CSINode.
pub(crate) const KIND: Row = Row { unconditional_update: false, answer_deleted: true, ..row::<CSINode>() };

/// Most characters that a node's id may have.
const LONGEST_ID: usize = 256;

impl Kind for CSINode {
    fn validate(&self, errors: &mut Errors) {
        let mut seen = HashSet::new();
        for (index, driver) in self.spec.drivers.iter().enumerate() {
            errors.item("spec.drivers", index, |errors| {
                super::driver(errors, "name", &driver.name);
                if driver.node_id.is_empty() {
                    errors.required("nodeID", "");
                }
                if driver.node_id.len() > LONGEST_ID {
                    let why = format!("must be {LONGEST_ID} characters or less");
                    errors.invalid("nodeID", &driver.node_id, why);
                }
                if let Some(count) = driver.allocatable.as_ref().and_then(|resources| resources.count) {
                    check::not_negative(errors, "allocatable.count", count);
                }
                if !seen.insert(&driver.name) {
                    errors.duplicate("name", &driver.name);
                }
                let mut keys = HashSet::new();
                for key in driver.topology_keys.iter().flatten() {
                    if !keys.insert(key) {
                        errors.duplicate("", key);
                    }
                    check::named(errors, "", key, names::qualified_name(key));
                }
            });
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        for before in &old.spec.drivers {
            for after in self.spec.drivers.iter().filter(|after| after.name == before.name) {
                // How many volumes a node takes may change, nothing else.
                let mut same = after.clone();
                same.allocatable.clone_from(&before.allocatable);
                errors.immutable("spec.drivers", &same, before);
            }
        }
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::<Self>::number("Drivers", |node, _| node.spec.drivers.len().into()), Column::age()]
    }
}
