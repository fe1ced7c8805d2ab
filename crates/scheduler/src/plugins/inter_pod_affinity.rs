//! Pods that want to be near others, or far from them: their own demands, and those of pods that are there already.
//!
//! Follows upstream's `plugins/interpodaffinity`. Nothing is counted here: the snapshot knows how many pods of a group
//! each domain has, and how often which demand is made where.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use skiff_api::{Errors, Meta};

use crate::config;
use crate::event::{Event, Hope};
use crate::plugin::{BEST, Judge, Plugin, Refusal};
use crate::pod::{Pending, Term};
use crate::snapshot::{Counts, Domains, Group, KeyId, Kind, Node, Snapshot};

#[derive(Clone, Copy)]
pub(crate) struct InterPodAffinity {
    /// How glad a placed pod that requires nearness is of more.
    hard_weight: i64,
    /// Whether the wishes of placed pods count for pods that have none themselves.
    hears_wishes: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Args {
    hard_pod_affinity_weight: Option<i64>,
    ignore_preferred_terms_of_existing_pods: bool,
}

/// A term of the pod and how many pods it finds.
struct Found<'a> {
    /// The number of its topology key.
    key: Option<KeyId>,
    counts: Cow<'a, Counts>,
}

struct Neighbours<'a> {
    /// Keys and domains that pods there keep free of the likes of this one.
    forbidden: Vec<(KeyId, &'a Domains)>,
    /// What the affinity terms find: pods that all of them select.
    near: Vec<Found<'a>>,
    /// The first of its kind may begin a group that all want to be near each other.
    begins_its_group: bool,
    /// What each anti-affinity term finds.
    far: Vec<Found<'a>>,
    /// What placed pods wish: how much, for each of them in the node's domain.
    theirs: Vec<(i64, KeyId, &'a Domains)>,
    /// What the pod wishes, likewise.
    ours: Vec<(i64, Found<'a>)>,
}

impl Default for InterPodAffinity {
    fn default() -> Self {
        Self { hard_weight: 1, hears_wishes: true }
    }
}

/// The plugin as a profile wants it.
pub(crate) fn configured(args: &Value, errors: &mut Errors) -> Arc<dyn Plugin> {
    let args: Args = config::args(args, errors);
    let hard_weight = args.hard_pod_affinity_weight.unwrap_or(1);
    if !(0..=100).contains(&hard_weight) {
        errors.invalid("hardPodAffinityWeight", &hard_weight, "not in valid range [0, 100]");
    }
    Arc::new(InterPodAffinity { hard_weight, hears_wishes: !args.ignore_preferred_terms_of_existing_pods })
}

fn all_of<'a>(terms: impl Iterator<Item = &'a Term>) -> Group {
    Group { scopes: terms.map(|term| term.scope.clone()).collect(), staying: false }
}

/// The groups that the pod's terms ask for, each with its keys.
fn groups(pod: &Pending) -> Vec<(Group, Vec<&str>)> {
    let terms = &pod.info.terms;
    let mut groups = Vec::new();
    if !terms.affinity.is_empty() {
        let keys = terms.affinity.iter().map(|term| &*term.topology_key).collect();
        groups.push((all_of(terms.affinity.iter()), keys));
    }
    let single = terms.anti.iter().chain(terms.preferred.iter().map(|(term, _)| term));
    groups.extend(single.map(|term| (all_of([term].into_iter()), vec![&*term.topology_key])));
    groups
}

fn find<'a>(cluster: &'a Snapshot, term: &Term) -> Found<'a> {
    let counts = cluster.tally(&all_of([term].into_iter()), &[&term.topology_key]);
    Found { key: cluster.topology.id(&term.topology_key), counts }
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn track(&self, pod: &Pending, cluster: &mut Snapshot) {
        for (group, keys) in groups(pod) {
            cluster.track(&group, &keys);
        }
    }

    fn begin<'a>(&self, pod: &'a Pending, cluster: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        let terms = &pod.info.terms;
        let (mut forbidden, mut theirs) = (Vec::new(), Vec::new());
        let hears = self.hears_wishes || !terms.preferred.is_empty();
        for (kind, key, domains) in cluster.demands.about(&pod.info, cluster.namespaces()) {
            match kind {
                Kind::Away => forbidden.push((key, domains)),
                Kind::Near if hears => theirs.push((self.hard_weight, key, domains)),
                Kind::Wish(weight) if hears => theirs.push((weight, key, domains)),
                Kind::Near | Kind::Wish(_) => {}
            }
        }
        if terms.is_empty() && forbidden.is_empty() && theirs.is_empty() {
            return None;
        }
        let near: Vec<Found<'a>> = match groups(pod).into_iter().next().filter(|_| !terms.affinity.is_empty())
        {
            Some((group, keys)) => {
                let found = |term: &Term| {
                    let key = cluster.topology.id(&term.topology_key);
                    Found { key, counts: cluster.tally(&group, &keys) }
                };
                terms.affinity.iter().map(found).collect()
            }
            None => Vec::new(),
        };
        let own = |term: &Term| term.scope.selects(pod.info.object.meta(), cluster.namespaces());
        let begins_its_group = near.iter().all(Found::is_empty) && terms.affinity.iter().all(own);
        let far = terms.anti.iter().map(|term| find(cluster, term)).collect();
        let ours = terms.preferred.iter().map(|(term, weight)| (*weight, find(cluster, term))).collect();
        Some(Box::new(Neighbours { forbidden, near, begins_its_group, far, theirs, ours }))
    }

    fn hope(&self, pod: &Pending, cluster: &Snapshot) -> Hope {
        let about = cluster.demands.about(&pod.info, cluster.namespaces());
        // Others keep their domains free of it; which labels make those does not matter here.
        let kept_away = about.into_iter().any(|(kind, ..)| kind == Kind::Away);
        let pod = Arc::clone(&pod.info);
        Hope::of_placed_too(move |event| {
            let terms = &pod.terms;
            let near = |other: &Meta| terms.affinity.iter().any(|term| may_select(term, other));
            let far = |other: &Meta| terms.anti.iter().any(|term| may_select(term, other));
            let keys = || terms.affinity.iter().chain(&terms.anti).map(|term| &*term.topology_key);
            match event {
                Event::NodeAdded(node) => {
                    terms.affinity.iter().all(|term| node.labels.contains_key(&*term.topology_key))
                }
                Event::NodeLabels(turn) => {
                    let (before, now) = (&turn.before.labels, &turn.now.labels);
                    kept_away || keys().any(|key| before.get(key) != now.get(key))
                }
                Event::PodPlaced(other) => near(other.object.meta()),
                Event::PodRelabelled(before, now) => {
                    let (before, now) = (before.meta(), now.object.meta());
                    (near(now) && !near(before)) || (far(before) && !far(now)) || kept_away
                }
                Event::PodGone(other) => {
                    let meta = other.object.meta();
                    let kept_away =
                        || other.terms.anti.iter().any(|term| may_select(term, pod.object.meta()));
                    // Once the last one is gone the pod may be the first of its group.
                    far(meta) || near(meta) || kept_away()
                }
                _ => false,
            }
        })
    }
}

