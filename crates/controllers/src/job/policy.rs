//! What a Job says about failures and success beyond plain numbers; pure. Follows upstream's `pod_failure_policy.go`,
//! `backoff_utils.go` and `success_policy.go`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::Pod;
use skiff_api::pod::facts::Phase;

use super::indexes;
use super::plan::index_of;
use crate::shared::seen::Seen;

/// Annotation: how often the pods of this index failed before this one.
pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// Annotation: how many failures of this index were not to be counted.
pub(super) const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// What a failed pod means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// One more towards the limit.
    Count,
    /// Nothing.
    Ignore,
    /// Its index will not be tried again.
    FailIndex,
    /// The Job fails, for this reason.
    FailJob(String),
}

/// Whether a pod is only replaced when it has ended, not as soon as it is told to end.
pub(super) fn waits(spec: &JobSpec) -> bool {
    match spec.pod_replacement_policy.as_deref() {
        Some(policy) => policy == "Failed",
        None => spec.pod_failure_policy.is_some(),
    }
}

/// A pod that will not succeed any more: it failed, or it is being deleted and nobody waits for its end.
pub(super) fn has_failed(spec: &JobSpec, pod: &Seen) -> bool {
    pod.phase == Phase::Failed || (!waits(spec) && pod.is_ending())
}

/// What a failed pod means by the Job's policy; only where there is one is the pod read as a whole.
pub(super) fn meaning(spec: &JobSpec, pod: &Seen) -> Meaning {
    let Some(policy) = &spec.pod_failure_policy else { return Meaning::Count };
    let Some(pod) = pod.decode() else { return Meaning::Count };
    for (number, rule) in policy.rules.iter().enumerate() {
        let Some(why) = matched(rule, &pod) else { continue };
        return match rule.action.as_str() {
            "Ignore" => Meaning::Ignore,
            "FailIndex" if spec.backoff_limit_per_index.is_some() => Meaning::FailIndex,
            "FailJob" => Meaning::FailJob(format!("{why} matching FailJob rule at index {number}")),
            _ => Meaning::Count,
        };
    }
    Meaning::Count
}

fn matched(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.as_ref()?;
    if let Some(wanted) = &rule.on_exit_codes {
        let all =
            status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
        for container in all {
            let code =
                container.state.as_ref().and_then(|state| state.terminated.as_ref()).map(|end| end.exit_code);
            let ours = wanted.container_name.as_ref().is_none_or(|name| *name == container.name);
            if let Some(code) = code.filter(|code| ours && *code != 0 && holds(wanted, *code)) {
                let container = &container.name;
                return Some(format!(
                    "Container {container} for pod {namespace}/{name} failed with exit code {code}"
                ));
            }
        }
        return None;
    }
    for pattern in rule.on_pod_conditions.iter().flatten() {
        let wanted = pattern.status.as_deref().unwrap_or("True");
        let mut conditions = status.conditions.iter().flatten();
        if conditions.any(|it| it.type_ == pattern.type_ && it.status == wanted) {
            let kind = &pattern.type_;
            return Some(format!("Pod {namespace}/{name} has condition {kind}"));
        }
    }
    None
}

fn holds(wanted: &PodFailurePolicyOnExitCodesRequirement, code: i32) -> bool {
    let listed = wanted.values.contains(&code);
    match wanted.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    }
}

fn number(pod: &Seen, annotation: &str) -> i32 {
    pod.note(annotation).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// What the failures of single indexes amount to, where the Job counts them by index.
#[derive(Debug, Default)]
pub(super) struct ByIndex {
    /// Indexes that will not be tried again.
    pub(super) failed: BTreeSet<i32>,
    /// The last failed pod of each index that has no other yet: it keeps its finalizer, since it holds the count.
    pub(super) last: BTreeMap<i32, Seen>,
}

/// Looks at the failed pods index by index; nothing for a Job that counts all together.
pub(super) fn by_index(spec: &JobSpec, known: &BTreeSet<i32>, pods: &[Seen]) -> Option<ByIndex> {
    let limit = spec.backoff_limit_per_index?;
    let mut found = ByIndex { failed: known.clone(), ..ByIndex::default() };
    let mut others = BTreeSet::new();
    for pod in pods {
        let Some(index) = index_of(pod) else { continue };
        if !has_failed(spec, pod) {
            others.insert(index);
            continue;
        }
        let fails = match meaning(spec, pod) {
            Meaning::FailIndex => true,
            Meaning::Count | Meaning::FailJob(_) => number(pod, FAILURES) >= limit,
            Meaning::Ignore => false,
        };
        if fails {
            found.failed.insert(index);
        }
        let tries = |pod: &Seen| number(pod, FAILURES) + number(pod, IGNORED);
        if found.last.get(&index).is_none_or(|held| tries(held) < tries(pod)) {
            found.last.insert(index, pod.clone());
        }
    }
    found.last.retain(|index, _| !others.contains(index) && !found.failed.contains(index));
    Some(found)
}

impl ByIndex {
    /// Whether the pod must keep its finalizer for now.
    pub(super) fn keeps(&self, pod: &Seen) -> bool {
        let held = index_of(pod).and_then(|index| self.last.get(&index));
        held.is_some_and(|held| held.meta().uid == pod.meta().uid)
    }

    /// How long the next try of an index has to wait.
    pub(super) fn pause(
        &self,
        index: i32,
        first: SignedDuration,
        most: SignedDuration,
        now: Timestamp,
    ) -> Option<SignedDuration> {
        let last = self.last.get(&index)?;
        let doubled = (number(last, FAILURES) + number(last, IGNORED)).clamp(0, 10);
        let pause = (first * 2_i32.pow(doubled.unsigned_abs())).min(most);
        let left = now.duration_until(last.ended? + pause);
        left.is_positive().then_some(left)
    }

    /// The counts that the next pod of an index begins with: failures, ignored ones.
    pub(super) fn counts(&self, spec: &JobSpec, index: i32) -> (i32, i32) {
        let Some(last) = self.last.get(&index) else { return (0, 0) };
        let (failures, ignored) = (number(last, FAILURES), number(last, IGNORED));
        match meaning(spec, last) {
            Meaning::Ignore => (failures, ignored + 1),
            _ => (failures + 1, ignored),
        }
    }
}

/// Why the Job has succeeded already, if one of its rules says so.
pub(super) fn succeeds(spec: &JobSpec, done: &BTreeSet<i32>) -> Option<String> {
    let policy = spec.success_policy.as_ref()?;
    let rule = policy.rules.iter().position(|rule| {
        let wanted = rule.succeeded_indexes.as_deref().map(indexes::parse);
        let relevant = match &wanted {
            Some(wanted) => done.intersection(wanted).count(),
            None => done.len(),
        };
        match (rule.succeeded_count, wanted) {
            (Some(count), _) => relevant >= usize::try_from(count).unwrap_or(usize::MAX),
            (None, Some(wanted)) => relevant == wanted.len(),
            (None, None) => false,
        }
    })?;
    Some(format!("Matched rules at index {rule}"))
}
