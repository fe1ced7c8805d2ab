//! The arithmetic of a budget; pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_api::pod;

/// A pod that was evicted and is still there after so long stays.
const PATIENCE: SignedDuration = SignedDuration::from_secs(120);
const ALLOWED: &str = "DisruptionAllowed";

/// A pod under the budget.
pub(super) struct Covered {
    pub(super) pod: Arc<Pod>,
    /// Its controller and how many pods that wants.
    pub(super) scale: Option<(Arc<str>, i32)>,
}

/// The status as it shall be, and when to look again though nothing happens.
pub(super) fn status(
    budget: &PodDisruptionBudget,
    pods: &[Covered],
    now: Timestamp,
) -> (PodDisruptionBudgetStatus, Option<Timestamp>) {
    let old = budget.status.clone().unwrap_or_default();
    let mut disrupted = old.disrupted_pods.clone().unwrap_or_default();
    disrupted.retain(|name, at| {
        let held = pods.iter().find(|covered| covered.pod.metadata.name.as_ref() == Some(name));
        held.is_some_and(|covered| covered.pod.metadata.deletion_timestamp.is_none()) && at.0 + PATIENCE > now
    });
    let until = disrupted.values().map(|at| at.0 + PATIENCE).min();
    let healthy = |covered: &&Covered| {
        let meta = &covered.pod.metadata;
        let going = meta.name.as_ref().is_some_and(|name| disrupted.contains_key(name));
        meta.deletion_timestamp.is_none() && !going && pod::is_ready(&covered.pod)
    };
    let healthy = count(pods.iter().filter(healthy).count());
    let (expected, desired) = expectations(budget, pods);
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let status = PodDisruptionBudgetStatus {
        disruptions_allowed: Some(allowed),
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        observed_generation: budget.metadata.generation,
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        conditions: Some(conditions(old.conditions.unwrap_or_default(), budget, allowed > 0, now)),
    };
    (status, until)
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// How many pods there should be, and how many of them must be healthy.
fn expectations(budget: &PodDisruptionBudget, pods: &[Covered]) -> (i32, i32) {
    let scaled = || {
        let scales: BTreeMap<&str, i32> =
            pods.iter().filter_map(|covered| covered.scale.as_ref()).map(|(uid, n)| (&**uid, *n)).collect();
        scales.values().sum::<i32>()
    };
    let spec = budget.spec.clone().unwrap_or_default();
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => {
            let expected = scaled();
            (expected, (expected - amount(most, expected)).max(0))
        }
        (None, Some(IntOrString::Int(least))) => (count(pods.len()), *least),
        (None, Some(share)) => {
            let expected = scaled();
            (expected, amount(share, expected))
        }
        (None, None) => (count(pods.len()), 0),
    }
}

/// A count, or a share rounded up.
fn amount(value: &IntOrString, of: i32) -> i32 {
    match value {
        IntOrString::Int(count) => *count,
        IntOrString::String(text) => {
            let share: i64 = text.strip_suffix('%').and_then(|text| text.parse().ok()).unwrap_or(0);
            i32::try_from((share * i64::from(of) + 99) / 100).unwrap_or(i32::MAX)
        }
    }
}

fn conditions(
    mut held: Vec<Condition>,
    budget: &PodDisruptionBudget,
    allowed: bool,
    now: Timestamp,
) -> Vec<Condition> {
    let (status, reason) = if allowed { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let before = held.iter().find(|condition| condition.type_ == ALLOWED && condition.status == status);
    let since = before.map_or(Time(now), |condition| condition.last_transition_time.clone());
    held.retain(|condition| condition.type_ != ALLOWED);
    held.push(Condition {
        type_: ALLOWED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
        last_transition_time: since,
        observed_generation: budget.metadata.generation,
    });
    held
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn covered(name: &str, ready: bool, scale: i32) -> Covered {
        let ready = if ready { "True" } else { "False" };
        let pod = json!({"metadata": {"name": name}, "spec": {"containers": []}, "status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": ready}]}});
        Covered { pod: Arc::new(serde_json::from_value(pod).unwrap()), scale: Some(("rs".into(), scale)) }
    }

    /// Expected, desired, healthy, allowed.
    fn numbers(spec: &serde_json::Value, pods: &[Covered]) -> [i32; 4] {
        let budget = serde_json::from_value(json!({"metadata": {"generation": 1}, "spec": spec,
            "status": {"disruptedPods": {"gone": "2026-11-22T10:00:00Z", "b": "2026-11-22T10:00:30Z"}}}));
        let (status, until) = status(&budget.unwrap(), pods, "2026-11-22T10:01:00Z".parse().unwrap());
        assert_eq!(until.map(|at| at.to_string()).as_deref(), Some("2026-11-22T10:02:30Z"));
        [status.expected_pods, status.desired_healthy, status.current_healthy, status.disruptions_allowed]
            .map(Option::unwrap)
    }

    #[test]
    fn healthy_pods_beyond_those_that_must_be_may_go() {
        let pods =
            || [covered("a", true, 4), covered("b", true, 4), covered("c", true, 4), covered("d", false, 4)];
        // b was evicted half a minute ago: it counts as gone.
        assert_eq!(numbers(&json!({"minAvailable": 1}), &pods()), [4, 1, 2, 1]);
        assert_eq!(numbers(&json!({"minAvailable": "50%"}), &pods()), [4, 2, 2, 0]);
        assert_eq!(numbers(&json!({"maxUnavailable": 3}), &pods()), [4, 1, 2, 1]);
        assert_eq!(numbers(&json!({"maxUnavailable": "30%"}), &pods()), [4, 2, 2, 0]);
    }
}
