//! CSIStorageCapacity: how much room a driver has left in a part of the cluster.

use k8s_openapi::api::storage::v1::CSIStorageCapacity;
use skiff_api::quantity::Quantity;
use skiff_api::{Errors, names};

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of CSIStorageCapacity.
pub(crate) const KIND: Row =
    Row { unconditional_update: false, answer_deleted: true, ..row::<CSIStorageCapacity>() };

impl Kind for CSIStorageCapacity {
    fn validate(&self, errors: &mut Errors) {
        if let Some(selector) = &self.node_topology {
            check::label_selector(errors, "nodeTopology", selector);
        }
        let class = &self.storage_class_name;
        check::named(errors, "storageClassName", class, names::dns1123_subdomain(class));
        for (field, amount) in
            [("capacity", &self.capacity), ("maximumVolumeSize", &self.maximum_volume_size)]
        {
            match amount.as_ref().map(|amount| Quantity::parse(&amount.0)) {
                Some(Ok(amount)) if amount.is_negative() => {
                    errors.invalid(field, &amount.to_string(), check::NOT_NEGATIVE);
                }
                Some(Err(why)) => errors.invalid(field, "", why.to_string()),
                _ => {}
            }
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        errors.immutable("nodeTopology", &self.node_topology, &old.node_topology);
        errors.immutable("storageClassName", &self.storage_class_name, &old.storage_class_name);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("StorageClassName", |it, _| it.storage_class_name.as_str().into()),
            Column::<Self>::text("Capacity", |it, _| match &it.capacity {
                Some(capacity) => capacity.0.as_str().into(),
                None => "<unset>".into(),
            }),
        ]
    }
}
