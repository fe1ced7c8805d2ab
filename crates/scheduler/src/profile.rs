//! Profiles: each name that pods may ask for in `spec.schedulerName`, and which plugins judge its pods.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::NAME;
use crate::event::Hope;
use crate::plugin::{Feasible, Plugin, Progress};
use crate::plugins;
use crate::pod::{Pending, PodInfo};
use crate::snapshot::{PodGroup, Snapshot};
use crate::storage::Needs;

/// How pods of one scheduler name are placed.
pub(crate) struct Profile {
    pub(crate) name: Box<str>,
    pub(crate) seats: Vec<Seat>,
    /// How many of the nodes that can hold a pod are compared, in percent; absent: as many as suit the cluster's size.
    pub(crate) percent: Option<usize>,
    /// How pods make room for more important ones; absent: they do not.
    pub(crate) preemption: Option<Preemption>,
}

/// A plugin, how much its score counts, and at which points it is asked.
pub(crate) struct Seat {
    pub(crate) plugin: Arc<dyn Plugin>,
    pub(crate) weight: i64,
    pub(crate) points: Points,
}

/// The points at which a plugin is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Points {
    /// Before the pod queues, and while its group is placed.
    pub(crate) enqueues: bool,
    /// Before any node is looked at.
    pub(crate) admits: bool,
    pub(crate) filters: bool,
    pub(crate) scores: bool,
    /// Before the pod is bound: what it needs there.
    pub(crate) reserves: bool,
}

impl Points {
    pub(crate) const ALL: Self = Self::each(true);
    pub(crate) const NONE: Self = Self::each(false);

    const fn each(asked: bool) -> Self {
        Self { enqueues: asked, admits: asked, filters: asked, scores: asked, reserves: asked }
    }
}

/// How many nodes are looked at when others must make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preemption {
    /// At least so many, if there are so many...
    pub(crate) least: usize,
    /// ...and at least this share of the cluster, in percent.
    pub(crate) share: usize,
}

impl Default for Preemption {
    fn default() -> Self {
        Self { least: 100, share: 10 }
    }
}

impl Default for Profile {
    /// Upstream's: all plugins, with their default weights.
    fn default() -> Self {
        let seat =
            |row: &plugins::Row| Seat { plugin: (row.default)(), weight: row.weight, points: Points::ALL };
        Self {
            name: NAME.into(),
            seats: plugins::ALL.iter().map(seat).collect(),
            percent: None,
            preemption: Some(Preemption::default()),
        }
    }
}

impl Profile {
    /// Has the snapshot follow the numbers that the plugins will ask for.
    pub(crate) fn track(&self, pod: &Pending, cluster: &mut Snapshot) {
        for seat in self.seats.iter().filter(|seat| seat.points.filters || seat.points.scores) {
            seat.plugin.track(pod, cluster);
        }
    }

    /// Whether the pod may queue.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn enqueue(&self, pod: &PodInfo, cluster: &Snapshot) -> Result<(), String> {
        let asked = self.seats.iter().filter(|seat| seat.points.enqueues);
        asked.map(|seat| &seat.plugin).try_for_each(|plugin| plugin.enqueue(pod, cluster))
    }

    /// Whether a group that has come so far may go, and who says so if not.
    pub(crate) fn feasible(&self, group: &PodGroup, so_far: Progress) -> (Feasible, &'static str) {
        let asked = self.seats.iter().filter(|seat| seat.points.enqueues).map(|seat| &seat.plugin);
        let answers = asked.map(|plugin| (plugin.feasible(group, so_far), plugin.name()));
        answers.fold((Feasible::Yes, ""), |so_far, answer| match (&so_far.0, &answer.0) {
            (Feasible::No(_), _) | (Feasible::NotYet(_), Feasible::Yes | Feasible::NotYet(_)) => so_far,
            _ => answer,
        })
    }

    /// Whether the pod may be placed at all.
    ///
    /// # Errors
    /// Who says no, and why.
    pub(crate) fn admit(&self, pod: &Pending, cluster: &Snapshot) -> Result<(), (&'static str, String)> {
        let asked = self.seats.iter().filter(|seat| seat.points.admits);
        asked
            .map(|seat| &seat.plugin)
            .try_for_each(|plugin| plugin.admit(pod, cluster).map_err(|why| (plugin.name(), why)))
    }

    /// What may give a pod a chance that these plugins refused.
    pub(crate) fn hopes(&self, pod: &Pending, cluster: &Snapshot, plugins: &BTreeSet<&str>) -> Vec<Hope> {
        let refused = self.seats.iter().filter(|seat| plugins.contains(seat.plugin.name()));
        refused.map(|seat| seat.plugin.hope(pod, cluster)).collect()
    }

    /// What must be so before the pod can be bound to the node that was chosen.
    pub(crate) fn needs(&self, pod: &Pending, cluster: &Snapshot, node: &str) -> Option<Needs> {
        let asked = self.seats.iter().filter(|seat| seat.points.reserves);
        asked.map(|seat| &seat.plugin).find_map(|plugin| plugin.needs(pod, cluster, node))
    }
}
