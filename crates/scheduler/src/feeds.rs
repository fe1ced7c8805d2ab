//! What changes in the cluster, turned into changes of the snapshot and events for the queue.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{
    Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController, Service,
};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::scheduling::v1beta1::PodGroup;
use k8s_openapi::api::storage::v1::{CSINode, StorageClass};
use parking_lot::Mutex;
use skiff_api::{LabelSelector, Object, Readable, pod};
use skiff_base::Tasks;
use skiff_client::cache::decode;
use skiff_client::{Cache, Change, Link, Topic};

use crate::config::Profiles;
use crate::event::Event;
use crate::plugin::Plugin;
use crate::pod::{PodInfo, likeness};
use crate::queue::Queue;
use crate::served::Served;
use crate::snapshot::Snapshot;

mod devices;
mod groups;

/// The caches behind the snapshot.
pub(crate) struct Feeds {
    pub(crate) pods: Cache,
    pub(crate) nodes: Cache,
    /// Nothing where the server has no groups.
    pub(crate) groups: Option<Cache>,
    others: Vec<Cache>,
}

impl Feeds {
    /// Follows everything that matters, telling snapshot and queue; what not every server has if this one has it.
    pub(crate) fn follow(
        link: &Link,
        served: &Served,
        snapshot: &Arc<Mutex<Snapshot>>,
        queue: &Queue,
        profiles: &Arc<Profiles>,
        tasks: &Tasks,
    ) -> Self {
        let hands =
            Hands { snapshot: Arc::clone(snapshot), queue: queue.clone(), profiles: Arc::clone(profiles) };
        let storage = [
            follow::<StorageClass>(link, tasks, &hands, |hands, change| {
                hands.storage(change, Event::ClassChanged)
            }),
            follow::<PersistentVolume>(link, tasks, &hands, |hands, change| {
                hands.storage(change, Event::VolumeChanged);
            }),
            follow::<PersistentVolumeClaim>(link, tasks, &hands, |hands, change| {
                hands.storage(change, Event::ClaimChanged(change.latest().meta().key()));
            }),
            follow::<CSINode>(link, tasks, &hands, |hands, change| {
                hands.storage(change, Event::CsiNodeChanged)
            }),
        ];
        {
            let [classes, volumes, claims, csi_nodes] = storage.clone();
            let known = &mut snapshot.lock().storage;
            (known.classes, known.volumes, known.claims, known.csi_nodes) =
                (classes, volumes, claims, csi_nodes);
        }
        // Nodes first: a pod is seldom of use before its node.
        let nodes = follow::<Node>(link, tasks, &hands, Hands::node);
        let mut others = vec![
            nodes.clone(),
            follow::<Namespace>(link, tasks, &hands, Hands::namespace),
            follow::<Service>(link, tasks, &hands, Hands::service),
            follow::<ReplicationController>(link, tasks, &hands, |hands, change| {
                hands.owner::<ReplicationController>(change, |it| {
                    Some(LabelSelector::of_map(it.spec.as_ref()?.selector.as_ref()?))
                });
            }),
            follow::<ReplicaSet>(link, tasks, &hands, |hands, change| {
                hands.owner::<ReplicaSet>(change, |it| LabelSelector::of(&it.spec.selector).ok());
            }),
            follow::<StatefulSet>(link, tasks, &hands, |hands, change| {
                hands.owner::<StatefulSet>(change, |it| LabelSelector::of(&it.spec.selector).ok());
            }),
            follow::<PodDisruptionBudget>(link, tasks, &hands, Hands::budget),
        ];
        others.extend(storage);
        others.extend(devices::follow(link, served, &hands, tasks));
        let groups = served.groups.then(|| {
            snapshot.lock().groups.followed = true;
            follow::<PodGroup>(link, tasks, &hands, Hands::group)
        });
        others.extend(groups.clone());
        // Nobody waits for what they tell: such a kind may be one that the scheduler may not read.
        for plugin in profiles.followers() {
            follow_for(plugin, link, tasks, &hands);
        }
        let pods = follow::<Pod>(link, tasks, &hands, Hands::pod);
        Self { pods, nodes, groups, others }
    }

    /// Waits until all of them have their first answer.
    pub(crate) async fn synced(&self) {
        for cache in self.others.iter().chain([&self.pods]) {
            cache.synced().await;
        }
    }
}

fn follow<K: Readable>(link: &Link, tasks: &Tasks, hands: &Hands, act: fn(&Hands, &Change)) -> Cache {
    let cache = Cache::follow(link, &Topic::of::<K>(), &[], tasks);
    let hands = hands.clone();
    cache.subscribe(move |change| act(&hands, change));
    cache
}

/// Follows a plugin's own kind.
fn follow_for(plugin: &Arc<dyn Plugin>, link: &Link, tasks: &Tasks, hands: &Hands) {
    let Some(resource) = plugin.follows() else { return };
    let topic = Topic { resource, namespace: None, labels: String::new(), fields: String::new() };
    let (plugin, queue) = (Arc::clone(plugin), hands.queue.clone());
    Cache::follow(link, &topic, &[], tasks).subscribe(move |change| {
        if let Some(event) = plugin.followed(change) {
            queue.happened(event);
        }
    });
}

#[derive(Clone)]
struct Hands {
    snapshot: Arc<Mutex<Snapshot>>,
    queue: Queue,
    profiles: Arc<Profiles>,
}

impl Hands {
    fn node(&self, change: &Change) {
        match &change.new {
            Some(object) => {
                let Some(node) = decode::<Node>(object) else { return };
                let events = self.snapshot.lock().put_node(object, &node);
                events.into_iter().for_each(|event| self.queue.happened(event));
            }
            None => {
                let gone = self.snapshot.lock().remove_node(&change.latest().meta().name);
                gone.into_iter().for_each(|event| self.queue.happened(event));
            }
        }
    }

