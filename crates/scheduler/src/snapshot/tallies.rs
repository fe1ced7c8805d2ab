//! How many pods there are of the groups that pods on their way ask for: by affinity, or because they are spread.
//!
//! A group is counted from scratch when somebody first asks for it, and kept current from then on; what nobody asked for
//! lately is forgotten. Whoever finds a group not followed counts it on the spot, so that following is never more than a
//! saving.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::counts::{Counts, NodeId};
use super::index::Index;
use super::topology::{KeyId, Whereabouts};
use super::{Node, Snapshot};
use crate::pod::{Namespaces, PodInfo, Scope};

/// More groups than this are not followed at a time.
const MOST: usize = 2_048;

/// Pods that all of some scopes select.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    pub(crate) scopes: Vec<Scope>,
    /// Without those that are on their way out.
    pub(crate) staying: bool,
}

struct Tally {
    group: Arc<Group>,
    counts: Counts,
    /// When it was last asked for.
    used: u64,
}

/// The groups that are followed.
#[derive(Default)]
pub(crate) struct Tallies {
    ids: HashMap<Arc<Group>, u32>,
    tallies: HashMap<u32, Tally>,
    index: Index,
    /// Counts askings, and gives tallies their number.
    clock: u64,
    next: u32,
}

impl Group {
    /// Whether a pod belongs to it.
    pub(crate) fn has(&self, pod: &PodInfo, namespaces: &Namespaces) -> bool {
        let meta = pod.object.meta();
        !(self.staying && pod.is_leaving()) && self.scopes.iter().all(|scope| scope.selects(meta, namespaces))
    }

    fn only_namespace(&self) -> Option<&str> {
        self.scopes.iter().find_map(Scope::only_namespace)
    }
}

impl Tallies {
    /// A pod came to a node (1) or left it (-1).
    pub(super) fn moved(&mut self, pod: &PodInfo, node: &Node, namespaces: &Namespaces, number: i64) {
        for id in self.index.about(pod.namespace()) {
            if let Some(tally) = self.tallies.get_mut(&id)
                && tally.group.has(pod, namespaces)
            {
                tally.counts.add(node.id, &node.whereabouts, number);
            }
        }
    }

    pub(super) fn relabel(&mut self, node: NodeId, before: &Whereabouts, after: &Whereabouts) {
        self.tallies.values_mut().for_each(|tally| tally.counts.relabel(node, before, after));
    }

    /// Forgets the groups that a change of a namespace's labels may concern; they are counted anew when asked for.
    pub(super) fn forget_wide(&mut self) {
        let wide = |tally: &Tally| tally.group.scopes.iter().any(|scope| scope.namespace_selector.is_some());
        self.retain(|tally| !wide(tally));
    }

    fn retain(&mut self, keep: impl Fn(&Tally) -> bool) {
        let (ids, index) = (&mut self.ids, &mut self.index);
        self.tallies.retain(|id, tally| {
            let stays = keep(tally);
            if !stays {
                ids.remove(&tally.group);
                index.remove(*id, tally.group.only_namespace());
            }
            stays
        });
    }

    /// Makes room by forgetting what was asked for longest ago.
    fn make_room(&mut self) {
        if self.tallies.len() >= MOST {
            let mut times: Vec<u64> = self.tallies.values().map(|tally| tally.used).collect();
            times.sort_unstable();
            let oldest = times[MOST / 4];
            self.retain(|tally| tally.used > oldest);
        }
    }
}

impl Snapshot {
    /// Follows a group from now on, by nodes and by these keys.
    pub(crate) fn track(&mut self, group: &Group, keys: &[&str]) {
        let keys: Vec<KeyId> = keys.iter().map(|key| self.cover(key)).collect();
        self.tallies.clock += 1;
        let now = self.tallies.clock;
        let id = match self.tallies.ids.get(group) {
            Some(id) => *id,
            None => {
                self.tallies.make_room();
                let (group, id) = (Arc::new(group.clone()), self.tallies.next);
                let counts = self.count(&group, &mut std::iter::empty());
                self.tallies.next = self.tallies.next.wrapping_add(1);
                self.tallies.index.add(id, group.only_namespace());
                self.tallies.ids.insert(Arc::clone(&group), id);
                self.tallies.tallies.insert(id, Tally { group, counts, used: now });
                id
            }
        };
        let nodes = &self.nodes;
        if let Some(tally) = self.tallies.tallies.get_mut(&id) {
            tally.used = now;
            for key in keys {
                tally.counts.cover(key, |node| nodes.get(node as usize).map(|node| &node.whereabouts));
            }
        }
    }

    /// The numbers of a group, by these keys; a key that nobody follows has no domains.
    pub(crate) fn tally(&self, group: &Group, keys: &[&str]) -> Cow<'_, Counts> {
        let mut keys = keys.iter().filter_map(|key| self.topology.id(key));
        let held = self.tallies.ids.get(group).and_then(|id| self.tallies.tallies.get(id));
        match held.filter(|tally| keys.clone().all(|key| tally.counts.by(key).is_some())) {
            Some(tally) => Cow::Borrowed(&tally.counts),
            None => Cow::Owned(self.count(group, &mut keys)),
        }
    }

    /// Counts from scratch.
    pub(super) fn count(&self, group: &Group, keys: &mut dyn Iterator<Item = KeyId>) -> Counts {
        let mut counts = Counts::default();
        keys.for_each(|key| counts.cover(key, |_| None));
        for node in &self.nodes {
            let ours = node.pods.values().filter(|pod| group.has(pod, &self.namespaces)).count();
            if ours > 0 {
                counts.add(node.id, &node.whereabouts, i64::try_from(ours).unwrap_or(i64::MAX));
            }
        }
        counts
    }

    /// Follows no group any more.
    #[cfg(test)]
    pub(super) fn forget_groups(&mut self) {
        self.tallies.retain(|_| false);
    }
}
