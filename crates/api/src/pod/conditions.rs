//! A pod's conditions: reading one, and setting one so that its transition time means something.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The pod can serve.
pub const READY: &str = "Ready";
/// All containers can serve.
pub const CONTAINERS_READY: &str = "ContainersReady";
/// All init containers are done.
pub const INITIALIZED: &str = "Initialized";
/// A node was found.
pub const SCHEDULED: &str = "PodScheduled";
/// The sandbox is there and has its network.
pub const READY_TO_START: &str = "PodReadyToStartContainers";
/// Something is about to end the pod.
pub const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// The condition of this type, if reported.
pub fn find<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// Whether the condition of this type is `True`.
pub fn is_true(pod: &Pod, kind: &str) -> bool {
    find(pod, kind).is_some_and(|condition| condition.status == "True")
}

/// A condition as it should be, but for its times.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// `Ready`, …
    pub kind: &'a str,
    /// `True`, `False`, `Unknown`.
    pub status: &'a str,
    /// One word.
    pub reason: &'a str,
    /// A sentence.
    pub message: &'a str,
}

/// Sets a condition; its transition time moves only if the status changes. False if nothing changed.
pub fn set(pod: &mut Pod, wanted: Wanted<'_>, now: Timestamp) -> bool {
    let generation = pod.metadata.generation;
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut fresh = PodCondition {
        type_: wanted.kind.to_owned(),
        status: wanted.status.to_owned(),
        reason: text(wanted.reason),
        message: text(wanted.message),
        last_transition_time: Some(Time(now)),
        last_probe_time: None,
        observed_generation: generation,
    };
    match conditions.iter_mut().find(|condition| condition.type_ == wanted.kind) {
        Some(held) => {
            if held.status == fresh.status {
                fresh.last_transition_time = held.last_transition_time.clone();
            }
            fresh.last_probe_time = held.last_probe_time.clone();
            let changed = *held != fresh;
            *held = fresh;
            changed
        }
        None => {
            conditions.push(fresh);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut pod = Pod::default();
        let wanted = |status, message| Wanted { kind: SCHEDULED, status, reason: "Unschedulable", message };
        assert!(set(&mut pod, wanted("False", "one"), at(1)));
        assert!(!set(&mut pod, wanted("False", "one"), at(2)));
        assert!(set(&mut pod, wanted("False", "two"), at(3)));
        assert_eq!(find(&pod, SCHEDULED).unwrap().last_transition_time, Some(Time(at(1))));
        assert!(set(&mut pod, wanted("True", ""), at(4)));
        assert_eq!(find(&pod, SCHEDULED).unwrap().last_transition_time, Some(Time(at(4))));
    }
}