    fn namespace(&self, change: &Change) {
        let name = Arc::clone(&change.latest().meta().name);
        self.snapshot.lock().put_namespace(name, change.new.clone());
    }

    /// Claims, volumes and classes are read from their caches; here they only wake who waits for them.
    fn storage(&self, change: &Change, event: Event) {
        let changed = Arc::clone(&self.snapshot.lock().storage.changed);
        changed.send_modify(|count| *count += 1);
        if change.new.is_some() {
            self.queue.happened(event);
        }
    }

    fn service(&self, change: &Change) {
        let selector = change.new.as_ref().and_then(|object| decode::<Service>(object));
        let selector = selector.and_then(|service| service.spec.as_ref()?.selector.clone());
        let selector = selector.map(|labels| LabelSelector::of_map(&labels));
        self.snapshot.lock().selectors.service(change.latest(), selector);
        self.queue.happened(Event::SpreadSelector);
    }

    /// A controller of pods, and how it says which are its own.
    fn owner<K: Readable>(&self, change: &Change, selector: fn(&K) -> Option<LabelSelector>) {
        // Its status changes with every pod; what it selects hardly ever.
        let known = |object: &Arc<Object>| object.meta().generation;
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && known(old) == known(new)
            && known(new) > 0
            && old.meta().uid == new.meta().uid
        {
            return;
        }
        let owner = change.new.as_ref().and_then(|object| decode::<K>(object));
        let selector = owner.and_then(|owner| selector(&owner));
        self.snapshot.lock().selectors.owner(change.latest(), selector);
    }

    fn budget(&self, change: &Change) {
        let budgets = &mut self.snapshot.lock().budgets;
        let Some(object) = &change.new else { return budgets.remove(change.latest()) };
        let Some(budget) = decode::<PodDisruptionBudget>(object) else { return };
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let selector = selector.and_then(|selector| LabelSelector::of(selector).ok());
        let allowed = budget.status.as_ref().and_then(|status| status.disruptions_allowed).unwrap_or(0);
        budgets.put(object, selector, allowed);
    }

    fn pod(&self, change: &Change) {
        let uid = &change.latest().meta().uid;
        // Another pod under the same name: the one before is gone.
        if let Some(old) = change.old.as_ref().filter(|old| old.meta().uid != *uid) {
            self.leave(&old.meta().uid);
        }
        let Some(object) = &change.new else { return self.leave(uid) };
        let Some(pod) = decode::<Pod>(object) else { return };
        if pod::is_finished(&pod) {
            return self.leave(uid);
        }
        self.show(Some(object), uid);
        match pod::node_name(&pod) {
            Some(node) => {
                self.queue.remove(uid);
                {
                    let mut snapshot = self.snapshot.lock();
                    snapshot.denominate(uid);
                    snapshot.waiting.bound(uid);
                    snapshot.devices.parked.leave(uid);
                }
                let info = Arc::new(PodInfo::new(Arc::clone(object), &pod));
                let relabelled =
                    change.old.as_ref().is_some_and(|old| old.meta().labels != object.meta().labels);
                let mut snapshot = self.snapshot.lock();
                let shrunk = snapshot.placed(uid).is_some_and(|held| asks_less(&info, held));
                let fresh = snapshot.place(Arc::clone(&info), node, false);
                drop(snapshot);
                self.seat(&info, &pod);
                match relabelled.then(|| change.old.clone()).flatten() {
                    _ if fresh => self.queue.happened(Event::PodPlaced(info)),
                    Some(before) => self.queue.happened(Event::PodRelabelled(before, info)),
                    None => {}
                }
                if shrunk {
                    self.queue.happened(Event::PodShrunk);
                }
            }
            None if may_be_placed(&pod) && self.profiles.of(&pod).is_some() => self.want(object, &pod),
            None => self.retire(uid),
        }
    }

    fn want(&self, object: &Arc<Object>, pod: &Pod) {
        let meta = object.meta();
        // Assumed and on its way: its binding decides.
        if self.snapshot.lock().is_placed(&meta.uid) {
            return;
        }
        let spec = pod.spec.as_ref();
        let priority = spec.and_then(|spec| spec.priority).unwrap_or(0);
        let nominated = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
        if let Some(node) = nominated.filter(|node| !node.is_empty()) {
            self.snapshot.lock().nominate(Arc::new(PodInfo::new(Arc::clone(object), pod)), node);
        }
        let likeness = likeness(object, pod);
        if self.parks(object, pod) || self.join(object, pod, likeness) {
            return;
        }
        self.queue.put(&meta.uid, &meta.key(), priority, likeness);
    }

    /// Lets plugins see a pod that go by more than the snapshot.
    fn show(&self, pod: Option<&Object>, uid: &Arc<str>) {
        for event in self.profiles.followers().filter_map(|plugin| plugin.sees(pod, uid)) {
            self.queue.happened(event);
        }
    }

    fn leave(&self, uid: &Arc<str>) {
        self.show(None, uid);
        self.retire(uid);
        let left = {
            let mut snapshot = self.snapshot.lock();
            // Room that was kept for it is free as well.
            let waited = snapshot.denominate(uid);
            snapshot.displace(uid).or(waited)
        };
        if let Some(pod) = left {
            self.queue.happened(Event::PodGone(pod));
        }
    }
}

/// Whether a pod asks for less of something than it did.
fn asks_less(now: &PodInfo, before: &PodInfo) -> bool {
    before.requests.iter().any(|(name, amount)| now.requests.get(name) < amount)
}

/// A pod that may be placed now: not on its way out, and with nothing holding it back.
fn may_be_placed(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    !gated && pod.metadata.deletion_timestamp.is_none()
}
