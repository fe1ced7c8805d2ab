//! Nodes and pods as of now, with those assumed bound.
//!
//! Kept current by what changed: a pod that comes or goes adds to or takes from the sums of one node. Nothing is copied
//! for a cycle: whoever runs one holds the lock, and changes wait for the length of one decision.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node as ApiNode, Taint};
use skiff_api::Object;
use skiff_api::pod::affinity::Target;
use skiff_api::pod::ports::HostPort;
use skiff_api::pod::requests::Amounts;

use crate::plugin::Event;
use crate::pod::PodInfo;
use crate::storage::Storage;

mod budgets;
mod nominations;
mod selectors;

pub(crate) use budgets::Budgets;
pub(crate) use nominations::Taken;
pub(crate) use selectors::Selectors;

/// A node and the sums of what its pods take up.
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    pub(crate) labels: BTreeMap<Box<str>, Box<str>>,
    pub(crate) taints: Vec<Taint>,
    pub(crate) unschedulable: bool,
    pub(crate) allocatable: Amounts,
    /// How many pods it may hold.
    pub(crate) room: usize,
    /// Sizes of the images it has.
    pub(crate) images: HashMap<String, i64>,
    pub(crate) requested: Amounts,
    pub(crate) assumed: (i64, i64),
    pub(crate) ports: HashMap<HostPort, usize>,
    pub(crate) pods: HashMap<Arc<str>, Arc<PodInfo>>,
    /// How many of its pods use a claim.
    pub(crate) claims: HashMap<Arc<str>, usize>,
    /// False for a node that only its pods speak of.
    known: bool,
}

/// The cluster as the scheduler sees it.
#[derive(Default)]
pub(crate) struct Snapshot {
    nodes: HashMap<Arc<str>, Node>,
    /// Known nodes in a steady order.
    order: Vec<Arc<str>>,
    /// Where each pod is, by uid; true while only assumed.
    places: HashMap<Arc<str>, (Arc<str>, bool)>,
    /// Nodes with pods that demand something of their neighbours.
    demanding: HashSet<Arc<str>>,
    /// How many nodes have an image.
    holders: HashMap<String, usize>,
    /// Labels of namespaces.
    pub(crate) namespaces: HashMap<Arc<str>, Arc<Object>>,
    /// Pods that wait for room on a node, and which.
    nominated: HashMap<Arc<str>, (Arc<PodInfo>, Arc<str>)>,
    /// Who may not be disrupted.
    pub(crate) budgets: Budgets,
    /// Who selects pods: services and controllers.
    pub(crate) selectors: Selectors,
    /// Claims and volumes.
    pub(crate) storage: Storage,
}

impl Node {
    /// The node as selectors see it.
    pub(crate) fn as_target<R>(&self, ask: impl FnOnce(Target<'_>) -> R) -> R {
        let label = |key: &str| self.labels.get(key).map(|value| &**value);
        ask(Target { name: &self.name, label: &label })
    }

    fn add(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.assumed.0 += pod.assumed.0;
        self.assumed.1 += pod.assumed.1;
        for port in &pod.ports {
            *self.ports.entry(port.clone()).or_default() += 1;
        }
        for claim in &pod.claims {
            *self.claims.entry(Arc::clone(claim)).or_default() += 1;
        }
        self.pods.insert(Arc::clone(pod.uid()), pod);
    }

    fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(uid)?;
        self.requested.subtract(&pod.requests);
        self.assumed.0 -= pod.assumed.0;
        self.assumed.1 -= pod.assumed.1;
        for port in &pod.ports {
            if let Some(count) = self.ports.get_mut(port) {
                *count -= 1;
                if *count == 0 {
                    self.ports.remove(port);
                }
            }
        }
        for claim in &pod.claims {
            if let Some(count) = self.claims.get_mut(claim) {
                *count -= 1;
                if *count == 0 {
                    self.claims.remove(claim);
                }
            }
        }
        Some(pod)
    }
}

