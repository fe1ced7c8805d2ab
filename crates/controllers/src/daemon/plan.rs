//! On which nodes a pod is missing or too much, and which may be renewed now; pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_api::Object;
use skiff_api::node::NodeFacts;
use skiff_api::pod::affinity::Target;
use skiff_api::pod::facts::{Phase, PodFacts};
use skiff_api::pod::{self, affinity, tolerations};

use crate::shared::revisions::REVISION_HASH;
use crate::shared::seen::Seen;

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) status: DaemonSetStatus,
    /// Names of nodes that lack a pod.
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Seen>,
    /// Nodes whose pod has failed and goes now; how it ended and words about it.
    pub(super) ended: Vec<Ended>,
    /// When a pod that is ready will count as available.
    pub(super) wait: Option<SignedDuration>,
}

/// A pod that ended and is made anew: its node, its name, whether it failed.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) node: String,
    pub(super) pod: String,
    pub(super) failed: bool,
}

/// Taints that pods of daemons bear with: they are to run where others may not.
const BORNE: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

pub(super) fn hash_of(pod: &Seen) -> Option<&str> {
    pod.label(REVISION_HASH)
}

/// The node a pod is on, or is bound to go to.
fn node_of(pod: &PodFacts) -> Option<&str> {
    pod.node.as_deref().or(pod.pinned.as_deref())
}

/// Has the scheduler put the pod on this node and no other, and lets it bear the node's troubles.
pub(super) fn bind_to(pod: &mut Pod, node: &str) {
    let spec = pod.spec.get_or_insert_default();
    let pin = || NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let wanted = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    let required = &mut wanted.required_during_scheduling_ignored_during_execution;
    let terms = &mut required.get_or_insert_with(NodeSelector::default).node_selector_terms;
    if terms.is_empty() {
        terms.push(NodeSelectorTerm::default());
    }
    for term in terms {
        term.match_fields = Some(vec![pin()]);
    }
    bear(spec);
}

fn bear(spec: &mut PodSpec) {
    let network =
        pod::uses_host_network(spec).then_some(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    let list = spec.tolerations.get_or_insert_default();
    for (key, effect) in BORNE.into_iter().chain(network) {
        let toleration = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        if !list.contains(&toleration) {
            list.push(toleration);
        }
    }
}

/// Which nodes the pods of a set are for; made once for all nodes.
struct Aim {
    spec: PodSpec,
}

impl Aim {
    fn of(set: &DaemonSet) -> Self {
        let mut spec = set.spec.template.spec.clone().unwrap_or_default();
        bear(&mut spec);
        Self { spec }
    }

    /// Whether a pod should be put on the node, and whether one that is there may stay.
    fn suits(&self, node: &Object) -> (bool, bool) {
        let name = &*node.meta().name;
        if self.spec.node_name.as_deref().is_some_and(|wanted| !wanted.is_empty() && wanted != name) {
            return (false, false);
        }
        let label = |key: &str| node.meta().labels.get(key).map(|value| &**value);
        if !affinity::allows(&self.spec, Target { name, label: &label }) {
            return (false, false);
        }
        let tolerations = self.spec.tolerations.as_deref().unwrap_or_default();
        let borne =
            |taint: &Taint| tolerations.iter().any(|toleration| tolerations::tolerates(toleration, taint));
        let taints = &node.facts::<NodeFacts>().taints;
        let with = |effect: &str| taints.iter().filter(|taint| taint.effect == effect).all(borne);
        let stays = with(tolerations::NO_EXECUTE);
        (stays && with(tolerations::NO_SCHEDULE), stays)
    }
}

/// A count, or a share of all rounded up.
fn amount(value: Option<&IntOrString>, of: usize) -> usize {
    match value {
        Some(IntOrString::Int(count)) => usize::try_from(*count).unwrap_or(0),
        Some(IntOrString::String(text)) => {
            let share: usize = text.strip_suffix('%').and_then(|text| text.parse().ok()).unwrap_or(0);
            (share * of).div_ceil(100)
        }
        None => 0,
    }
}

impl Plan {
    /// Pods that ended go, so that the next can come; failed ones not too fast one after the other.
    fn clear(&mut self, node: &str, ended: &[&Seen], held: &dyn Fn(&str) -> Option<SignedDuration>) {
        for pod in ended.iter().filter(|pod| !pod.is_leaving()) {
            let failed = pod.phase == Phase::Failed;
            if let Some(wait) = held(node).filter(|_| failed) {
                self.wait = Some(self.wait.map_or(wait, |held| held.min(wait)));
                continue;
            }
            let name = pod.name().to_owned();
            self.ended.push(Ended { node: node.to_owned(), pod: name, failed });
            self.delete.push((*pod).clone());
        }
    }
}

struct Tally<'a> {
    set: &'a DaemonSet,
    hash: &'a str,
    now: Timestamp,
}

impl Tally<'_> {
    fn is_available(&self, pod: &Seen) -> Result<(), SignedDuration> {
        pod.is_available(self.set.spec.min_ready_seconds.unwrap_or(0), self.now)
    }

    fn is_current(&self, pod: &Seen) -> bool {
        hash_of(pod) == Some(self.hash)
    }

    /// How many nodes may have a new pod beside the old one.
    fn surge(&self, desired: usize) -> usize {
        let strategy = self.set.spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        amount(rolling.and_then(|rolling| rolling.max_surge.as_ref()), desired)
    }
}

/// Nodes where a new pod may begin beside the old one.
#[derive(Default)]
struct Surge {
    /// So many have both already.
    running: usize,
    /// Their old pod is well; a new one takes its place when it is well, too.
    candidates: Vec<String>,
}

