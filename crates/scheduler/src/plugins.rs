//! The table of plugins with their weights: filters in this order, the first refusal counts.

use crate::plugin::Plugin;

mod balanced_allocation;
mod image_locality;
mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_unschedulable;
mod resources_fit;
mod taint_toleration;
mod topology_spread;
mod volume_binding;
mod volume_limits;
pub(crate) mod volume_restrictions;
mod volume_zone;

#[cfg(test)]
pub(crate) mod tests;

/// A plugin and how much its score counts.
pub(crate) struct Row {
    pub(crate) plugin: &'static dyn Plugin,
    pub(crate) weight: i64,
}

const fn row(plugin: &'static dyn Plugin, weight: i64) -> Row {
    Row { plugin, weight }
}

/// All plugins, with upstream's default weights.
pub(crate) static ALL: &[Row] = &[
    row(&node_unschedulable::PLUGIN, 0),
    row(&node_name::PLUGIN, 0),
    row(&taint_toleration::PLUGIN, 3),
    row(&node_affinity::PLUGIN, 2),
    row(&node_ports::PLUGIN, 0),
    row(&resources_fit::PLUGIN, 1),
    row(&volume_restrictions::PLUGIN, 0),
    row(&volume_limits::PLUGIN, 0),
    row(&volume_binding::PLUGIN, 0),
    row(&volume_zone::PLUGIN, 0),
    row(&topology_spread::PLUGIN, 2),
    row(&inter_pod_affinity::PLUGIN, 2),
    row(&balanced_allocation::PLUGIN, 1),
    row(&image_locality::PLUGIN, 1),
];

/// The plugin of this name.
pub(crate) fn named(name: &str) -> Option<&'static dyn Plugin> {
    ALL.iter().map(|row| row.plugin).find(|plugin| plugin.name() == name)
}
