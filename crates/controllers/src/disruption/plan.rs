//! The arithmetic of a budget; pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_api::{LabelSelector, pod};
use skiff_client::events::EventKind;

/// A pod that was evicted and is still there after so long stays.
const PATIENCE: SignedDuration = SignedDuration::from_secs(120);
const ALLOWED: &str = "DisruptionAllowed";

/// A pod under the budget.
pub(super) struct Covered {
    pub(super) pod: Arc<Pod>,
    pub(super) owner: Owner,
}

/// Who decides how many pods like this one there are.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    /// Nobody manages the pod.
    Nobody,
    /// Its controller, which (or what scales that) wants so many pods.
    Wants { controller: Arc<str>, scaled: Arc<str>, pods: i32 },
    /// Somebody who cannot be asked, for this reason.
    Unknown(String),
}

impl Owner {
    /// Whether it is the controller with this uid.
    pub(super) fn is(&self, uid: &str) -> bool {
        matches!(self, Self::Wants { controller, .. } if **controller == *uid)
    }
}

/// What a budget is to say, and when to look again though nothing happens.
pub(super) struct Plan {
    pub(super) status: PodDisruptionBudgetStatus,
    pub(super) until: Option<Timestamp>,
    pub(super) news: Vec<(EventKind, &'static str, String)>,
    /// Pods that were evicted long ago and are still there.
    pub(super) not_deleted: Vec<Arc<Pod>>,
}

/// Whether the controllers of the pods have to be asked how many they want.
pub(super) fn asks_owners(budget: &PodDisruptionBudget) -> bool {
    let Some(spec) = &budget.spec else { return false };
    spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
}

/// From a budget and its pods to its status.
pub(super) fn plan(budget: &PodDisruptionBudget, pods: &[Covered], now: Timestamp) -> Plan {
    let old = budget.status.clone().unwrap_or_default();
    let mut disrupted = old.disrupted_pods.clone().unwrap_or_default();
    let mut not_deleted = Vec::new();
    disrupted.retain(|name, at| {
        let held = pods.iter().find(|covered| covered.pod.metadata.name.as_ref() == Some(name));
        let Some(held) = held.filter(|it| it.pod.metadata.deletion_timestamp.is_none()) else { return false };
        let patient = at.0 + PATIENCE > now;
        not_deleted.extend((!patient).then(|| Arc::clone(&held.pod)));
        patient
    });
    let until = disrupted.values().map(|at| at.0 + PATIENCE).min();
    let mut news = Vec::new();
    if pods.is_empty() {
        news.push((EventKind::Normal, "NoPods", "No matching pods found".to_owned()));
    }
    let (expected, desired) = match expectations(budget, pods) {
        Ok(expectations) => expectations,
        Err(why) => {
            news.push((EventKind::Warning, "NoControllers", why.clone()));
            let told = format!("Failed to calculate the number of expected pods: {why}");
            news.push((EventKind::Warning, "CalculateExpectedPodCountFailed", told));
            // Better nobody is sent away than too many.
            let said = ("False", "SyncFailed", why);
            let conditions = Some(conditions(old.conditions.clone().unwrap_or_default(), budget, said, now));
            let status = PodDisruptionBudgetStatus { disruptions_allowed: Some(0), conditions, ..old };
            return Plan { status, until, news, not_deleted };
        }
    };
    if asks_owners(budget) && pods.iter().any(|covered| matches!(covered.owner, Owner::Nobody)) {
        news.push((EventKind::Warning, "UnmanagedPods", unmanaged(budget)));
    }
    let healthy = |covered: &&Covered| {
        let meta = &covered.pod.metadata;
        let going = meta.name.as_ref().is_some_and(|name| disrupted.contains_key(name));
        meta.deletion_timestamp.is_none() && !going && pod::is_ready(&covered.pod)
    };
    let healthy = count(pods.iter().filter(healthy).count());
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let (value, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let said = (value, reason, String::new());
    let status = PodDisruptionBudgetStatus {
        disruptions_allowed: Some(allowed),
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        observed_generation: budget.metadata.generation,
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        conditions: Some(conditions(old.conditions.unwrap_or_default(), budget, said, now)),
    };
    Plan { status, until, news, not_deleted }
}

fn unmanaged(budget: &PodDisruptionBudget) -> String {
    let selector = budget.spec.as_ref().and_then(|spec| LabelSelector::of(spec.selector.as_ref()?).ok());
    let selector = selector.map(|selector| selector.to_string()).unwrap_or_default();
    format!(
        "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the \
         status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these \
         pods please set \".spec.minAvailable\" field of the PDB to an integer value."
    )
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// How many pods there should be, and how many of them must be healthy.
fn expectations(budget: &PodDisruptionBudget, pods: &[Covered]) -> Result<(i32, i32), String> {
    let scaled = || {
        let mut scales: BTreeMap<&str, i32> = BTreeMap::new();
        for covered in pods {
            match &covered.owner {
                Owner::Nobody => {}
                Owner::Wants { scaled, pods, .. } => drop(scales.insert(scaled, *pods)),
                Owner::Unknown(why) => return Err(why.clone()),
            }
        }
        Ok(scales.values().sum::<i32>())
    };
    let spec = budget.spec.clone().unwrap_or_default();
    Ok(match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => {
            let expected = scaled()?;
            (expected, (expected - amount(most, expected)).max(0))
        }
        (None, Some(IntOrString::Int(least))) => (count(pods.len()), *least),
        (None, Some(share)) => {
            let expected = scaled()?;
            (expected, amount(share, expected))
        }
        (None, None) => (count(pods.len()), 0),
    })
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
    (status, reason, message): (&str, &str, String),
    now: Timestamp,
) -> Vec<Condition> {
    let before = held.iter().find(|condition| condition.type_ == ALLOWED && condition.status == status);
    let since = before.map_or(Time(now), |condition| condition.last_transition_time.clone());
    held.retain(|condition| condition.type_ != ALLOWED);
    held.push(Condition {
        type_: ALLOWED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: since,
        observed_generation: budget.metadata.generation,
    });
    held
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn covered(name: &str, ready: bool, owner: Owner) -> Covered {
        let ready = if ready { "True" } else { "False" };
        let pod = json!({"metadata": {"name": name}, "spec": {"containers": []}, "status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": ready}]}});
        Covered { pod: Arc::new(serde_json::from_value(pod).unwrap()), owner }
    }

    fn wants(controller: &str, scaled: &str, pods: i32) -> Owner {
        Owner::Wants { controller: controller.into(), scaled: scaled.into(), pods }
    }

    fn planned(spec: &serde_json::Value, pods: &[Covered]) -> Plan {
        let budget = serde_json::from_value(json!({"metadata": {"generation": 1}, "spec": spec,
            "status": {"disruptedPods": {"gone": "2026-11-22T10:00:00Z", "b": "2026-11-22T10:00:30Z"}}}));
        plan(&budget.unwrap(), pods, "2026-11-22T10:01:00Z".parse().unwrap())
    }

    /// Expected, desired, healthy, allowed.
    fn numbers(status: &PodDisruptionBudgetStatus) -> [i32; 4] {
        [status.expected_pods, status.desired_healthy, status.current_healthy, status.disruptions_allowed]
            .map(|number| number.unwrap_or(-1))
    }

    fn reasons(plan: &Plan) -> Vec<&str> {
        plan.news.iter().map(|(_, reason, _)| *reason).collect()
    }

    #[test]
    fn healthy_pods_beyond_those_that_must_be_may_go() {
        let four = || wants("rs", "rs", 4);
        let pods = [("a", true), ("b", true), ("c", true), ("d", false)]
            .map(|(name, ready)| covered(name, ready, four()));
        // b was evicted half a minute ago: it counts as gone.
        for (spec, expected) in [
            (json!({"minAvailable": 1}), [4, 1, 2, 1]),
            (json!({"minAvailable": "50%"}), [4, 2, 2, 0]),
            (json!({"maxUnavailable": 3}), [4, 1, 2, 1]),
            (json!({"maxUnavailable": "30%"}), [4, 2, 2, 0]),
        ] {
            let plan = planned(&spec, &pods);
            assert_eq!(numbers(&plan.status), expected, "{spec}");
            assert_eq!(plan.until.map(|at| at.to_string()).as_deref(), Some("2026-11-22T10:02:30Z"));
            assert!(plan.news.is_empty());
        }
    }

    #[test]
    fn a_deployment_that_rolls_out_counts_once_however_many_sets_it_has() {
        let pods = [("x", "old"), ("y", "old"), ("z", "new")]
            .map(|(name, set)| covered(name, true, wants(set, "deployment", 2)));
        assert_eq!(numbers(&planned(&json!({"maxUnavailable": 1}), &pods).status), [2, 1, 3, 2]);
    }

    #[test]
    fn pods_without_a_controller_are_told_and_unknown_controllers_forbid_everything() {
        let share = json!({"maxUnavailable": "50%"});
        let free =
            planned(&share, &[covered("x", true, Owner::Nobody), covered("y", true, wants("rs", "rs", 2))]);
        assert_eq!((numbers(&free.status), reasons(&free)), ([2, 1, 2, 1], vec!["UnmanagedPods"]));
        let strange = planned(&share, &[covered("x", true, Owner::Unknown("who".to_owned()))]);
        assert_eq!(strange.status.disruptions_allowed, Some(0));
        assert_eq!(reasons(&strange), ["NoControllers", "CalculateExpectedPodCountFailed"]);
        let condition = &strange.status.conditions.unwrap()[0];
        assert_eq!((condition.reason.as_str(), condition.message.as_str()), ("SyncFailed", "who"));
        assert_eq!(reasons(&planned(&share, &[])), ["NoPods"]);
        // A plain number asks nobody.
        assert!(!asks_owners(&serde_json::from_value(json!({"spec": {"minAvailable": 1}})).unwrap()));
    }
}
