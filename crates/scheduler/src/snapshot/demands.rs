//! What pods that have their node demand of others: equal demands are one, with the number of pods that make it on each
//! node and in each domain of its key.

use std::collections::HashMap;
use std::sync::Arc;

use super::Node;
use super::counts::{Counts, Domains, NodeId};
use super::index::Index;
use super::topology::{KeyId, Topology, Whereabouts};
use crate::pod::{Namespaces, PodInfo, Term, Terms};

/// What a demand means for the pods it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// They must stay away.
    Away,
    /// They must be near, or the pod could not have come: it is glad of more.
    Near,
    /// Their nearness is wanted so much.
    Wish(i64),
}

type Key = (Kind, Term);

struct Demand {
    key: Arc<Key>,
    /// The number of its topology key.
    at: KeyId,
    counts: Counts,
    pods: usize,
}

/// All demands of pods that have their node.
#[derive(Default)]
pub(crate) struct Demands {
    ids: HashMap<Arc<Key>, u32>,
    demands: HashMap<u32, Demand>,
    index: Index,
    next: u32,
}

/// The demands of a pod, each with its kind.
fn keys(terms: &Terms) -> impl Iterator<Item = Key> {
    let away = terms.anti.iter().map(|term| (Kind::Away, term.clone()));
    let near = terms.affinity.iter().map(|term| (Kind::Near, term.clone()));
    away.chain(near).chain(terms.preferred.iter().map(|(term, weight)| (Kind::Wish(*weight), term.clone())))
}

impl Demands {
    /// A pod came to a node.
    pub(super) fn add(&mut self, pod: &PodInfo, node: &Node, topology: &Topology) {
        for key in keys(&pod.terms) {
            let Some(at) = topology.id(&key.1.topology_key) else { continue };
            let id = self.id(key, at);
            if let Some(demand) = self.demands.get_mut(&id) {
                demand.pods += 1;
                demand.counts.add(node.id, &node.whereabouts, 1);
            }
        }
    }

    /// A pod left its node.
    pub(super) fn remove(&mut self, pod: &PodInfo, node: &Node) {
        for key in keys(&pod.terms) {
            let Some(id) = self.ids.get(&key).copied() else { continue };
            let Some(demand) = self.demands.get_mut(&id) else { continue };
            demand.pods -= 1;
            demand.counts.add(node.id, &node.whereabouts, -1);
            if demand.pods == 0 {
                self.demands.remove(&id);
                self.ids.remove(&key);
                self.index.remove(id, key.1.scope.only_namespace());
            }
        }
    }

    fn id(&mut self, key: Key, at: KeyId) -> u32 {
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        let (key, id) = (Arc::new(key), self.next);
        self.next = self.next.wrapping_add(1);
        self.index.add(id, key.1.scope.only_namespace());
        self.ids.insert(Arc::clone(&key), id);
        let mut counts = Counts::default();
        counts.cover(at, |_| None);
        self.demands.insert(id, Demand { key, at, counts, pods: 0 });
        id
    }

    pub(super) fn relabel(&mut self, node: NodeId, before: &Whereabouts, after: &Whereabouts) {
        self.demands.values_mut().for_each(|demand| demand.counts.relabel(node, before, after));
    }

    /// All numbers, by demand.
    #[cfg(test)]
    pub(super) fn numbers(&self) -> HashMap<Key, Counts> {
        self.demands.values().map(|demand| ((*demand.key).clone(), demand.counts.clone())).collect()
    }

    /// The demands that are about a pod, and where they are made: the key, and how often in which domain.
    pub(crate) fn about<'a>(
        &'a self,
        pod: &'a PodInfo,
        namespaces: &'a Namespaces,
    ) -> impl Iterator<Item = (Kind, KeyId, &'a Domains)> {
        let demands = self.index.about(pod.namespace()).filter_map(|id| self.demands.get(&id));
        let ours = demands.filter(|demand| demand.key.1.scope.selects(pod.object.meta(), namespaces));
        ours.filter_map(|demand| Some((demand.key.0, demand.at, demand.counts.by(demand.at)?)))
    }
}
