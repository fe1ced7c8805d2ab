//! How many pods to make, which to delete, and what to say about it; pure.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Replicated;
use super::flock::Flock;

/// At most so many pods are made or deleted at once.
const BURST: usize = 500;
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// What to do.
#[derive(Debug)]
pub(super) enum Plan {
    Rest,
    Create(usize),
    /// Pods by their keys.
    Delete(Vec<Arc<str>>),
}

/// What could not be done.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// From the pods there are to the pods there should be.
pub(super) fn plan<K: Replicated>(controller: &K, flock: &Flock) -> Plan {
    if controller.metadata().deletion_timestamp.is_some() {
        return Plan::Rest;
    }
    let wanted = usize::try_from(controller.replicas()).unwrap_or(0);
    match flock.active() {
        have if have < wanted => Plan::Create((wanted - have).min(BURST)),
        have if have > wanted => Plan::Delete(surplus(flock, (have - wanted).min(BURST))),
        _ => Plan::Rest,
    }
}

/// The pods that will be missed least, as upstream ranks them: not yet placed, not yet running, not ready, cheap to
/// delete, sharing their node with most others, ready or made last, restarted most.
fn surplus(flock: &Flock, count: usize) -> Vec<Arc<str>> {
    let mut per_node: HashMap<&str, usize> = HashMap::new();
    for node in flock.replicas().filter_map(|(_, pod)| pod.node.as_deref()) {
        *per_node.entry(node).or_default() += 1;
    }
    let mut ranked: Vec<_> = flock.replicas().collect();
    ranked.sort_by_cached_key(|(_, pod)| {
        let crowd = pod.node.as_deref().and_then(|node| per_node.get(node)).copied().unwrap_or(0);
        (
            pod.node.is_some(),
            pod.phase,
            pod.ready,
            pod.cost,
            Reverse(crowd),
            // The absent time counts as the youngest.
            Reverse(pod.ready_since.unwrap_or(Timestamp::MAX)),
            Reverse(pod.restarts),
            Reverse(pod.created.unwrap_or(Timestamp::MAX)),
        )
    });
    ranked.into_iter().take(count).map(|(key, _)| Arc::clone(key)).collect()
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

/// Counts the pods.
pub(super) fn tally<K: Replicated>(controller: &K, flock: &Flock, now: Timestamp) -> Tally {
    let template = controller.template().and_then(|template| template.metadata.as_ref());
    let labels = template.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    Tally {
        replicas: number(flock.active()),
        fully_labeled: number(flock.labelled(&labels)),
        ready: number(flock.ready()),
        available: number(flock.available(controller.min_ready_seconds(), now).0),
        terminating: number(flock.ending()),
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
