//! Devices that must be made ready before a pod that has them is bound: attached to the node, say.
//!
//! Follows upstream's `plugins/dynamicresources` (KEP-5007): a device names conditions; whoever makes it ready sets them in the
//! claim's status.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::resource::v1::{DeviceRequestAllocationResult, ResourceClaim};

/// How long devices may take to be made ready (upstream's `bindingTimeout`).
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// How far a claim's devices are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    Waiting,
    /// One of them will not be ready, and why.
    Failed(String),
}

fn results(claim: &ResourceClaim) -> impl Iterator<Item = &DeviceRequestAllocationResult> {
    let allocation = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
    let devices = allocation.and_then(|allocation| allocation.devices.as_ref());
    devices.into_iter().flat_map(|devices| devices.results.iter().flatten())
}

fn named(conditions: Option<&Vec<String>>) -> &[String] {
    conditions.map(Vec::as_slice).unwrap_or_default()
}

/// Whether a device must be made ready.
pub(crate) fn must_wait(result: &DeviceRequestAllocationResult) -> bool {
    !named(result.binding_conditions.as_ref()).is_empty()
}

/// How far the claim's devices are.
pub(crate) fn readiness(claim: &ResourceClaim) -> Readiness {
    let status = claim.status.clone().unwrap_or_default();
    if status.allocation.is_none() {
        return Readiness::Waiting;
    }
    for result in results(claim).filter(|result| must_wait(result)) {
        let known = status.devices.iter().flatten().find(|device| {
            (&device.driver, &device.pool, &device.device, &device.share_id)
                == (&result.driver, &result.pool, &result.device, &result.share_id)
        });
        let Some(known) = known else { return Readiness::Waiting };
        let true_one = |name: &String| {
            let conditions = known.conditions.iter().flatten();
            conditions.into_iter().find(|it| it.type_ == *name && it.status == "True")
        };
        if let Some(failed) = named(result.binding_failure_conditions.as_ref()).iter().find_map(true_one) {
            let name = claim.metadata.name.as_deref().unwrap_or_default();
            let (reason, message) = (&failed.reason, &failed.message);
            return Readiness::Failed(format!(
                "claim {name} binding failed: reason={reason}, message={message:?}"
            ));
        }
        if !named(result.binding_conditions.as_ref()).iter().all(|name| true_one(name).is_some()) {
            return Readiness::Waiting;
        }
    }
    Readiness::Ready
}

/// Whether the claim's devices will not be ready any more: one failed, or they took too long.
pub(crate) fn is_hopeless(claim: &ResourceClaim, now: Timestamp) -> bool {
    match readiness(claim) {
        Readiness::Ready => false,
        Readiness::Failed(_) => true,
        Readiness::Waiting => until(claim).is_some_and(|until| until <= now),
    }
}

/// Until when its devices must be ready.
fn until(claim: &ResourceClaim) -> Option<Timestamp> {
    let since = claim.status.as_ref()?.allocation.as_ref()?.allocation_timestamp.as_ref()?;
    since.0.checked_add(PATIENCE).ok()
}
