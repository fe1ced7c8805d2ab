//! Arithmetic on pods that scheduler, kubelet, controllers and server share; pure.
//!
//! Each question has one answer here, so that the kubelet admits what the scheduler placed and a controller counts
//! ready what an endpoint shows as ready.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

pub mod affinity;
pub mod claims;
pub mod conditions;
pub mod facts;
pub mod ports;
pub mod qos;
pub mod requests;
pub mod tolerations;
pub mod totals;

/// `Succeeded` or `Failed`: none of its containers will run again.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Neither finished nor being deleted: it counts towards its controller's replicas.
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Being deleted, and not at its end yet.
pub fn is_ending(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_some()
}

/// The phase; empty if not reported.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether the pod's `Ready` condition is true.
pub fn is_ready(pod: &Pod) -> bool {
    conditions::is_true(pod, conditions::READY)
}

/// Since when the pod has been ready, if it is.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = conditions::find(pod, conditions::READY).filter(|condition| condition.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// Ready for at least `min_ready_seconds`: available. `Err` says how long until it would be.
///
/// # Errors
/// The time left, if it is ready but not yet for long enough; zero if it is not ready at all.
pub fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Result<(), SignedDuration> {
    available(is_ready(pod).then(|| ready_since(pod)), min_ready_seconds, now)
}

/// The same, from whether it is ready and since when, as far as it says.
fn available(
    ready: Option<Option<Timestamp>>,
    min_ready_seconds: i32,
    now: Timestamp,
) -> Result<(), SignedDuration> {
    let since = ready.ok_or(SignedDuration::ZERO)?;
    if min_ready_seconds <= 0 {
        return Ok(());
    }
    let wanted = SignedDuration::from_secs(i64::from(min_ready_seconds));
    match since {
        Some(since) if now.duration_since(since) >= wanted => Ok(()),
        Some(since) => Err(wanted - now.duration_since(since)),
        None => Err(wanted),
    }
}

/// The node the pod is bound to.
pub fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty())
}

/// An init container that goes on running beside the others.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Whether the pod uses its node's network.
pub fn uses_host_network(spec: &PodSpec) -> bool {
    spec.host_network.unwrap_or(false)
}

/// All addresses of the pod, the first one first.
pub fn addresses(pod: &Pod) -> impl Iterator<Item = &str> {
    let status = pod.status.as_ref();
    let listed = status.and_then(|status| status.pod_ips.as_ref()).into_iter().flatten();
    let listed = listed.map(|ip| ip.ip.as_str()).filter(|ip| !ip.is_empty());
    let any = status.is_some_and(|s| s.pod_ips.as_ref().is_some_and(|ips| !ips.is_empty()));
    let single = status.and_then(|status| status.pod_ip.as_deref()).filter(|ip| !any && !ip.is_empty());
    single.into_iter().chain(listed)
}

#[cfg(test)]
mod tests;
