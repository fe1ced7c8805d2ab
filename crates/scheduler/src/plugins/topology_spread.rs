//! Pods that belong together are spread over domains: zones, nodes.
//!
//! Constraints that must hold filter; those that should hold score. A pod that brings none is spread by default from
//! those that its services and its controller select with it: over nodes (skew 3) and zones (skew 5).

use std::collections::HashMap;

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use skiff_api::LabelSelector;
use skiff_api::pod::affinity;
use skiff_api::pod::tolerations::{NO_EXECUTE, NO_SCHEDULE, untolerated};
use skiff_api::selector::Requirement;

use crate::plugin::{BEST, Event, Judge, Plugin, Refusal};
use crate::pod::{Pending, PodInfo};
use crate::snapshot::{Node, Snapshot};

pub(crate) const PLUGIN: TopologySpread = TopologySpread;

pub(crate) struct TopologySpread;

const HOSTNAME: &str = skiff_api::names::HOSTNAME;
const ZONE: &str = "topology.kubernetes.io/zone";

/// One constraint, its selector ready to use.
struct Constraint {
    skew: i64,
    key: Box<str>,
    /// Absent: selects nothing.
    selector: Option<Vec<Requirement>>,
    least_domains: usize,
    honours_affinity: bool,
    honours_taints: bool,
}

/// A constraint that must hold and how many pods each domain has.
struct Hard {
    constraint: Constraint,
    domains: HashMap<Box<str>, i64>,
    /// The pod counts itself.
    own: i64,
}

/// A constraint that should hold.
struct Soft {
    constraint: Constraint,
    domains: HashMap<Box<str>, i64>,
    weight: f64,
}

struct Spread<'a> {
    pod: &'a Pending,
    cluster: &'a Snapshot,
    hard: Vec<Hard>,
    soft: Vec<Soft>,
    /// Whether nodes that lack one of the keys are out of the question: not for default constraints.
    strict: bool,
}

impl Plugin for TopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn begin<'a>(&self, pod: &'a Pending, cluster: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        let given = pod.spec().topology_spread_constraints.as_deref().unwrap_or_default();
        let of = |action: &'static str| given.iter().filter(move |c| c.when_unsatisfiable == action);
        let hard: Vec<Constraint> = of("DoNotSchedule").map(|c| Constraint::new(c, pod)).collect();
        let soft: Vec<Constraint> = if given.is_empty() {
            defaults(pod, cluster)
        } else {
            of("ScheduleAnyway").map(|c| Constraint::new(c, pod)).collect()
        };
        if hard.is_empty() && soft.is_empty() {
            return None;
        }
        let soft =
            soft.into_iter().map(|constraint| Soft { constraint, domains: HashMap::new(), weight: 0.0 });
        let mut spread =
            Spread { pod, cluster, hard: Vec::new(), soft: soft.collect(), strict: !given.is_empty() };
        spread.hard = spread.count(hard);
        Some(Box::new(spread))
    }

    fn helps(&self, event: Event) -> bool {
        !matches!(event, Event::NodeCapacity)
    }
}

/// What upstream calls the system's defaults.
fn defaults(pod: &Pending, cluster: &Snapshot) -> Vec<Constraint> {
    let Some(selector) = cluster.selectors.of(&pod.info.object) else { return Vec::new() };
    let default = |key: &str, skew| Constraint {
        skew,
        key: key.into(),
        selector: Some(selector.clone()),
        least_domains: 1,
        honours_affinity: true,
        honours_taints: false,
    };
    vec![default(HOSTNAME, 3), default(ZONE, 5)]
}

