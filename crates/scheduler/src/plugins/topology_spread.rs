//! Pods that belong together are spread over domains: zones, nodes.
//!
//! Constraints that must hold filter; those that should hold score. A pod that brings none is spread by default from
//! those that its services and its controller select with it: over nodes (skew 3) and zones (skew 5), or as its profile
//! says. Follows upstream's `plugins/podtopologyspread`. The snapshot knows how many pods of a group each domain has;
//! only where not all nodes count (the pod selects nodes, or a node lacks a key) those that do are gone through.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use serde_json::Value;
use skiff_api::pod::affinity;
use skiff_api::pod::tolerations::{NO_EXECUTE, NO_SCHEDULE, untolerated};
use skiff_api::{Errors, Object};

use self::constraint::Constraint;
use crate::event::{Event, Facts, Hope};
use crate::plugin::{BEST, Judge, Plugin, Refusal};
use crate::pod::{Pending, Scope};
use crate::snapshot::{Counts, DomainId, Domains, Node, Numbers as Sums, Snapshot};

mod args;
mod constraint;

const HOSTNAME: &str = skiff_api::names::HOSTNAME;
const ZONE: &str = "topology.kubernetes.io/zone";
const HARD: &str = "DoNotSchedule";
const SOFT: &str = "ScheduleAnyway";

#[derive(Default)]
pub(crate) struct TopologySpread {
    /// What pods that bring no constraints get; absent: what the system says.
    defaults: Option<Vec<TopologySpreadConstraint>>,
}

/// The numbers of a constraint's domains.
enum Numbers<'a> {
    /// Every node counts.
    All(Cow<'a, Counts>),
    /// Some do; these are theirs.
    Some(Sums),
}

/// A constraint that must hold and how many pods each domain has.
struct Hard<'a> {
    constraint: Constraint,
    numbers: Numbers<'a>,
    /// How many the emptiest domain has.
    least: i64,
    /// The pod counts itself.
    own: i64,
}

/// A constraint that should hold.
struct Soft<'a> {
    constraint: Constraint,
    counts: Cow<'a, Counts>,
    numbers: Numbers<'a>,
    weight: f64,
}

struct Spread<'a> {
    hard: Vec<Hard<'a>>,
    soft: Vec<Soft<'a>>,
    /// Whether nodes that lack one of the keys are out of the question: not for the system's constraints.
    strict: bool,
}

/// The plugin as a profile wants it.
pub(crate) fn configured(given: &Value, errors: &mut Errors) -> Arc<dyn Plugin> {
    Arc::new(TopologySpread { defaults: args::defaults(given, errors) })
}

impl TopologySpread {
    /// The constraints of a pod that must or should hold.
    fn of(&self, action: &str, pod: &Pending, cluster: &Snapshot) -> Vec<Constraint> {
        let given = pod.spec().topology_spread_constraints.as_deref().unwrap_or_default();
        if !given.is_empty() {
            let given = given.iter().filter(|given| given.when_unsatisfiable == action);
            return given.map(|given| Constraint::new(given, pod, cluster)).collect();
        }
        if self.defaults.is_none() && action == HARD {
            return Vec::new();
        }
        let Some(selector) = cluster.selectors.of(&pod.info.object) else { return Vec::new() };
        let default = |key: &str, skew| Constraint::default((key, skew), pod, cluster, &selector);
        match &self.defaults {
            None => vec![default(HOSTNAME, 3), default(ZONE, 5)],
            Some(list) => {
                let list = list.iter().filter(|given| given.when_unsatisfiable == action);
                list.map(|given| default(&given.topology_key, given.max_skew)).collect()
            }
        }
    }

    fn is_strict(&self, pod: &Pending) -> bool {
        self.defaults.is_some()
            || pod.spec().topology_spread_constraints.as_ref().is_some_and(|list| !list.is_empty())
    }
}