impl Surge {
    /// Sorts out the pods of a node; the one that counts stays in `staying`.
    fn pair(&mut self, tally: &Tally<'_>, node: &str, staying: &mut Vec<&Seen>, plan: &mut Plan) {
        let (mut new, mut old): (Vec<&Seen>, Vec<&Seen>) =
            staying.drain(..).partition(|pod| tally.is_current(pod));
        for many in [&mut new, &mut old] {
            plan.delete.extend(many.drain(many.len().min(1)..).cloned());
        }
        match (new.first(), old.first()) {
            (Some(new), Some(old)) => match tally.is_available(new) {
                Ok(()) => {
                    plan.delete.push((*old).clone());
                    staying.push(new);
                }
                Err(wait) => {
                    self.running += 1;
                    if wait.is_positive() {
                        plan.wait = Some(plan.wait.map_or(wait, |held| held.min(wait)));
                    }
                    staying.push(old);
                }
            },
            (None, Some(old)) => {
                // One that is of no use need not be waited for.
                if tally.is_available(old).is_ok() {
                    self.candidates.push(node.to_owned());
                } else {
                    plan.create.push(node.to_owned());
                }
                staying.push(old);
            }
            (new, None) => staying.extend(new),
        }
    }
}

/// From a set, its pods and the nodes to what is next; `held` says how long a failed pod of a node stays.
pub(super) fn plan(
    set: &DaemonSet,
    pods: &[Seen],
    nodes: &[Arc<Object>],
    hash: &str,
    held: &dyn Fn(&str) -> Option<SignedDuration>,
    now: Timestamp,
) -> Plan {
    let tally = Tally { set, hash, now };
    let mut plan = Plan::default();
    let mut per_node: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for pod in pods {
        if let Some(node) = node_of(pod) {
            per_node.entry(node).or_default().push(pod);
        }
    }
    let (mut old, mut unavailable) = (Vec::new(), 0_usize);
    let mut desired = 0_usize;
    let mut surge = Surge::default();
    let aim = Aim::of(set);
    let nodes: Vec<(&str, (bool, bool))> =
        nodes.iter().map(|node| (&*node.meta().name, aim.suits(node))).collect();
    let most_surge = tally.surge(nodes.iter().filter(|(_, (should, _))| *should).count());
    for (name, (should, may)) in nodes {
        let here = per_node.remove(name).unwrap_or_default();
        let empty = here.is_empty();
        let (ended, live): (Vec<&Seen>, Vec<&Seen>) =
            here.into_iter().partition(|pod| pod.is_finished() && may);
        plan.clear(name, &ended, held);
        desired += usize::from(should);
        if !should {
            plan.status.number_misscheduled += i32::from(!live.is_empty());
            if !may {
                plan.delete.extend(live.into_iter().filter(|pod| !pod.is_leaving()).cloned());
            }
            continue;
        }
        let mut staying: Vec<&Seen> = live.into_iter().filter(|pod| !pod.is_leaving()).collect();
        if empty {
            plan.create.push(name.to_owned());
        }
        // The oldest stays if there are several.
        staying.sort_by_key(|pod| pod.meta().creation_timestamp);
        if most_surge > 0 {
            surge.pair(&tally, name, &mut staying, &mut plan);
        } else if staying.len() > 1 {
            plan.delete.extend(staying.drain(1..).cloned());
        }
        let Some(pod) = staying.first() else {
            unavailable += 1;
            continue;
        };
        let status = &mut plan.status;
        status.current_number_scheduled += 1;
        status.number_ready += i32::from(pod.ready);
        match tally.is_available(pod) {
            Ok(()) => *status.number_available.get_or_insert(0) += 1,
            Err(wait) => {
                unavailable += 1;
                if wait.is_positive() {
                    plan.wait = Some(plan.wait.map_or(wait, |held| held.min(wait)));
                }
            }
        }
        if tally.is_current(pod) {
            *status.updated_number_scheduled.get_or_insert(0) += 1;
        } else {
            old.push((*pod).clone());
        }
    }
    plan.create.extend(surge.candidates.into_iter().take(most_surge.saturating_sub(surge.running)));
    // What is left is of nodes that are gone: the pod collector clears away what ran there, but not what never came.
    let stray = |pod: &&&Seen| pod.node.is_none() && !pod.is_leaving();
    plan.delete.extend(per_node.values().flatten().filter(stray).map(|pod| (*pod).clone()));
    let status = &mut plan.status;
    status.desired_number_scheduled = i32::try_from(desired).unwrap_or(i32::MAX);
    let missing = status.desired_number_scheduled - status.number_available.unwrap_or(0);
    status.number_unavailable = Some(missing).filter(|missing| *missing > 0);
    status.observed_generation = set.metadata.generation;
    let held = set.status.as_ref();
    status.collision_count = held.and_then(|status| status.collision_count);
    // Nobody here has any to tell; those that others wrote stay.
    status.conditions = held.and_then(|status| status.conditions.clone());
    if most_surge == 0 {
        renew(&tally, old, desired, unavailable, &mut plan);
    }
    plan
}

/// Ends old pods, as many as may be unavailable; those that are no loss go at once.
fn renew(tally: &Tally<'_>, old: Vec<Seen>, desired: usize, unavailable: usize, plan: &mut Plan) {
    let strategy = tally.set.spec.update_strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
        return;
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let most = amount(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), desired).max(1);
    let (idle, useful): (Vec<_>, Vec<_>) = old.into_iter().partition(|pod| tally.is_available(pod).is_err());
    let room = most.saturating_sub(unavailable);
    plan.delete.extend(idle.into_iter().chain(useful.into_iter().take(room)));
}

#[cfg(test)]
mod tests;
