//! Pods that want to be near others, or far from them: their own demands, and those of pods that are there already.

use std::collections::HashMap;

use skiff_api::Object;

use crate::plugin::{BEST, Event, Judge, Plugin, Refusal};
use crate::pod::{Pending, PodInfo, Term};
use crate::snapshot::{Node, Snapshot};

pub(crate) const PLUGIN: InterPodAffinity = InterPodAffinity;

pub(crate) struct InterPodAffinity;

/// A domain: a node label's key and value.
type Domain = (Box<str>, Box<str>);

struct Neighbours<'a> {
    pod: &'a Pending,
    cluster: &'a Snapshot,
    /// Domains that pods there keep free of the likes of this one.
    forbidden: HashMap<Domain, i64>,
    /// How many pods the affinity terms find in each domain.
    near: HashMap<Domain, i64>,
    /// How many pods each anti-affinity term finds in each domain.
    far: HashMap<Domain, i64>,
    wishes: HashMap<Domain, i64>,
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn begin<'a>(&self, pod: &'a Pending, cluster: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        if pod.info.terms.is_empty() && cluster.demanding().next().is_none() {
            return None;
        }
        let mut neighbours = Neighbours {
            pod,
            cluster,
            forbidden: HashMap::new(),
            near: HashMap::new(),
            far: HashMap::new(),
            wishes: HashMap::new(),
        };
        neighbours.look_at_theirs();
        neighbours.look_at_ours();
        Some(Box::new(neighbours))
    }

    fn helps(&self, event: Event) -> bool {
        matches!(event, Event::NodeAdded | Event::NodeLabels | Event::PodPlaced | Event::PodGone)
    }
}

/// The node's domain for a term.
fn domain(node: &Node, term: &Term) -> Option<Domain> {
    let value = node.labels.get(&term.topology_key)?;
    Some((term.topology_key.clone(), value.clone()))
}

impl Neighbours<'_> {
    fn selects(&self, term: &Term, object: &Object) -> bool {
        let meta = object.meta();
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let by_labels = || {
            let held = self.cluster.namespaces.get(namespace);
            let selector = term.namespace_selector.as_ref();
            matches!((selector, held), (Some(selector), Some(held)) if selector.matches(&held.meta().labels))
        };
        (term.namespaces.contains(namespace) || by_labels())
            && term.selector.as_ref().is_some_and(|selector| selector.matches(&meta.labels))
    }

    fn look_at_theirs(&mut self) {
        let us = &self.pod.info.object;
        let (mut forbidden, mut wishes) = (HashMap::new(), HashMap::new());
        for node in self.cluster.demanding() {
            for other in node.pods.values() {
                for term in other.terms.anti.iter().filter(|term| self.selects(term, us)) {
                    if let Some(domain) = domain(node, term) {
                        *forbidden.entry(domain).or_default() += 1;
                    }
                }
                // Who requires our nearness is a little glad of it, too.
                let required = other.terms.affinity.iter().map(|term| (term, 1));
                let preferred = other.terms.preferred.iter().map(|(term, weight)| (term, *weight));
                for (term, weight) in required.chain(preferred).filter(|(term, _)| self.selects(term, us)) {
                    if let Some(domain) = domain(node, term) {
                        *wishes.entry(domain).or_default() += weight;
                    }
                }
            }
        }
        (self.forbidden, self.wishes) = (forbidden, wishes);
    }

    fn look_at_ours(&mut self) {
        let terms = &self.pod.info.terms;
        if terms.is_empty() {
            return;
        }
        let (mut near, mut far) = (HashMap::new(), HashMap::new());
        let mut wishes = std::mem::take(&mut self.wishes);
        let count = |into: &mut HashMap<Domain, i64>, node: &Node, term: &Term, weight: i64| {
            if let Some(domain) = domain(node, term) {
                *into.entry(domain).or_default() += weight;
            }
        };
        for node in self.cluster.nodes() {
            for other in node.pods.values() {
                let all = |term: &Term| self.selects(term, &other.object);
                if !terms.affinity.is_empty() && terms.affinity.iter().all(all) {
                    terms.affinity.iter().for_each(|term| count(&mut near, node, term, 1));
                }
                for term in terms.anti.iter().filter(|term| all(term)) {
                    count(&mut far, node, term, 1);
                }
                for (term, weight) in terms.preferred.iter().filter(|(term, _)| all(term)) {
                    count(&mut wishes, node, term, *weight);
                }
            }
        }
        (self.near, self.far, self.wishes) = (near, far, wishes);
    }

    /// The first of its kind may begin a group that all want to be near each other.
    fn begins_its_group(&self) -> bool {
        let us: &PodInfo = &self.pod.info;
        self.near.is_empty() && us.terms.affinity.iter().all(|term| self.selects(term, &us.object))
    }

    fn found(counts: &HashMap<Domain, i64>, node: &Node, term: &Term) -> bool {
        domain(node, term).is_some_and(|domain| counts.get(&domain).is_some_and(|count| *count > 0))
    }
}

impl Judge for Neighbours<'_> {
    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        let terms = &self.pod.info.terms;
        let mut wanted = terms.affinity.iter();
        if !terms.affinity.is_empty() {
            let labelled = terms.affinity.iter().all(|term| node.labels.contains_key(&term.topology_key));
            let near = wanted.all(|term| Self::found(&self.near, node, term));
            if !labelled || !(near || self.begins_its_group()) {
                return Err(Refusal::unsuitable("node(s) didn't match pod affinity rules"));
            }
        }
        if terms.anti.iter().any(|term| Self::found(&self.far, node, term)) {
            return Err(Refusal::crowded("node(s) didn't match pod anti-affinity rules"));
        }
        let kept_free = |(key, value): &Domain| node.labels.get(key) == Some(value);
        if self.forbidden.keys().any(kept_free) {
            return Err(Refusal::crowded("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }

    fn prepare(&mut self, _: &[&Node]) -> bool {
        !self.wishes.is_empty()
    }

    fn score(&self, node: &Node) -> i64 {
        let here = |((key, value), weight): (&Domain, &i64)| {
            (node.labels.get(key) == Some(value)).then_some(*weight)
        };
        self.wishes.iter().filter_map(here).sum()
    }

    fn normalise(&self, _: &[&Node], scores: &mut [i64]) {
        let (most, least) =
            (scores.iter().max().copied().unwrap_or(0), scores.iter().min().copied().unwrap_or(0));
        for score in scores.iter_mut() {
            *score = if most == least { 0 } else { BEST * (*score - least) / (most - least) };
        }
    }
}
