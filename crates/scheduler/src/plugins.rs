//! The table of plugins: where each may be asked, and its weight. Wherever several are asked it is in this order: the first
//! refusal counts, the first binder that takes a pod binds it.

use std::sync::Arc;

use serde_json::Value;
use skiff_api::Errors;

use crate::plugin::Plugin;
use crate::points::{Point, Points};

mod balanced_allocation;
mod coscheduling;
mod default_binder;
mod dynamic_resources;
mod gang_scheduling;
mod image_locality;
mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_unschedulable;
mod priority_sort;
mod resources_fit;
mod strategy;
mod taint_toleration;
mod topology_spread;
mod volume_binding;
mod volume_limits;
pub(crate) mod volume_restrictions;
mod volume_zone;

pub(crate) use priority_sort::PrioritySort;

#[cfg(test)]
pub(crate) mod tests;

/// A plugin as a profile's arguments want it; what is wrong with them is noted.
type Configured = fn(&Value, &mut Errors) -> Arc<dyn Plugin>;

/// A plugin, where it may be asked, and how much its score counts by default.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) points: Points,
    pub(crate) weight: i64,
    /// Whether profiles have it that do not say so.
    pub(crate) on: bool,
    pub(crate) default: fn() -> Arc<dyn Plugin>,
    /// Absent: it takes no arguments.
    pub(crate) configured: Option<Configured>,
}

const fn plain(name: &'static str, points: Points, weight: i64, default: fn() -> Arc<dyn Plugin>) -> Row {
    Row { name, points, weight, on: true, default, configured: None }
}

const fn with_args(
    name: &'static str,
    points: Points,
    weight: i64,
    default: fn() -> Arc<dyn Plugin>,
    configured: Configured,
) -> Row {
    Row { name, points, weight, on: true, default, configured: Some(configured) }
}

const fn off(row: Row) -> Row {
    Row { on: false, ..row }
}

// As upstream's plugins of the same names: some of them prepare at a point of its own what is one step here.
use Point::{
    Bind, Filter, Permit, PostFilter, PreBind, PreEnqueue, PreFilter, PreScore, QueueSort, Reserve, Score,
};
const NODE: Points = Points::of(&[Filter]);
const FILTER: Points = Points::of(&[PreFilter, Filter]);
const SCORE: Points = Points::of(&[PreScore, Score]);
const COSCHEDULING: Points = Points::of(&[QueueSort, PreFilter, PostFilter, Reserve, Permit]);
const BOTH: Points = Points::of(&[PreFilter, Filter, PreScore, Score]);

/// All plugins, with upstream's default weights.
#[rustfmt::skip]
pub(crate) static ALL: &[Row] = &[
    plain("PrioritySort", Points::of(&[QueueSort]), 0, || Arc::new(PrioritySort)),
    plain("NodeUnschedulable", NODE, 0, || Arc::new(node_unschedulable::NodeUnschedulable)),
    plain("NodeName", NODE, 0, || Arc::new(node_name::NodeName)),
    plain("TaintToleration", Points::of(&[Filter, PreScore, Score]), 3, || Arc::new(taint_toleration::TaintToleration)),
    with_args("NodeAffinity", BOTH, 2, || Arc::<node_affinity::NodeAffinity>::default(), node_affinity::configured),
    plain("NodePorts", FILTER, 0, || Arc::new(node_ports::NodePorts)),
    with_args("NodeResourcesFit", BOTH, 1, || Arc::<resources_fit::ResourcesFit>::default(), resources_fit::configured),
    plain("VolumeRestrictions", FILTER, 0, || Arc::new(volume_restrictions::VolumeRestrictions)),
    plain("NodeVolumeLimits", FILTER, 0, || Arc::new(volume_limits::VolumeLimits)),
    plain("VolumeBinding", Points::of(&[PreFilter, Filter, PreScore, Score, Reserve, PreBind]), 0, || Arc::new(volume_binding::VolumeBinding)),
    plain("VolumeZone", FILTER, 0, || Arc::new(volume_zone::VolumeZone)),
    with_args("PodTopologySpread", BOTH, 2, || Arc::<topology_spread::TopologySpread>::default(), topology_spread::configured),
    with_args("InterPodAffinity", BOTH, 2, || Arc::<inter_pod_affinity::InterPodAffinity>::default(), inter_pod_affinity::configured),
    plain("DynamicResources", Points::of(&[PreEnqueue, PreFilter, Filter, PostFilter, Score, Reserve, PreBind]), 2, || Arc::new(dynamic_resources::DynamicResources)),
    with_args("NodeResourcesBalancedAllocation", SCORE, 1, || Arc::<balanced_allocation::BalancedAllocation>::default(), balanced_allocation::configured),
    plain("ImageLocality", Points::of(&[Score]), 1, || Arc::new(image_locality::ImageLocality)),
    plain("GangScheduling", Points::of(&[PreEnqueue]), 0, || Arc::new(gang_scheduling::GangScheduling)),
    off(with_args("Coscheduling", COSCHEDULING, 0, || Arc::<coscheduling::Coscheduling>::default(), coscheduling::configured)),
    plain("DefaultBinder", Points::of(&[Bind]), 0, || Arc::new(default_binder::DefaultBinder)),
];