impl Plugin for TopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn track(&self, pod: &Pending, cluster: &mut Snapshot) {
        for action in [HARD, SOFT] {
            for constraint in self.of(action, pod, cluster) {
                cluster.track(&constraint.group, &[&constraint.key]);
            }
        }
    }

    fn begin<'a>(&self, pod: &'a Pending, cluster: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        let (hard, soft) = (self.of(HARD, pod, cluster), self.of(SOFT, pod, cluster));
        if hard.is_empty() && soft.is_empty() {
            return None;
        }
        let strict = self.is_strict(pod);
        let count =
            |constraints: Vec<Constraint>, strict| Counting::new(pod, cluster, constraints, strict).all();
        let hard = count(hard, true).into_iter().map(|(constraint, _, numbers)| {
            let least = match &numbers {
                Numbers::All(counts) => {
                    let values = constraint.at.and_then(|key| cluster.topology.of(key));
                    let domains = values.map_or(0, |values| values.len());
                    let least = by(counts, &constraint).map_or(0, |numbers| numbers.least(domains));
                    if domains < constraint.least_domains { 0 } else { least }
                }
                Numbers::Some(numbers) if numbers.len() < constraint.least_domains => 0,
                Numbers::Some(numbers) => numbers.values().copied().min().unwrap_or(0),
            };
            let own = i64::from(constraint.group.has(&pod.info, cluster.namespaces()));
            Hard { constraint, numbers, least, own }
        });
        let soft = count(soft, strict).into_iter();
        let soft =
            soft.map(|(constraint, counts, numbers)| Soft { constraint, counts, numbers, weight: 0.0 });
        Some(Box::new(Spread { hard: hard.collect(), soft: soft.collect(), strict }))
    }

    fn hope(&self, pod: &Pending, cluster: &Snapshot) -> Hope {
        let namespace: Box<str> = pod.info.namespace().into();
        let constraints = self.of(HARD, pod, cluster);
        let keys: Vec<Box<str>> = constraints.iter().map(|constraint| constraint.key.clone()).collect();
        let scopes: Vec<Scope> = constraints.into_iter().flat_map(|it| it.group.scopes).collect();
        let looks_at_taints = pod
            .spec()
            .topology_spread_constraints
            .iter()
            .flatten()
            .any(|it| it.node_taints_policy.as_deref() == Some("Honor"));
        Hope::of_placed_too(move |event| {
            let counts = |pod: &Object| {
                pod.meta().namespace.as_deref() == Some(&*namespace)
                    && scopes.iter().any(|scope| scope.picks(pod.meta()))
            };
            let whole = |node: &Facts| keys.iter().all(|key| node.labels.contains_key(key));
            match event {
                Event::NodeAdded(node) | Event::NodeGone(node) => whole(node),
                Event::NodeLabels(turn) => {
                    let (before, now) = (&turn.before, &turn.now);
                    let moved = || keys.iter().any(|key| before.labels.get(key) != now.labels.get(key));
                    (whole(before) || whole(now)) && moved()
                }
                Event::NodeTaints(_) => looks_at_taints,
                Event::PodPlaced(pod) | Event::PodGone(pod) => counts(&pod.object),
                Event::PodRelabelled(before, now) => counts(before) != counts(&now.object),
                Event::SpreadSelector => true,
                _ => false,
            }
        })
    }
}

/// Counting for some constraints of a pod.
struct Counting<'p, 'a> {
    pod: &'p Pending,
    cluster: &'a Snapshot,
    constraints: Vec<Constraint>,
    /// Whether a node must have all keys to count.
    strict: bool,
}

impl<'p, 'a> Counting<'p, 'a> {
    fn new(pod: &'p Pending, cluster: &'a Snapshot, constraints: Vec<Constraint>, strict: bool) -> Self {
        Self { pod, cluster, constraints, strict }
    }

    fn all(self) -> Vec<(Constraint, Cow<'a, Counts>, Numbers<'a>)> {
        let complete = self.every_node_has_all_keys();
        let numbers = |constraint: &Constraint| {
            let counts = self.cluster.tally(&constraint.group, &[&constraint.key]);
            let numbers = match complete && !self.looks_at_nodes(constraint) {
                true => Numbers::All(counts.clone()),
                false => Numbers::Some(self.some(constraint, &counts)),
            };
            (counts, numbers)
        };
        let counted: Vec<_> = self.constraints.iter().map(numbers).collect();
        let constraints = self.constraints.into_iter().zip(counted);
        constraints.map(|(constraint, (counts, numbers))| (constraint, counts, numbers)).collect()
    }

    /// If a node lacks another constraint's key, it does not count for this one; one key alone is its own matter.
    fn every_node_has_all_keys(&self) -> bool {
        let nodes = |constraint: &Constraint| self.cluster.topology.of(constraint.at?).map(|it| it.nodes);
        match self.constraints.as_slice() {
            [only] => nodes(only).is_some(),
            many => many.iter().all(|constraint| match nodes(constraint) {
                Some(nodes) => !self.strict || nodes == self.cluster.len(),
                None => false,
            }),
        }
    }

