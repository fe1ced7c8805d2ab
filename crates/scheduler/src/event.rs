//! What happens in the cluster that may give a waiting pod a chance.
//!
//! An event brings what changed. A plugin that refused a pod says at once which events to hope for ([`Hope`], upstream's
//! registered events and queueing hints): so an event costs a few comparisons per waiting pod, and wakes only those that
//! may fit now.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Taint;
use skiff_api::Object;
use skiff_api::pod::affinity::Target;
use skiff_api::pod::requests::Amounts;

use crate::pod::PodInfo;
use crate::snapshot::{Labels, Node};

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A node came.
    NodeAdded(Arc<Facts>),
    /// A node went.
    NodeGone(Arc<Facts>),
    /// What a node can hold changed.
    NodeCapacity(Arc<Turn>),
    /// Labels of a node changed.
    NodeLabels(Arc<Turn>),
    /// Taints of a node changed, or it was (un)cordoned.
    NodeTaints(Arc<Turn>),
    /// A pod came to a node.
    PodPlaced(Arc<PodInfo>),
    /// A pod on a node changed its labels: before, and now.
    PodRelabelled(Arc<Object>, Arc<PodInfo>),
    /// A pod on a node asks for less than before.
    PodShrunk,
    /// A pod left its node, or the room that was kept for it.
    PodGone(Arc<PodInfo>),
    /// A service or controller changed.
    SpreadSelector,
    /// The claim with this key came or changed.
    ClaimChanged(Arc<str>),
    /// A persistent volume came or changed.
    VolumeChanged,
    /// A storage class came or changed.
    ClassChanged,
    /// What a node's storage drivers say changed.
    CsiNodeChanged,
    /// A claim for devices came, or its status changed.
    DeviceClaimChanged(Arc<ClaimTurn>),
    /// Devices came or changed, or what taints them.
    DevicesChanged,
    /// A class of devices came or changed.
    DeviceClassChanged,
    /// The pod group with this key came, got a pod, or is content with less.
    GroupGrew(Arc<str>),
    /// The group of `Coscheduling` with this key came or changed, has its pods together, or is about to go.
    Siblings(Arc<str>),
}

/// Which events may give a pod a chance that somebody refused it.
pub(crate) struct Hope {
    test: Box<dyn Fn(&Event) -> bool + Send + Sync>,
    /// Whether other pods that get their place may help. There are thousands of those a second, and few whom they help.
    pub(crate) of_placed: bool,
}

impl Hope {
    /// One whom pods that get their place never help.
    pub(crate) fn new(test: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        Self { test: Box::new(test), of_placed: false }
    }

    /// One whom such pods may help as well.
    pub(crate) fn of_placed_too(test: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        Self { of_placed: true, ..Self::new(test) }
    }

    pub(crate) fn helps(&self, event: &Event) -> bool {
        (self.test)(event)
    }
}

/// A node as it was at some time.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) name: Arc<str>,
    pub(crate) labels: Labels,
    pub(crate) taints: Vec<Taint>,
    pub(crate) unschedulable: bool,
    pub(crate) allocatable: Amounts,
    pub(crate) room: usize,
}

/// A node before and after a change.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) before: Facts,
    pub(crate) now: Facts,
}

/// A claim for devices that changed.
#[derive(Clone, Debug)]
pub(crate) struct ClaimTurn {
    pub(crate) key: Arc<str>,
    /// Whether it had devices that others may have now.
    pub(crate) freed: bool,
}

impl Facts {
    pub(crate) fn of(node: &Node) -> Self {
        Self {
            name: Arc::clone(&node.name),
            labels: node.labels.clone(),
            taints: node.taints.clone(),
            unschedulable: node.unschedulable,
            allocatable: node.allocatable.clone(),
            room: node.room,
        }
    }

    /// The node as selectors see it.
    pub(crate) fn as_target<R>(&self, ask: impl FnOnce(Target<'_>) -> R) -> R {
        let label = |key: &str| self.labels.get(key).map(|value| &**value);
        ask(Target { name: &self.name, label: &label })
    }
}

impl Event {
    /// For who judges nodes by themselves: whether a node is all right that was not, or was not there, before.
    pub(crate) fn makes_right(&self, right: impl Fn(&Facts) -> bool) -> bool {
        match self {
            Self::NodeAdded(node) => right(node),
            Self::NodeCapacity(turn) | Self::NodeLabels(turn) | Self::NodeTaints(turn) => {
                right(&turn.now) && !right(&turn.before)
            }
            _ => false,
        }
    }

    /// Whether it is a change of one of these claims.
    pub(crate) fn changes_claim(&self, claims: &[Arc<str>]) -> bool {
        matches!(self, Self::ClaimChanged(key) if claims.contains(key))
    }
}
