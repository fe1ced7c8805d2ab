//! A node and the sums of what its pods take up.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node as ApiNode, Taint};
use skiff_api::Object;
use skiff_api::pod::affinity::Target;
use skiff_api::pod::ports::HostPort;
use skiff_api::pod::requests::Amounts;
use skiff_api::pod::tolerations::PREFER_NO_SCHEDULE;

use super::counts::NodeId;
use super::topology::{Labels, Whereabouts};
use crate::event::{Event, Facts, Turn};
use crate::pod::PodInfo;

/// A node and the sums of what its pods take up.
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    /// When it last changed, in the snapshot's count.
    pub(super) generation: u64,
    pub(crate) name: Arc<str>,
    pub(crate) labels: Labels,
    /// Its domains: what its labels say, as numbers.
    pub(crate) whereabouts: Whereabouts,
    pub(crate) taints: Vec<Taint>,
    pub(crate) unschedulable: bool,
    pub(crate) allocatable: Amounts,
    /// How many pods it may hold.
    pub(crate) room: usize,
    /// Sizes of the images it has.
    pub(crate) images: HashMap<String, i64>,
    pub(crate) requested: Amounts,
    pub(crate) assumed: Amounts,
    pub(crate) ports: HashMap<HostPort, usize>,
    pub(crate) pods: HashMap<Arc<str>, Arc<PodInfo>>,
    /// How many of its pods use a claim.
    pub(crate) claims: HashMap<Arc<str>, usize>,
    /// False for a node that only its pods speak of, or nobody.
    pub(crate) known: bool,
}

impl Node {
    /// The node as selectors see it.
    pub(crate) fn as_target<R>(&self, ask: impl FnOnce(Target<'_>) -> R) -> R {
        let label = |key: &str| self.labels.get(key).map(|value| &**value);
        ask(Target { name: &self.name, label: &label })
    }

    /// Whether some of its taints only ask to stay away.
    pub(super) fn is_avoided(&self) -> bool {
        self.taints.iter().any(|taint| taint.effect == PREFER_NO_SCHEDULE)
    }

    /// Takes over what the object says; what changed that may help waiting pods.
    pub(super) fn update(&mut self, object: &Object, api: &ApiNode) -> Vec<Event> {
        let (spec, status) = (api.spec.as_ref(), api.status.as_ref());
        let list = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        let mut allocatable = list.map(Amounts::of).unwrap_or_default();
        let room = usize::try_from(allocatable.others.remove("pods").unwrap_or(0)).unwrap_or(0);
        let taints = spec.and_then(|spec| spec.taints.clone()).unwrap_or_default();
        let unschedulable = spec.and_then(|spec| spec.unschedulable).unwrap_or(false);
        let mut kinds: Vec<fn(Arc<Turn>) -> Event> = Vec::new();
        if allocatable != self.allocatable || room != self.room {
            kinds.push(Event::NodeCapacity);
        }
        if object.meta().labels != self.labels {
            kinds.push(Event::NodeLabels);
        }
        if taints != self.taints || unschedulable != self.unschedulable {
            kinds.push(Event::NodeTaints);
        }
        let before = (self.known && !kinds.is_empty()).then(|| Facts::of(self));
        self.labels.clone_from(&object.meta().labels);
        (self.taints, self.unschedulable) = (taints, unschedulable);
        (self.allocatable, self.room) = (allocatable, room);
        if !std::mem::replace(&mut self.known, true) {
            return vec![Event::NodeAdded(Arc::new(Facts::of(self)))];
        }
        let Some(before) = before else { return Vec::new() };
        let turn = Arc::new(Turn { before, now: Facts::of(self) });
        kinds.into_iter().map(|kind| kind(Arc::clone(&turn))).collect()
    }

    pub(super) fn add(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.assumed.add(&pod.assumed);
        for port in &pod.ports {
            *self.ports.entry(port.clone()).or_default() += 1;
        }
        for claim in &pod.claims {
            *self.claims.entry(Arc::clone(claim)).or_default() += 1;
        }
        self.pods.insert(Arc::clone(pod.uid()), pod);
    }

    pub(super) fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(uid)?;
        self.requested.subtract(&pod.requests);
        self.assumed.subtract(&pod.assumed);
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
