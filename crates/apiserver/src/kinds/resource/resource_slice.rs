//! ResourceSlice: some devices of one driver's pool, and where they can be used.

use std::collections::HashSet;

use k8s_openapi::api::resource::v1::{Device, DeviceTaint, ResourceSlice};
use skiff_api::{Errors, names};

use super::claim;
use crate::kinds::{Column, Kind, Row, check, row};

/// The row of ResourceSlice.
pub(crate) const KIND: Row = row::<ResourceSlice>();

const MAX_DEVICES: usize = 128;
const MAX_ATTRIBUTES: usize = 32;
const MAX_TAINTS: usize = 16;

/// A taint of a device, here or in a rule.
pub(super) fn taint(taint: &DeviceTaint, errors: &mut Errors) {
    match taint.key.as_str() {
        "" => errors.required("key", ""),
        key => check::named(errors, "key", key, names::qualified_name(key)),
    }
    if let Some(value) = &taint.value {
        check::named(errors, "value", value, names::label_value(value));
    }
    match taint.effect.as_str() {
        "" => errors.required("effect", ""),
        effect => check::one_of(errors, "effect", effect, &["NoExecute", "NoSchedule", "None"]),
    }
}

fn device(device: &Device, errors: &mut Errors) {
    claim::label(errors, "name", &device.name);
    let attributes = device.attributes.as_ref().map_or(0, |map| map.len());
    let capacity = device.capacity.as_ref().map_or(0, |map| map.len());
    if attributes + capacity > MAX_ATTRIBUTES {
        let why = format!("the total number of attributes and capacities must not exceed {MAX_ATTRIBUTES}");
        errors.invalid("", &(attributes + capacity), why);
    }
    for (name, value) in device.attributes.iter().flatten() {
        errors.entry("attributes", name, |errors| {
            let given = [
                value.bool.is_some(),
                value.int.is_some(),
                value.string.is_some(),
                value.version.is_some(),
                value.bools.is_some(),
                value.ints.is_some(),
                value.strings.is_some(),
                value.versions.is_some(),
            ];
            match given.iter().filter(|given| **given).count() {
                0 => errors.required("", "exactly one value must be specified"),
                1 => {}
                _ => errors.invalid("", &serde_json::Value::Null, "exactly one value must be specified"),
            }
        });
    }
    let taints = device.taints.as_deref().unwrap_or_default();
    claim::at_most(errors, "taints", taints.len(), MAX_TAINTS);
    for (index, one) in taints.iter().enumerate() {
        errors.item("taints", index, |errors| taint(one, errors));
    }
}

impl Kind for ResourceSlice {
    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.spec != old.spec
    }

    fn validate(&self, errors: &mut Errors) {
        let spec = &self.spec;
        errors.at("spec", |errors| {
            claim::driver(errors, "driver", &spec.driver);
            match spec.pool.name.as_str() {
                "" => errors.required("pool.name", ""),
                name => {
                    for part in name.split('/') {
                        check::named(errors, "pool.name", part, names::dns1123_subdomain(part));
                    }
                }
            }
            check::not_negative(errors, "pool.generation", spec.pool.generation);
            if spec.pool.resource_slice_count <= 0 {
                let why = "must be greater than zero";
                errors.invalid("pool.resourceSliceCount", &spec.pool.resource_slice_count, why);
            }
            let places = [
                spec.node_name.is_some(),
                spec.node_selector.is_some(),
                spec.all_nodes == Some(true),
                spec.per_device_node_selection == Some(true),
            ];
            let one =
                "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
            match places.iter().filter(|given| **given).count() {
                0 if spec.shared_counters.is_none() => errors.required("", one),
                0 | 1 => {}
                _ => {
                    let why = format!("{one}, but multiple fields are set");
                    errors.invalid("", &serde_json::Value::Null, why);
                }
            }
            if let Some(node) = &spec.node_name {
                check::named(errors, "nodeName", node, names::dns1123_subdomain(node));
            }
            let devices = spec.devices.as_deref().unwrap_or_default();
            claim::at_most(errors, "devices", devices.len(), MAX_DEVICES);
            let mut seen = HashSet::new();
            for (index, one) in devices.iter().enumerate() {
                errors.item("devices", index, |errors| {
                    device(one, errors);
                    if !seen.insert(&one.name) {
                        errors.duplicate("name", &one.name);
                    }
                });
            }
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        errors.immutable("spec.driver", &self.spec.driver, &old.spec.driver);
        errors.immutable("spec.pool.name", &self.spec.pool.name, &old.spec.pool.name);
        errors.immutable("spec.nodeName", &self.spec.node_name, &old.spec.node_name);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Node", |it, _| it.spec.node_name.clone().unwrap_or_default().into()),
            Column::<Self>::text("Driver", |it, _| it.spec.driver.clone().into()),
            Column::<Self>::text("Pool", |it, _| it.spec.pool.name.clone().into()),
            Column::age(),
        ]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("spec.nodeName", self.spec.node_name.clone().unwrap_or_default()),
            ("spec.driver", self.spec.driver.clone()),
        ]
    }
}