impl Found<'_> {
    fn domains(&self) -> Option<&Domains> {
        self.counts.by(self.key?)
    }

    fn is_empty(&self) -> bool {
        self.domains().is_none_or(Domains::is_empty)
    }

    /// How many are in the node's domain.
    fn on(&self, node: &Node) -> i64 {
        self.key.zip(self.domains()).map_or(0, |(key, domains)| there(domains, key, node))
    }
}

/// Whether a term may be about a pod; namespaces that it finds by label count in any case.
fn may_select(term: &Term, pod: &Meta) -> bool {
    let scope = &term.scope;
    let namespace = pod.namespace.as_deref().unwrap_or_default();
    scope.picks(pod) && (scope.namespace_selector.is_some() || scope.namespaces.contains(namespace))
}

fn there(domains: &Domains, key: KeyId, node: &Node) -> i64 {
    node.whereabouts.of(key).map_or(0, |domain| domains.of(domain))
}

impl Judge for Neighbours<'_> {
    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        if !self.near.is_empty() {
            let labelled =
                self.near.iter().all(|found| found.key.is_some_and(|key| node.whereabouts.has(key)));
            let near = || self.near.iter().all(|found| found.on(node) > 0);
            if !labelled || !(near() || self.begins_its_group) {
                return Err(Refusal::unsuitable("node(s) didn't match pod affinity rules"));
            }
        }
        if self.far.iter().any(|found| found.on(node) > 0) {
            return Err(Refusal::crowded("node(s) didn't match pod anti-affinity rules"));
        }
        if self.forbidden.iter().any(|(key, domains)| there(domains, *key, node) > 0) {
            return Err(Refusal::crowded("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }

    fn prepare(&mut self, _: &[&Node]) -> bool {
        !self.theirs.is_empty() || self.ours.iter().any(|(_, found)| !found.is_empty())
    }

    fn score(&self, node: &Node) -> i64 {
        let theirs = self.theirs.iter().map(|(weight, key, domains)| weight * there(domains, *key, node));
        theirs.sum::<i64>() + self.ours.iter().map(|(weight, found)| weight * found.on(node)).sum::<i64>()
    }

    fn normalise(&self, _: &[&Node], scores: &mut [i64]) {
        let (most, least) =
            (scores.iter().max().copied().unwrap_or(0), scores.iter().min().copied().unwrap_or(0));
        for score in scores.iter_mut() {
            *score = if most == least { 0 } else { BEST * (*score - least) / (most - least) };
        }
    }
}
