//! The table of plugins with their weights: filters in this order, the first refusal counts.

use std::sync::Arc;

use serde_json::Value;
use skiff_api::Errors;

use crate::plugin::Plugin;

mod balanced_allocation;
mod gang_scheduling;
mod image_locality;
mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_unschedulable;
mod resources_fit;
mod strategy;
mod taint_toleration;
mod topology_spread;
mod volume_binding;
mod volume_limits;
pub(crate) mod volume_restrictions;
mod volume_zone;

#[cfg(test)]
pub(crate) mod tests;

/// A plugin as a profile's arguments want it; what is wrong with them is noted.
type Configured = fn(&Value, &mut Errors) -> Arc<dyn Plugin>;

/// A plugin and how much its score counts by default.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) weight: i64,
    pub(crate) default: fn() -> Arc<dyn Plugin>,
    /// Absent: it takes no arguments.
    pub(crate) configured: Option<Configured>,
}

const fn plain(name: &'static str, weight: i64, default: fn() -> Arc<dyn Plugin>) -> Row {
    Row { name, weight, default, configured: None }
}

const fn with_args(
    name: &'static str,
    weight: i64,
    default: fn() -> Arc<dyn Plugin>,
    configured: Configured,
) -> Row {
    Row { name, weight, default, configured: Some(configured) }
}

/// All plugins, with upstream's default weights.
#[rustfmt::skip]
pub(crate) static ALL: &[Row] = &[
    plain("NodeUnschedulable", 0, || Arc::new(node_unschedulable::NodeUnschedulable)),
    plain("NodeName", 0, || Arc::new(node_name::NodeName)),
    plain("TaintToleration", 3, || Arc::new(taint_toleration::TaintToleration)),
    with_args("NodeAffinity", 2, || Arc::<node_affinity::NodeAffinity>::default(), node_affinity::configured),
    plain("NodePorts", 0, || Arc::new(node_ports::NodePorts)),
    with_args("NodeResourcesFit", 1, || Arc::<resources_fit::ResourcesFit>::default(), resources_fit::configured),
    plain("VolumeRestrictions", 0, || Arc::new(volume_restrictions::VolumeRestrictions)),
    plain("NodeVolumeLimits", 0, || Arc::new(volume_limits::VolumeLimits)),
    plain("VolumeBinding", 0, || Arc::new(volume_binding::VolumeBinding)),
    plain("VolumeZone", 0, || Arc::new(volume_zone::VolumeZone)),
    with_args("PodTopologySpread", 2, || Arc::<topology_spread::TopologySpread>::default(), topology_spread::configured),
    with_args("InterPodAffinity", 2, || Arc::<inter_pod_affinity::InterPodAffinity>::default(), inter_pod_affinity::configured),
    with_args("NodeResourcesBalancedAllocation", 1, || Arc::<balanced_allocation::BalancedAllocation>::default(), balanced_allocation::configured),
    plain("ImageLocality", 1, || Arc::new(image_locality::ImageLocality)),
    plain("GangScheduling", 0, || Arc::new(gang_scheduling::GangScheduling)),
];
