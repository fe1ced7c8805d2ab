//! ResourceClaim: devices that pods want, and those that they were given.

use std::collections::HashSet;

use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimStatus};
use skiff_api::Errors;

use super::claim;
use crate::kinds::{Column, Kind, Row, row};

/// The row of ResourceClaim.
pub(crate) const KIND: Row = Row { status: true, ..row::<ResourceClaim>() };

const MAX_CONSUMERS: usize = 256;

fn status(claim: &ResourceClaim) -> ResourceClaimStatus {
    claim.status.clone().unwrap_or_default()
}

fn state(claim: &ResourceClaim) -> String {
    let (status, leaving) = (status(claim), claim.metadata.deletion_timestamp.is_some());
    let mut states = Vec::new();
    if leaving {
        states.push("deleted");
    }
    if status.allocation.is_some() {
        states.push("allocated");
        if status.reserved_for.is_some_and(|consumers| !consumers.is_empty()) {
            states.push("reserved");
        }
    } else if !leaving {
        states.push("pending");
    }
    states.join(",")
}

/// What drivers say of devices that are allocated no more goes with the allocation.
fn forget_given_back(claim: &mut ResourceClaim, old: &ResourceClaim) {
    let held = |claim: &ResourceClaim| -> HashSet<[String; 3]> {
        let allocation = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
        let devices = allocation.and_then(|allocation| allocation.devices.as_ref());
        let results = devices.and_then(|devices| devices.results.as_ref()).into_iter().flatten();
        results.map(|it| [it.driver.clone(), it.pool.clone(), it.device.clone()]).collect()
    };
    let (now, before) = (held(claim), held(old));
    let Some(status) = &mut claim.status else { return };
    status.devices.take_if(|devices| {
        devices.retain(|it| {
            let device = [it.driver.clone(), it.pool.clone(), it.device.clone()];
            now.contains(&device) || !before.contains(&device)
        });
        devices.is_empty()
    });
}

impl Kind for ResourceClaim {
    fn set_defaults(&mut self) {
        claim::set_defaults(self.spec.get_or_insert_default().devices.get_or_insert_default());
        self.status.get_or_insert_default();
    }

    fn prepare_create(&mut self) {
        self.status = Some(ResourceClaimStatus::default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
        forget_given_back(self, old);
    }

    fn validate_create(&self, errors: &mut Errors) {
        let devices = self.spec.as_ref().and_then(|spec| spec.devices.clone()).unwrap_or_default();
        errors.at("spec.devices", |errors| claim::validate(&devices, errors));
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        errors.immutable("spec", &self.spec, &old.spec);
    }

    fn validate_status(&self, old: &Self, errors: &mut Errors) {
        let (new, old) = (status(self), status(old));
        errors.at("status", |errors| {
            let consumers = new.reserved_for.as_deref().unwrap_or_default();
            claim::at_most(errors, "reservedFor", consumers.len(), MAX_CONSUMERS);
            let mut seen = HashSet::new();
            for (index, consumer) in consumers.iter().enumerate() {
                errors.item("reservedFor", index, |errors| {
                    for (field, text) in
                        [("resource", &consumer.resource), ("name", &consumer.name), ("uid", &consumer.uid)]
                    {
                        if text.is_empty() {
                            errors.required(field, "");
                        }
                    }
                    if !seen.insert(&consumer.uid) {
                        errors.duplicate("", &consumer.uid);
                    }
                });
            }
            if !consumers.is_empty() && new.allocation.is_none() {
                errors.forbidden("reservedFor", "may not be specified when `allocated` is not set");
            }
            if self.metadata.deletion_timestamp.is_some()
                && new.allocation.is_some()
                && old.allocation.is_none()
            {
                errors.forbidden("allocation", "may not be set when `deletionTimestamp` is set");
            }
            if old.allocation.is_some() && new.allocation.is_some() {
                errors.immutable("allocation", &new.allocation, &old.allocation);
            }
        });
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::<Self>::text("State", |claim, _| state(claim).into()), Column::age()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drivers_said_of_devices_goes_with_them() {
        let said =
            "devices: [{driver: a.test, pool: p, device: d}, {driver: a.test, pool: p, device: other}]";
        let claim = |status: &str| -> ResourceClaim {
            serde_saphyr::from_str(&format!("{{metadata: {{name: c}}, status: {{{status}}}}}")).unwrap()
        };
        let given = "allocation: {devices: {results: [{driver: a.test, pool: p, device: d, request: r}]}}, ";
        let old = claim(&format!("{given}{said}"));
        let left = |status: String| {
            let mut new = claim(&status);
            new.prepare_status(&old);
            let devices = new.status.unwrap().devices.unwrap_or_default();
            devices.into_iter().map(|it| it.device).collect::<Vec<_>>()
        };
        assert_eq!(left(format!("{given}{said}")), ["d", "other"]);
        assert_eq!(left(said.to_owned()), ["other"]);
    }
}
