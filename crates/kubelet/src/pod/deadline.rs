//! When a pod is over by time: `activeDeadlineSeconds`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::state::{PodState, Verdict};

/// The moment the pod may not outlive, if it has one.
pub(crate) fn at(pod: &Pod, state: &PodState) -> Option<Timestamp> {
    let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
    let start = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    start.unwrap_or(state.accepted_at).checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// What is said of a pod that outlived it.
pub(crate) fn verdict() -> Verdict {
    Verdict {
        reason: "DeadlineExceeded".to_owned(),
        message: "Pod was active on the node longer than the specified deadline".to_owned(),
        ..Verdict::default()
    }
}
