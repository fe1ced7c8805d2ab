//! What a node's conditions and taints should be; pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use skiff_api::names;
use skiff_api::pod::tolerations::{NO_EXECUTE, NO_SCHEDULE};

/// Conditions that a node reports, all of them in doubt when it is silent.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
/// A condition, the status in which it taints, and the taint.
const TAINTS: [(&str, &str, &str); 7] = [
    ("Ready", "False", names::TAINT_NOT_READY),
    ("Ready", "Unknown", names::TAINT_UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
    ("NetworkUnavailable", "Unknown", "node.kubernetes.io/network-unavailable"),
];

pub(super) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// The status of `Ready`; `Unknown` if it was never reported.
pub(super) fn readiness(node: &Node) -> &str {
    condition(node, "Ready").map_or("Unknown", |ready| ready.status.as_str())
}

/// The conditions of a silent node, as far as they have to change.
pub(super) fn silenced(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let unknown = |kind: &&str| {
        let held = condition(node, kind);
        if held.is_some_and(|held| held.status == "Unknown") {
            return None;
        }
        let (reason, message) = match held {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        Some(NodeCondition {
            type_: (*kind).to_owned(),
            status: "Unknown".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: match held {
                Some(held) => held.last_heartbeat_time.clone(),
                None => node.metadata.creation_timestamp.clone(),
            },
            last_transition_time: Some(Time(now)),
        })
    };
    let changed: Vec<NodeCondition> = REPORTED.iter().filter_map(unknown).collect();
    (!changed.is_empty()).then_some(changed)
}

/// The taints the node should have, if they differ from what it has; those of others are kept.
pub(super) fn taints(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let held = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let ours = |taint: &Taint| {
        let key = taint.key.as_str();
        let by_condition = TAINTS.iter().any(|(_, _, known)| *known == key);
        (taint.effect == NO_SCHEDULE && (by_condition || key == names::TAINT_UNSCHEDULABLE))
            || is_driving(taint)
    };
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    if node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false) {
        wanted.push((names::TAINT_UNSCHEDULABLE, NO_SCHEDULE));
    }
    for (kind, status, key) in TAINTS {
        if condition(node, kind).is_some_and(|condition| condition.status == status) {
            wanted.push((key, NO_SCHEDULE));
            if kind == "Ready" {
                wanted.push((key, NO_EXECUTE));
            }
        }
    }
    // A node that never reported keeps the taint it was registered with.
    if condition(node, "Ready").is_none() {
        wanted.extend(held.iter().filter(|taint| taint.key == names::TAINT_NOT_READY).map(|taint| {
            (names::TAINT_NOT_READY, if taint.effect == NO_EXECUTE { NO_EXECUTE } else { NO_SCHEDULE })
        }));
    }
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let mut taints: Vec<Taint> = held
        .iter()
        .filter(|taint| !ours(taint) || wanted.contains(&(taint.key.as_str(), taint.effect.as_str())))
        .cloned()
        .collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            taints.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                time_added: Some(Time(now)),
                value: None,
            });
        }
    }
    (taints != held).then_some(taints)
}

/// Whether taints of ours drive pods out.
pub(super) fn drives_out<'a>(taints: impl IntoIterator<Item = &'a Taint>) -> bool {
    taints.into_iter().any(is_driving)
}

/// Leaves out the taints of ours that drive pods out.
pub(super) fn spare(taints: &mut Vec<Taint>) {
    taints.retain(|taint| !is_driving(taint));
}

fn is_driving(taint: &Taint) -> bool {
    let ours = matches!(taint.key.as_str(), names::TAINT_NOT_READY | names::TAINT_UNREACHABLE);
    ours && taint.effect == NO_EXECUTE
}
