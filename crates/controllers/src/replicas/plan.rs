//! How many pods to make, which to delete, and what to say about it; pure.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use skiff_api::pod;

use super::Replicated;

/// At most so many pods are made or deleted at once.
const BURST: usize = 500;
/// Annotation: who costs less is deleted first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// What to do.
#[derive(Debug)]
pub(super) enum Plan {
    Rest,
    Create(usize),
    Delete(Vec<Arc<Pod>>),
}

/// What could not be done.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// From the pods there are to the pods there should be.
pub(super) fn plan<K: Replicated>(controller: &K, pods: &[Arc<Pod>]) -> Plan {
    if controller.metadata().deletion_timestamp.is_some() {
        return Plan::Rest;
    }
    let wanted = usize::try_from(controller.replicas()).unwrap_or(0);
    match pods.len() {
        have if have < wanted => Plan::Create((wanted - have).min(BURST)),
        have if have > wanted => Plan::Delete(surplus(pods, (have - wanted).min(BURST))),
        _ => Plan::Rest,
    }
}

/// The pods that will be missed least, as upstream ranks them: not yet placed, not yet running, not ready, cheap to
/// delete, sharing their node with most others, ready or made last, restarted most.
fn surplus(pods: &[Arc<Pod>], count: usize) -> Vec<Arc<Pod>> {
    let mut per_node: HashMap<&str, usize> = HashMap::new();
    for node in pods.iter().filter_map(|pod| pod::node_name(pod)) {
        *per_node.entry(node).or_default() += 1;
    }
    let mut ranked: Vec<&Arc<Pod>> = pods.iter().collect();
    ranked.sort_by_cached_key(|pod| {
        let node = pod::node_name(pod);
        let phase = match pod::phase(pod) {
            "Pending" => 0,
            "Unknown" => 1,
            _ => 2,
        };
        let cost = pod.metadata.annotations.as_ref().and_then(|all| all.get(DELETION_COST));
        let cost = cost.and_then(|cost| cost.parse::<i32>().ok()).unwrap_or(0);
        let crowd = node.and_then(|node| per_node.get(node)).copied().unwrap_or(0);
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (
            node.is_some(),
            phase,
            pod::is_ready(pod),
            cost,
            Reverse(crowd),
            // The absent time counts as the youngest.
            Reverse(pod::ready_since(pod).unwrap_or(Timestamp::MAX)),
            Reverse(restarts(pod)),
            Reverse(created.unwrap_or(Timestamp::MAX)),
        )
    });
    ranked.into_iter().take(count).cloned().collect()
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|status| status.restart_count).max().unwrap_or(0)
}

/// What the pods there are amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) replicas: i32,
    pub(crate) fully_labeled: i32,
    pub(crate) ready: i32,
    pub(crate) available: i32,
    /// Deleted, but not at their end yet.
    pub(crate) terminating: i32,
    pub(crate) generation: Option<i64>,
}

/// A condition of a kind that keeps pods, whatever its type there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    pub(crate) type_: String,
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) last_transition_time: Option<Time>,
}

/// Counts the pods; `ending` of them more are on their way out.
pub(super) fn tally<K: Replicated>(
    controller: &K,
    pods: &[Arc<Pod>],
    ending: usize,
    now: Timestamp,
) -> Tally {
    let template = controller.template().and_then(|template| template.metadata.clone());
    let template = template.and_then(|meta| meta.labels).unwrap_or_default();
    let min_ready = controller.min_ready_seconds();
    let labelled = |pod: &Pod| {
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        template.iter().all(|(key, value)| labels.get(key) == Some(value))
    };
    let count = |holds: &dyn Fn(&Pod) -> bool| {
        i32::try_from(pods.iter().filter(|pod| holds(pod)).count()).unwrap_or(i32::MAX)
    };
    Tally {
        replicas: count(&|_| true),
        fully_labeled: count(&labelled),
        ready: count(&pod::is_ready),
        available: count(&|pod| pod::is_available(pod, min_ready, now).is_ok()),
        terminating: i32::try_from(ending).unwrap_or(i32::MAX),
        generation: controller.metadata().generation,
    }
}

/// The conditions with what failed, or without.
pub(super) fn conditions(
    mut conditions: Vec<Condition>,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Option<Vec<Condition>> {
    let since = conditions.iter().find(|condition| condition.type_ == REPLICA_FAILURE);
    let since = since.and_then(|condition| condition.last_transition_time.clone());
    conditions.retain(|condition| condition.type_ != REPLICA_FAILURE);
    if let Some(Failure { reason, message }) = failure {
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        conditions.push(Condition {
            type_: REPLICA_FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: Some((*reason).to_owned()),
            message: Some(message.clone()),
            last_transition_time: since.or(Some(Time(now))),
        });
    }
    (!conditions.is_empty()).then_some(conditions)
}
