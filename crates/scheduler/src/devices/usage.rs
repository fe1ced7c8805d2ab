//! Who has which devices: what claims say at the server, and what was decided here and is on its way there.
//!
//! A decision counts from the moment a node is chosen, so that nobody else is given the same device, until the server's own
//! word is there or the pod's way ended. The word may come late: what was decided holds until a claim of at least the revision
//! that was written is seen.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::resource::v1::{AllocationResult, DeviceRequestAllocationResult};
use skiff_api::quantity::Quantity;

use super::{capacity, device};

/// What all claims have together.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    devices: HashMap<Arc<str>, Use>,
    /// By the claim's uid.
    claims: HashMap<Arc<str>, Held>,
}

/// What is taken of a device.
#[derive(Debug, Default, PartialEq)]
struct Use {
    /// How many have it for themselves; more than one only where somebody else than this scheduler allocates.
    whole: usize,
    /// How many have a part of it.
    parts: usize,
    /// What these have together, by the whole names of the device's capacities.
    consumed: BTreeMap<String, Quantity>,
}

#[derive(Debug)]
struct Held {
    results: Vec<DeviceRequestAllocationResult>,
    standing: Standing,
    /// The claim's revision that says so; of a decision, the one that it was made on.
    revision: u64,
}

/// How certain an allocation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The server says so.
    Known,
    /// It was decided, and is being written.
    Decided,
    /// It was written.
    Written,
}

impl Usage {
    /// Takes in what the server says of a claim. News may come late, and twice.
    pub(crate) fn seen(&mut self, uid: &Arc<str>, revision: u64, allocation: Option<&AllocationResult>) {
        let stands = self.claims.get(uid).is_some_and(|held| match held.standing {
            Standing::Known | Standing::Written => revision < held.revision,
            Standing::Decided => revision <= held.revision || allocation.is_none(),
        });
        if stands {
            return;
        }
        self.gone(uid);
        if let Some(allocation) = allocation {
            self.hold(uid, allocation, Standing::Known, revision);
        }
    }

    /// Takes in that a claim is gone.
    pub(crate) fn gone(&mut self, uid: &str) {
        let Some(held) = self.claims.remove(uid) else { return };
        for result in &held.results {
            self.count(result, false);
        }
    }

    /// Decides what a claim of a revision gets.
    pub(crate) fn promise(&mut self, uid: &str, revision: u64, allocation: &AllocationResult) {
        self.gone(uid);
        self.hold(&uid.into(), allocation, Standing::Decided, revision);
    }

    /// What was decided was written, and became this revision.
    pub(crate) fn written(&mut self, uid: &str, revision: u64) {
        if let Some(held) = self.claims.get_mut(uid).filter(|held| held.standing == Standing::Decided) {
            (held.standing, held.revision) = (Standing::Written, revision);
        }
    }

    /// What was decided came to nothing.
    pub(crate) fn release(&mut self, uid: &str) {
        if self.claims.get(uid).is_some_and(|held| held.standing == Standing::Decided) {
            self.gone(uid);
        }
    }

    /// Whether the claim has devices, be it only decided: who sees none in the claim does not see it as it is.
    pub(crate) fn holds(&self, uid: &str) -> bool {
        self.claims.contains_key(uid)
    }

    /// Whether somebody has the device for himself.
    pub(crate) fn is_taken(&self, device: &str) -> bool {
        self.devices.get(device).is_some_and(|held| held.whole > 0)
    }

    /// Whether somebody has the device or a part of it.
    pub(crate) fn is_used(&self, device: &str) -> bool {
        self.devices.contains_key(device)
    }

    /// How much of a capacity of the device is taken.
    pub(crate) fn consumed(&self, device: &str, capacity: &str) -> Quantity {
        let held = self.devices.get(device).and_then(|held| held.consumed.get(capacity));
        held.copied().unwrap_or_default()
    }

    fn hold(&mut self, uid: &Arc<str>, allocation: &AllocationResult, standing: Standing, revision: u64) {
        let results = allocation.devices.as_ref().and_then(|devices| devices.results.clone());
        // Who only looks after a device takes it from nobody.
        let results: Vec<_> =
            results.into_iter().flatten().filter(|result| result.admin_access != Some(true)).collect();
        for result in &results {
            self.count(result, true);
        }
        self.claims.insert(Arc::clone(uid), Held { results, standing, revision });
    }

    fn count(&mut self, result: &DeviceRequestAllocationResult, taken: bool) {
        let id = device::id(&result.driver, &result.pool, &result.device);
        let held = self.devices.entry(Arc::clone(&id)).or_default();
        let step = |count: &mut usize| *count = if taken { *count + 1 } else { count.saturating_sub(1) };
        if result.share_id.is_none() {
            step(&mut held.whole);
        } else {
            step(&mut held.parts);
            for (name, amount) in result.consumed_capacity.iter().flatten() {
                let amount = Quantity::try_from(amount).unwrap_or_default();
                let sum = held.consumed.entry(capacity::whole_name(&result.driver, name)).or_default();
                *sum = if taken { *sum + amount } else { *sum - amount };
            }
        }
        if held.whole == 0 && held.parts == 0 {
            self.devices.remove(&id);
        }
    }
}