impl Snapshot {
    /// The nodes there are.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.order.iter().filter_map(|name| self.nodes.get(name))
    }

    /// The node at a place of the steady order.
    pub(crate) fn at(&self, index: usize) -> Option<&Node> {
        self.nodes.get(self.order.get(index)?)
    }

    /// A known node.
    pub(crate) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name).filter(|node| node.known)
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Nodes with pods that demand something of their neighbours.
    pub(crate) fn demanding(&self) -> impl Iterator<Item = &Node> {
        self.demanding.iter().filter_map(|name| self.nodes.get(name))
    }

    /// How many nodes have an image.
    pub(crate) fn holders(&self, image: &str) -> usize {
        self.holders.get(image).copied().unwrap_or(0)
    }

    /// Takes in a node; what changed about it that may help waiting pods.
    pub(crate) fn put_node(&mut self, object: &Object, api: &ApiNode) -> Vec<Event> {
        let name = Arc::clone(&object.meta().name);
        let node = self.nodes.entry(Arc::clone(&name)).or_default();
        let mut events = Vec::new();
        let spec = api.spec.clone().unwrap_or_default();
        let status = api.status.clone().unwrap_or_default();
        let list = status.allocatable.or(status.capacity).unwrap_or_default();
        let mut allocatable = Amounts::of(&list);
        let room = usize::try_from(allocatable.others.remove("pods").unwrap_or(0)).unwrap_or(0);
        let taints = spec.taints.unwrap_or_default();
        let unschedulable = spec.unschedulable.unwrap_or(false);
        if !node.known {
            events.push(Event::NodeAdded);
        } else {
            if allocatable != node.allocatable || room != node.room {
                events.push(Event::NodeCapacity);
            }
            if object.meta().labels != node.labels {
                events.push(Event::NodeLabels);
            }
            if taints != node.taints || unschedulable != node.unschedulable {
                events.push(Event::NodeTaints);
            }
        }
        let mut images = HashMap::new();
        for image in status.images.iter().flatten() {
            for name in image.names.iter().flatten() {
                images.insert(image_name(name), image.size_bytes.unwrap_or(0));
            }
        }
        let before = std::mem::replace(&mut node.images, images);
        node.name = Arc::clone(&name);
        node.labels = object.meta().labels.clone();
        (node.taints, node.unschedulable) = (taints, unschedulable);
        (node.allocatable, node.room) = (allocatable, room);
        if !std::mem::replace(&mut node.known, true) {
            self.order.push(Arc::clone(&name));
        }
        if let Some(node) = self.nodes.get(&name) {
            count_images(&mut self.holders, &before, &node.images);
        }
        events
    }

    /// Forgets a node; pods that are still bound to it stay counted, should it come back.
    pub(crate) fn remove_node(&mut self, name: &str) {
        self.order.retain(|known| &**known != name);
        let Some(node) = self.nodes.get_mut(name) else { return };
        node.known = false;
        let before = std::mem::take(&mut node.images);
        let empty = node.pods.is_empty();
        count_images(&mut self.holders, &before, &HashMap::new());
        if empty {
            self.nodes.remove(name);
        }
    }

    /// Places a pod on a node, for good or only assumed. True if it was not there before.
    pub(crate) fn place(&mut self, pod: Arc<PodInfo>, node: &str, assumed: bool) -> bool {
        let uid = Arc::clone(pod.uid());
        let fresh = self.places.get(&uid).is_none_or(|(held, _)| &**held != node);
        self.displace(&uid);
        let name: Arc<str> = node.into();
        if !pod.terms.is_empty() {
            self.demanding.insert(Arc::clone(&name));
        }
        let entry = self.nodes.entry(Arc::clone(&name)).or_default();
        if entry.name.is_empty() {
            entry.name = Arc::clone(&name);
        }
        entry.add(pod);
        self.places.insert(uid, (name, assumed));
        fresh
    }

    /// Takes a pod from its node; true if it was on one.
    pub(crate) fn displace(&mut self, uid: &str) -> bool {
        let Some((name, _)) = self.places.remove(uid) else { return false };
        let Some(node) = self.nodes.get_mut(&name) else { return false };
        node.remove(uid);
        if node.pods.values().all(|pod| pod.terms.is_empty()) {
            self.demanding.remove(&name);
        }
        if node.pods.is_empty() && !node.known {
            self.nodes.remove(&name);
        }
        true
    }

    /// Takes back an assumption that came to nothing; a pod that was really bound stays.
    pub(crate) fn forget(&mut self, uid: &str) -> bool {
        matches!(self.places.get(uid), Some((_, true))) && self.displace(uid)
    }

    /// Whether the pod is on a node, be it only assumed.
    pub(crate) fn is_placed(&self, uid: &str) -> bool {
        self.places.contains_key(uid)
    }
}

fn count_images(
    holders: &mut HashMap<String, usize>,
    before: &HashMap<String, i64>,
    after: &HashMap<String, i64>,
) {
    for name in after.keys().filter(|name| !before.contains_key(*name)) {
        *holders.entry(name.clone()).or_default() += 1;
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        if let Some(count) = holders.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                holders.remove(name);
            }
        }
    }
}

/// An image's name with the tag that is meant where none is given.
pub(crate) fn image_name(name: &str) -> String {
    let after_host = name.rfind('/').map_or(0, |slash| slash + 1);
    if name[after_host..].contains(':') || name.contains('@') {
        name.to_owned()
    } else {
        format!("{name}:latest")
    }
}
