//! Whom a node that is short lets in, and whom it never puts out; pure.

use k8s_openapi::api::core::v1::{Pod, Taint};
use skiff_api::pod::qos::{Qos, class};
use skiff_api::pod::tolerations::{NO_SCHEDULE, tolerates};

use super::rank::priority;
use super::signal::{Condition, Pressure};
use crate::pod::state::Verdict;
use crate::pod::{is_mirror, is_static};

/// The reason of all evictions by the node.
pub(crate) const EVICTED: &str = "Evicted";
/// From here on pods are the cluster's own.
const SYSTEM_CRITICAL: i32 = 2_000_000_000;
const MEMORY_TAINT: &str = "node.kubernetes.io/memory-pressure";

/// Whether the node needs the pod itself: it comes from the node's own files, or its priority says so.
pub(crate) fn is_critical(pod: &Pod) -> bool {
    is_static(pod) || is_mirror(pod) || priority(pod) >= SYSTEM_CRITICAL
}

/// Why a node that is short does not let the pod in, if so. Where memory alone is short, pods that asked for some may come.
pub(crate) fn refuse(pod: &Pod, pressure: Pressure) -> Option<Verdict> {
    if pressure == Pressure::default() || is_critical(pod) {
        return None;
    }
    let only_memory = Pressure { memory: true, ..Pressure::default() };
    if pressure == only_memory && (class(pod) != Qos::BestEffort || stands_it(pod)) {
        return None;
    }
    let conditions: Vec<&str> = pressure.conditions().map(Condition::as_str).collect();
    Some(Verdict {
        reason: EVICTED.to_owned(),
        message: format!("Pod was rejected: The node had condition: [{}]. ", conditions.join(" ")),
        rejected: true,
        ..Verdict::default()
    })
}

fn stands_it(pod: &Pod) -> bool {
    let taint = Taint { key: MEMORY_TAINT.to_owned(), effect: NO_SCHEDULE.to_owned(), ..Taint::default() };
    let tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    tolerations.into_iter().any(|toleration| tolerates(toleration, &taint))
}
