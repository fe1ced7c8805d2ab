//! Nodes and pods as of now, with those assumed bound.
//!
//! Kept current by what changed: a pod that comes or goes adds to or takes from the sums of one node, from the numbers of
//! the groups it belongs to and from what pods demand of each other. Every change of a node has a number, so that whoever
//! remembers a judgement of a node knows when to judge it anew ([`Snapshot::changed_since`]). Nothing is copied for a
//! cycle: whoever runs one holds the lock, and changes wait for the length of one decision.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node as ApiNode;
use skiff_api::Object;

use crate::devices::Devices;
use crate::event::{Event, Facts};
use crate::pod::{Namespaces, PodInfo};
use crate::storage::Storage;

mod budgets;
mod counts;
mod demands;
mod groups;
mod images;
mod index;
mod node;
mod nominations;
mod selectors;
mod tallies;
mod topology;
mod waiting;

pub(crate) use budgets::Budgets;
pub(crate) use counts::{Counts, Domains, NodeId, Numbers};
pub(crate) use demands::{Demands, Kind};
pub(crate) use groups::{Group as PodGroup, Groups, Member};
pub(crate) use images::{Holders, image_name};
pub(crate) use node::Node;
pub(crate) use nominations::Taken;
pub(crate) use selectors::Selectors;
pub(crate) use tallies::Group;
pub(crate) use topology::{DomainId, KeyId, Labels, Topology};
pub(crate) use waiting::{Answer, Rejection, Waiting, Word};

/// The cluster as the scheduler sees it.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// By number; numbers of nodes that are gone are given out again.
    nodes: Vec<Node>,
    ids: HashMap<Arc<str>, NodeId>,
    free: Vec<NodeId>,
    /// Known nodes in a steady order.
    order: Vec<NodeId>,
    /// Nodes by the number of their last change.
    recent: BTreeMap<u64, NodeId>,
    generation: u64,
    /// Where each pod is, by uid; true while only assumed.
    places: HashMap<Arc<str>, (NodeId, bool)>,
    /// How many nodes have taints that ask to stay away.
    avoided: usize,
    /// How many nodes have an image.
    pub(crate) holders: Holders,
    /// Which values nodes have for the keys that pods look at.
    pub(crate) topology: Topology,
    tallies: tallies::Tallies,
    /// What placed pods demand of others.
    pub(crate) demands: Demands,
    /// Namespaces with their labels.
    namespaces: Namespaces,
    /// Pods that wait for room on a node, and which.
    nominated: HashMap<Arc<str>, (Arc<PodInfo>, Arc<str>)>,
    /// Who may not be disrupted.
    pub(crate) budgets: Budgets,
    /// Who selects pods: services and controllers.
    pub(crate) selectors: Selectors,
    /// Claims and volumes.
    pub(crate) storage: Storage,
    /// Devices, and claims for them.
    pub(crate) devices: Devices,
    /// Groups of pods that go together.
    pub(crate) groups: Groups,
    /// Pods that have their room and wait to be let go.
    pub(crate) waiting: Waiting,
}