    /// Whether the constraint may leave out nodes that the pod cannot go to.
    fn looks_at_nodes(&self, constraint: &Constraint) -> bool {
        let spec = self.pod.spec();
        let affinity = || spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let required =
            || affinity().is_some_and(|it| it.required_during_scheduling_ignored_during_execution.is_some());
        let selects = || spec.node_selector.as_ref().is_some_and(|selector| !selector.is_empty());
        constraint.honours_taints || (constraint.honours_affinity && (selects() || required()))
    }

    /// The numbers of the domains of nodes that count.
    fn some(&self, constraint: &Constraint, counts: &Counts) -> Sums {
        let mut numbers = Sums::default();
        for node in self.cluster.nodes() {
            let whole = || self.constraints.iter().all(|other| other.domain(node).is_some());
            let Some(domain) = constraint.domain(node) else { continue };
            if (!self.strict || whole()) && self.includes(constraint, node) {
                *numbers.entry(domain).or_default() += counts.on(node.id);
            }
        }
        numbers
    }

    /// Whether a node's domain counts for a constraint.
    fn includes(&self, constraint: &Constraint, node: &Node) -> bool {
        let spec = self.pod.spec();
        if constraint.honours_affinity && !node.as_target(|target| affinity::allows(spec, target)) {
            return false;
        }
        let tolerations = spec.tolerations.as_deref().unwrap_or_default();
        !constraint.honours_taints
            || untolerated(&node.taints, tolerations, &[NO_SCHEDULE, NO_EXECUTE]).is_none()
    }
}

/// How many pods each domain of a constraint has.
fn by<'a>(counts: &'a Counts, constraint: &Constraint) -> Option<&'a Domains> {
    counts.by(constraint.at?)
}

impl Numbers<'_> {
    fn of(&self, constraint: &Constraint, domain: DomainId) -> i64 {
        match self {
            Self::All(counts) => by(counts, constraint).map_or(0, |domains| domains.of(domain)),
            Self::Some(numbers) => numbers.get(&domain).copied().unwrap_or(0),
        }
    }
}

impl Spread<'_> {
    /// Whether a node takes part in scoring.
    fn takes_part(&self, node: &Node) -> bool {
        !self.strict || self.soft.iter().all(|soft| soft.constraint.domain(node).is_some())
    }
}

impl Judge for Spread<'_> {
    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        for Hard { constraint, numbers, least, own } in &self.hard {
            let Some(domain) = constraint.domain(node) else {
                let why = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Err(Refusal::unsuitable(why));
            };
            if numbers.of(constraint, domain) + own - least > constraint.skew {
                return Err(Refusal::crowded("node(s) didn't match pod topology spread constraints"));
            }
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers of nodes")]
    fn prepare(&mut self, feasible: &[&Node]) -> bool {
        let taking_part: Vec<&&Node> = feasible.iter().filter(|node| self.takes_part(node)).collect();
        for Soft { constraint, weight, .. } in &mut self.soft {
            let size = if &*constraint.key == HOSTNAME {
                taking_part.len()
            } else {
                // Nodes without the key are of one domain of their own.
                let domains: HashSet<Option<DomainId>> =
                    taking_part.iter().map(|node| constraint.domain(node)).collect();
                domains.len()
            };
            *weight = (size as f64 + 2.0).ln();
        }
        !self.soft.is_empty()
    }

    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "numbers of pods")]
    fn score(&self, node: &Node) -> i64 {
        if !self.takes_part(node) {
            return -1;
        }
        let mut sum = 0.0;
        for Soft { constraint, counts, numbers, weight } in &self.soft {
            let Some(domain) = constraint.domain(node) else { continue };
            let count = if &*constraint.key == HOSTNAME {
                counts.on(node.id)
            } else {
                numbers.of(constraint, domain)
            };
            sum += count as f64 * weight + (constraint.skew - 1) as f64;
        }
        sum.round() as i64
    }

    /// The fewest pods become the best; nodes that take no part the worst.
    fn normalise(&self, _: &[&Node], scores: &mut [i64]) {
        let part = || scores.iter().copied().filter(|score| *score >= 0);
        let (most, least) = (part().max().unwrap_or(0), part().min().unwrap_or(0));
        for score in scores.iter_mut() {
            *score = match *score {
                out if out < 0 => 0,
                _ if most == 0 => BEST,
                score => BEST * (most + least - score) / most,
            };
        }
    }
}
