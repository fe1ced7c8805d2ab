//! What changes in the cluster, turned into changes of the snapshot and events for the queue.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController, Service,
};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::{CSINode, StorageClass};
use parking_lot::Mutex;
use skiff_api::{LabelSelector, Object, Readable, pod};
use skiff_base::Tasks;
use skiff_client::cache::decode;
use skiff_client::{Cache, Change, Link, Topic};

use crate::NAME;
use crate::plugin::Event;
use crate::pod::{PodInfo, likeness};
use crate::queue::Queue;
use crate::snapshot::Snapshot;

/// The caches behind the snapshot.
pub(crate) struct Feeds {
    pub(crate) pods: Cache,
    others: Vec<Cache>,
}

impl Feeds {
    /// Follows everything that matters, telling snapshot and queue.
    pub(crate) fn follow(link: &Link, snapshot: &Arc<Mutex<Snapshot>>, queue: &Queue, tasks: &Tasks) -> Self {
        let hands = Hands { snapshot: Arc::clone(snapshot), queue: queue.clone() };
        let storage = [
            follow::<StorageClass>(link, tasks, &hands, |hands, change| {
                hands.storage(change, Event::ClassChanged)
            }),
            follow::<PersistentVolume>(link, tasks, &hands, |hands, change| {
                hands.storage(change, Event::VolumeChanged);
            }),
            follow::<PersistentVolumeClaim>(link, tasks, &hands, |hands, change| {
                hands.storage(change, Event::ClaimChanged);
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
        let mut others = vec![
            follow::<Node>(link, tasks, &hands, Hands::node),
            follow::<Namespace>(link, tasks, &hands, Hands::namespace),
            follow::<Service>(link, tasks, &hands, Hands::service),
            follow::<ReplicationController>(link, tasks, &hands, Hands::controller),
            follow::<PodDisruptionBudget>(link, tasks, &hands, Hands::budget),
        ];
        others.extend(storage);
        let pods = follow::<Pod>(link, tasks, &hands, Hands::pod);
        Self { pods, others }
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

#[derive(Clone)]
struct Hands {
    snapshot: Arc<Mutex<Snapshot>>,
    queue: Queue,
}

impl Hands {
    fn node(&self, change: &Change) {
        match &change.new {
            Some(object) => {
                let Some(node) = decode::<Node>(object) else { return };
                let events = self.snapshot.lock().put_node(object, &node);
                events.into_iter().for_each(|event| self.queue.happened(event));
            }
            None => self.snapshot.lock().remove_node(&change.latest().meta().name),
        }
    }

    fn namespace(&self, change: &Change) {
        let name = Arc::clone(&change.latest().meta().name);
        let namespaces = &mut self.snapshot.lock().namespaces;
        match &change.new {
            Some(object) => namespaces.insert(name, Arc::clone(object)),
            None => namespaces.remove(&name),
        };
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

    fn controller(&self, change: &Change) {
        let selector = change.new.as_ref().and_then(|object| decode::<ReplicationController>(object));
        let selector = selector.and_then(|controller| controller.spec.as_ref()?.selector.clone());
        let selector = selector.map(|labels| LabelSelector::of_map(&labels));
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
        match pod::node_name(&pod) {
            Some(node) => {
                self.queue.remove(uid);
                self.snapshot.lock().denominate(uid);
                let info = Arc::new(PodInfo::new(Arc::clone(object), &pod));
                let relabelled =
                    change.old.as_ref().is_some_and(|old| old.meta().labels != object.meta().labels);
                let fresh = self.snapshot.lock().place(info, node, false);
                if fresh || relabelled {
                    self.queue.happened(Event::PodPlaced);
                }
            }
            None if is_ours(&pod) => self.want(object, &pod),
            None => self.queue.remove(uid),
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
        let likeness = spec.map_or(0, |spec| likeness(object, spec));
        self.queue.put(&meta.uid, &meta.key(), priority, likeness);
    }

    fn leave(&self, uid: &str) {
        self.queue.remove(uid);
        let left = {
            let mut snapshot = self.snapshot.lock();
            // Room that was kept for it is free as well.
            let waited = snapshot.denominate(uid);
            snapshot.displace(uid) || waited
        };
        if left {
            self.queue.happened(Event::PodGone);
        }
    }
}

/// A pod for this scheduler that may be placed now: not on its way out, and with nothing holding it back.
fn is_ours(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let scheduler = spec.scheduler_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(NAME);
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    scheduler == NAME && !gated && pod.metadata.deletion_timestamp.is_none()
}