impl Snapshot {
    /// The nodes there are.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.order.iter().filter_map(|id| self.nodes.get(*id as usize))
    }

    /// The node at a place of the steady order.
    pub(crate) fn at(&self, index: usize) -> Option<&Node> {
        self.nodes.get(*self.order.get(index)? as usize)
    }

    /// A known node.
    pub(crate) fn node(&self, name: &str) -> Option<&Node> {
        self.by_name(name).filter(|node| node.known)
    }

    /// The node with a number; it may be one that is not known.
    pub(crate) fn numbered(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id as usize)
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// How many nodes have taints that ask to stay away.
    pub(crate) fn avoided(&self) -> usize {
        self.avoided
    }

    /// Namespaces with their labels.
    pub(crate) fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// The number of the last change of any node.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The numbers of nodes that came, changed or went after a change.
    pub(crate) fn changed_since(&self, generation: u64) -> impl Iterator<Item = NodeId> {
        self.recent.range(generation + 1..).map(|(_, id)| *id)
    }

    fn by_name(&self, name: &str) -> Option<&Node> {
        self.nodes.get(*self.ids.get(name)? as usize)
    }

    /// The number of a node, known or not.
    fn id(&mut self, name: &Arc<str>) -> NodeId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            NodeId::try_from(self.nodes.len() - 1).unwrap_or(NodeId::MAX)
        });
        let node = &mut self.nodes[id as usize];
        (node.id, node.name) = (id, Arc::clone(name));
        self.ids.insert(Arc::clone(name), id);
        id
    }

    fn touch(&mut self, id: NodeId) {
        self.generation += 1;
        let before = std::mem::replace(&mut self.nodes[id as usize].generation, self.generation);
        self.recent.remove(&before);
        self.recent.insert(self.generation, id);
    }

    /// Gives the number of a node free that nobody speaks of any more.
    fn free_if_gone(&mut self, id: NodeId) {
        let node = &mut self.nodes[id as usize];
        if node.known || !node.pods.is_empty() {
            return;
        }
        let gone = std::mem::replace(node, Node { id, generation: node.generation, ..Node::default() });
        self.ids.remove(&gone.name);
        self.free.push(id);
    }

    /// Takes in a node; what changed about it that may help waiting pods.
    pub(crate) fn put_node(&mut self, object: &Object, api: &ApiNode) -> Vec<Event> {
        let id = self.id(&object.meta().name);
        let node = &mut self.nodes[id as usize];
        let images = images::of(api);
        if !node.known {
            self.order.push(id);
        }
        let same_images = images == node.images;
        let before = std::mem::replace(&mut node.images, images);
        self.holders.change(&before, &node.images);
        self.avoided -= usize::from(node.is_avoided());
        let labels = std::mem::take(&mut node.labels);
        node.labels.clone_from(&labels);
        let events = node.update(object, api);
        self.avoided += usize::from(node.is_avoided());
        if labels != node.labels {
            self.relabel(id);
        }
        if !events.is_empty() || !same_images {
            self.touch(id);
        }
        events
    }

    /// A node has other labels than before: tells everybody who counts by label.
    fn relabel(&mut self, id: NodeId) {
        let node = &mut self.nodes[id as usize];
        let after = self.topology.enter(&node.labels);
        let before = std::mem::replace(&mut node.whereabouts, after);
        self.topology.leave(&before);
        self.tallies.relabel(id, &before, &node.whereabouts);
        self.demands.relabel(id, &before, &node.whereabouts);
    }

    /// Follows a key of labels from now on.
    fn cover(&mut self, key: &str) -> KeyId {
        if let Some(id) = self.topology.id(key) {
            return id;
        }
        let id = self.topology.cover(key);
        for node in self.nodes.iter_mut().filter(|node| node.known) {
            self.topology.learn(id, &node.labels, &mut node.whereabouts);
        }
        id
    }

    /// Forgets a node; pods that are still bound to it stay counted, should it come back.
    pub(crate) fn remove_node(&mut self, name: &str) -> Option<Event> {
        let id = self.ids.get(name).copied()?;
        self.order.retain(|known| *known != id);
        let node = &mut self.nodes[id as usize];
        let gone = node.known.then(|| Event::NodeGone(Arc::new(Facts::of(node))));
        node.known = false;
        self.waiting.lost(name);
        self.avoided -= usize::from(node.is_avoided());
        node.taints.clear();
        let images = std::mem::take(&mut node.images);
        self.holders.change(&images, &HashMap::new());
        node.labels.clear();
        self.relabel(id);
        self.touch(id);
        self.free_if_gone(id);
        gone
    }

    /// Takes in a namespace as it now is, or forgets it.
    pub(crate) fn put_namespace(&mut self, name: Arc<str>, object: Option<Arc<Object>>) {
        let labels = |object: Option<&Arc<Object>>| object.map(|object| object.meta().labels.clone());
        let after = labels(object.as_ref());
        let before = match object {
            Some(object) => self.namespaces.insert(name, object),
            None => self.namespaces.remove(&name),
        };
        if labels(before.as_ref()) != after {
            self.tallies.forget_wide();
        }
    }

    /// Places a pod on a node, for good or only assumed. True if it is there for good and was not before.
    pub(crate) fn place(&mut self, pod: Arc<PodInfo>, node: &str, assumed: bool) -> bool {
        let uid = Arc::clone(pod.uid());
        let here = |(id, _): &(NodeId, bool)| *self.nodes[*id as usize].name == *node;
        let held = self.places.get(&uid).copied().filter(here);
        let fresh = !assumed && held.is_none_or(|(_, only_assumed)| only_assumed);
        if let Some((id, _)) = held {
            let slot = self.nodes[id as usize].pods.get_mut(&uid);
            if let Some(slot) = slot.filter(|slot| slot.weighs_as(&pod)) {
                *slot = pod;
                self.places.insert(uid, (id, assumed));
                return fresh;
            }
        }
        self.displace(&uid);
        for term in pod.terms.all() {
            self.cover(&term.topology_key);
        }
        let id = self.id(&node.into());
        let node = &mut self.nodes[id as usize];
        node.add(Arc::clone(&pod));
        self.tallies.moved(&pod, node, &self.namespaces, 1);
        self.demands.add(&pod, node, &self.topology);
        self.places.insert(uid, (id, assumed));
        self.touch(id);
        fresh
    }

    /// Takes a pod from its node, if it is on one.
    pub(crate) fn displace(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let (id, _) = self.places.remove(uid)?;
        let node = &mut self.nodes[id as usize];
        let pod = node.remove(uid);
        if let Some(pod) = &pod {
            self.tallies.moved(pod, node, &self.namespaces, -1);
            self.demands.remove(pod, node);
        }
        self.touch(id);
        self.free_if_gone(id);
        pod
    }

    /// A pod that is on a node.
    pub(crate) fn placed(&self, uid: &str) -> Option<&Arc<PodInfo>> {
        self.nodes.get(self.places.get(uid)?.0 as usize)?.pods.get(uid)
    }

    /// Takes back an assumption that came to nothing; a pod that was really bound stays.
    pub(crate) fn forget(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        matches!(self.places.get(uid), Some((_, true))).then(|| self.displace(uid)).flatten()
    }

    /// Whether the pod is on a node, be it only assumed.
    pub(crate) fn is_placed(&self, uid: &str) -> bool {
        self.places.contains_key(uid)
    }
}

#[cfg(test)]
mod tests;
