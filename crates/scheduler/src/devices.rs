//! Devices: who offers them, who has them, and which ones a pod's claims get on a node.
//!
//! Follows upstream's `k8s.io/dynamic-resource-allocation/structured` (KEP-4381) with prioritised lists, taints of devices,
//! shared counters and consumable capacity. What drivers publish is kept as an index (`inventory.rs`), what claims hold as
//! sums (`usage.rs`); both change with the objects and are never rebuilt. A pod's claims are made ready once a turn
//! (`wanted.rs`), and then each node is searched (`search.rs`). Only who writes (`bind.rs`) knows of the server.

use std::sync::Arc;

use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim};
use skiff_api::Object;
use skiff_api::pod::facts::{Devices as Claims, PodFacts};
use skiff_base::Clock;
use skiff_client::Cache;
use tokio::sync::watch;

mod bind;
mod binding;
mod capacity;
mod constraint;
mod device;
mod inventory;
mod outcome;
mod parked;
mod rules;
mod search;
mod taints;
mod usage;
mod wanted;

#[cfg(test)]
mod tests;

pub(crate) use bind::{Hands, Needed, Needs, deallocate};
pub(crate) use binding::is_hopeless;
pub(crate) use inventory::Inventory;
pub(crate) use outcome::allocation;
pub(crate) use parked::Parked;
pub(crate) use rules::Rules;
pub(crate) use search::{Scene, Steps, search};
pub(crate) use taints::TaintRules;
pub(crate) use usage::Usage;
pub(crate) use wanted::{Claim, key, prepare};

/// Devices and claims as the scheduler knows them.
pub(crate) struct Devices {
    /// False where the server has no such kinds: claims are then nothing that anybody waits for.
    pub(crate) followed: bool,
    pub(crate) claims: Cache,
    pub(crate) classes: Cache,
    pub(crate) inventory: Inventory,
    pub(crate) usage: Usage,
    pub(crate) taints: TaintRules,
    pub(crate) rules: Rules,
    /// Pods whose claims are not there yet.
    pub(crate) parked: Parked,
    /// Told whenever a claim changes.
    pub(crate) changed: Arc<watch::Sender<u64>>,
    /// For how long devices may take to be made ready.
    pub(crate) clock: Clock,
}

impl Default for Devices {
    fn default() -> Self {
        Self {
            followed: false,
            claims: Cache::new(&[]),
            classes: Cache::new(&[]),
            inventory: Inventory::default(),
            usage: Usage::default(),
            taints: TaintRules::default(),
            rules: Rules::default(),
            parked: Parked::default(),
            changed: Arc::new(watch::Sender::new(0)),
            clock: Clock::system(),
        }
    }
}

/// The ResourceClaims that a pod names, as far as they were made; nothing for a pod without any.
pub(crate) fn named(pod: &Object) -> Option<&Claims> {
    pod.facts::<PodFacts>().devices.as_deref()
}

impl Devices {
    /// A claim by `namespace/name`.
    pub(crate) fn claim(&self, key: &str) -> Option<Arc<ResourceClaim>> {
        self.claims.typed(key)
    }

    /// A class of devices by name.
    pub(crate) fn class(&self, name: &str) -> Option<Arc<DeviceClass>> {
        self.classes.typed(name)
    }
}

/// The claim's revision.
pub(crate) fn revision(claim: &ResourceClaim) -> u64 {
    claim.metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The claim's uid.
pub(crate) fn uid(claim: &ResourceClaim) -> &str {
    claim.metadata.uid.as_deref().unwrap_or_default()
}
