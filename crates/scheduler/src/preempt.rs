//! Carrying out a preemption: victims are marked and deleted, outranked nominations taken back.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use skiff_api::Resource;
use skiff_api::pod::conditions::{self, DISRUPTION_TARGET, Wanted};
use skiff_base::Clock;
use skiff_client::Link;
use skiff_client::cache::decode;
use skiff_client::write::{self, Basis, Patch, Place};

use crate::NAME;
use crate::pod::PodInfo;

fn place(pod: &PodInfo) -> Place {
    Place::new(&Resource::of::<Pod>(), Some(pod.namespace()), &pod.object.meta().name)
}

/// Marks a pod as about to be disrupted and deletes it with its own grace; one that is gone already is fine.
///
/// # Errors
/// What the server refused, or a failure on the way.
pub(crate) async fn evict(link: &Link, clock: &Clock, victim: &PodInfo) -> write::Result<()> {
    if victim.is_leaving() {
        return Ok(());
    }
    let Some(pod) = decode::<Pod>(&victim.object) else { return Ok(()) };
    let mut marked = Pod::clone(&pod);
    let message = format!("{NAME}: preempting to accommodate a higher priority pod");
    let why = Wanted {
        kind: DISRUPTION_TARGET,
        status: "True",
        reason: "PreemptionByScheduler",
        message: &message,
    };
    if conditions::set(&mut marked, why, clock.now_seconds()) {
        gone_is_fine(write::patch_status(link, &*pod, &marked, Basis::Uid).await)?;
    }
    gone_is_fine(write::delete(link, &place(victim), &write::only(victim.uid())).await)
}

/// Clears where a pod was to go.
///
/// # Errors
/// What the server refused, or a failure on the way.
pub(crate) async fn denominate(link: &Link, pod: &PodInfo) -> write::Result<()> {
    let body = json!({"metadata": {"uid": pod.uid()}, "status": {"nominatedNodeName": null}});
    gone_is_fine(write::patch::<Value>(link, &place(pod).part("status"), Patch::Merge, &body).await)
}

fn gone_is_fine<T>(outcome: write::Result<T>) -> write::Result<()> {
    match outcome {
        Err(error) if !write::is_not_found(&error) => Err(error),
        _ => Ok(()),
    }
}