impl Constraint {
    fn new(given: &TopologySpreadConstraint, pod: &Pending) -> Self {
        let selector = given.label_selector.as_ref().and_then(|selector| LabelSelector::of(selector).ok());
        let mut selector = selector.map(|selector| selector.requirements().to_vec());
        let labels = &pod.info.object.meta().labels;
        for key in given.match_label_keys.iter().flatten() {
            let (Some(value), Some(selector)) = (labels.get(key.as_str()), &mut selector) else { continue };
            let one = std::collections::BTreeMap::from([(key.as_str(), &**value)]);
            selector.extend(LabelSelector::of_map(&one).requirements().to_vec());
        }
        Self {
            skew: i64::from(given.max_skew),
            key: given.topology_key.as_str().into(),
            selector,
            least_domains: given.min_domains.and_then(|n| usize::try_from(n).ok()).unwrap_or(1),
            honours_affinity: given.node_affinity_policy.as_deref() != Some("Ignore"),
            honours_taints: given.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    fn selects(&self, pod: &PodInfo) -> bool {
        let labels = &pod.object.meta().labels;
        let holds = |r: &Requirement| r.holds(labels.get(r.key()).map(|value| &**value));
        self.selector.as_ref().is_some_and(|selector| selector.iter().all(holds))
    }

    /// How many of the node's pods are selected; those that leave make room already.
    fn on(&self, node: &Node, namespace: &str) -> i64 {
        let counts = |pod: &&std::sync::Arc<PodInfo>| {
            pod.namespace() == namespace && !pod.is_leaving() && self.selects(pod)
        };
        i64::try_from(node.pods.values().filter(counts).count()).unwrap_or(i64::MAX)
    }
}

impl Spread<'_> {
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

    fn count(&self, constraints: Vec<Constraint>) -> Vec<Hard> {
        let mut domains: Vec<HashMap<Box<str>, i64>> = constraints.iter().map(|_| HashMap::new()).collect();
        if constraints.is_empty() {
            return Vec::new();
        }
        for node in self.cluster.nodes() {
            if !constraints.iter().all(|c| node.labels.contains_key(&c.key)) {
                continue;
            }
            for (constraint, domains) in constraints.iter().zip(&mut domains) {
                if self.includes(constraint, node) {
                    let count = constraint.on(node, self.pod.info.namespace());
                    *domains.entry(node.labels[&constraint.key].clone()).or_default() += count;
                }
            }
        }
        let hard = |(constraint, domains): (Constraint, HashMap<Box<str>, i64>)| {
            let own = i64::from(constraint.selects(&self.pod.info));
            Hard { constraint, domains, own }
        };
        constraints.into_iter().zip(domains).map(hard).collect()
    }

    /// Whether a node takes part in scoring.
    fn takes_part(&self, node: &Node) -> bool {
        !self.strict || self.soft.iter().all(|soft| node.labels.contains_key(&soft.constraint.key))
    }
}

impl Judge for Spread<'_> {
    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        for Hard { constraint, domains, own } in &self.hard {
            let Some(domain) = node.labels.get(&constraint.key) else {
                let why = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Err(Refusal::unsuitable(why));
            };
            let least = if domains.len() < constraint.least_domains {
                0
            } else {
                domains.values().copied().min().unwrap_or(0)
            };
            let here = domains.get(domain).copied().unwrap_or(0);
            if here + own - least > constraint.skew {
                return Err(Refusal::crowded("node(s) didn't match pod topology spread constraints"));
            }
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers of nodes")]
    fn prepare(&mut self, feasible: &[&Node]) -> bool {
        let mut soft = std::mem::take(&mut self.soft);
        soft.retain(|soft| feasible.iter().any(|node| node.labels.contains_key(&soft.constraint.key)));
        self.soft = soft;
        let taking_part: Vec<&&Node> = feasible.iter().filter(|node| self.takes_part(node)).collect();
        let mut soft = std::mem::take(&mut self.soft);
        for Soft { constraint, domains, weight } in &mut soft {
            let size = if &*constraint.key == HOSTNAME {
                taking_part.len()
            } else {
                let of = |node: &&Node| node.labels.get(&constraint.key).cloned();
                domains.extend(taking_part.iter().filter_map(|node| Some((of(node)?, 0))));
                for node in self.cluster.nodes().filter(|node| self.includes(constraint, node)) {
                    let domain = node.labels.get(&constraint.key);
                    if let Some(count) = domain.and_then(|domain| domains.get_mut(domain)) {
                        *count += constraint.on(node, self.pod.info.namespace());
                    }
                }
                domains.len()
            };
            *weight = (size as f64 + 2.0).ln();
        }
        self.soft = soft;
        !self.soft.is_empty()
    }

    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "numbers of pods")]
    fn score(&self, node: &Node) -> i64 {
        if !self.takes_part(node) {
            return -1;
        }
        let mut sum = 0.0;
        for Soft { constraint, domains, weight } in &self.soft {
            let Some(domain) = node.labels.get(&constraint.key) else { continue };
            let count = if &*constraint.key == HOSTNAME {
                constraint.on(node, self.pod.info.namespace())
            } else {
                domains.get(domain).copied().unwrap_or(0)
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
