//! Profiles: each name that pods may ask for in `spec.schedulerName`, and which plugins judge its pods.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use skiff_client::{Link, write};

use crate::NAME;
use crate::event::Hope;
use crate::extender;
use crate::needs::Needs;
use crate::plugin::{Feasible, Permit, Plugin, Progress, Relief};
use crate::plugins;
use crate::pod::{Pending, PodInfo};
use crate::points::{Point, Points};
use crate::queue::Queue;
use crate::snapshot::{Answer, PodGroup, Rejection, Snapshot};

/// Longer than this no pod waits, whatever a plugin says.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// How pods of one scheduler name are placed.
pub(crate) struct Profile {
    pub(crate) name: Box<str>,
    pub(crate) seats: Vec<Seat>,
    /// How many of the nodes that can hold a pod are compared, in percent; absent: as many as suit the cluster's size.
    pub(crate) percent: Option<usize>,
    /// How pods make room for more important ones; absent: they do not.
    pub(crate) preemption: Option<Preemption>,
}

/// A plugin, how much its score counts, and where it is asked.
pub(crate) struct Seat {
    pub(crate) plugin: Arc<dyn Plugin>,
    pub(crate) weight: i64,
    pub(crate) points: Points,
}

/// What all plugins together say to a pod that has its room.
pub(crate) enum Verdict {
    Go,
    No(Rejection),
    /// It keeps its room until this tells more.
    Wait(Answer),
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
    /// Upstream's: all plugins that are on by default, with their default weights.
    fn default() -> Self {
        let seat =
            |row: &plugins::Row| Seat { plugin: (row.default)(), weight: row.weight, points: row.points };
        Self {
            name: NAME.into(),
            seats: plugins::ALL.iter().filter(|row| row.on).map(seat).collect(),
            percent: None,
            preemption: Some(Preemption::default()),
        }
    }
}

impl Profile {
    /// The plugins that are asked at a point.
    fn at(&self, point: Point) -> impl DoubleEndedIterator<Item = &Arc<dyn Plugin>> {
        self.seats.iter().filter(move |seat| seat.points.has(point)).map(|seat| &seat.plugin)
    }

    /// Who says which pod goes first.
    pub(crate) fn sort(&self) -> Option<&Arc<dyn Plugin>> {
        self.at(Point::QueueSort).next()
    }

    /// Has the snapshot follow the numbers that the plugins will ask for.
    pub(crate) fn track(&self, pod: &Pending, cluster: &mut Snapshot) {
        let judges = |seat: &&Seat| seat.points.has(Point::Filter) || seat.points.has(Point::Score);
        for seat in self.seats.iter().filter(judges) {
            seat.plugin.track(pod, cluster);
        }
    }

    /// Whether the pod may queue.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn enqueue(&self, pod: &PodInfo, cluster: &Snapshot) -> Result<(), String> {
        self.at(Point::PreEnqueue).try_for_each(|plugin| plugin.enqueue(pod, cluster))
    }

    /// Whether a group that has come so far may go, and who says so if not.
    pub(crate) fn feasible(&self, group: &PodGroup, so_far: Progress) -> (Feasible, &'static str) {
        let asked = self.at(Point::PreEnqueue);
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
        self.at(Point::PreFilter)
            .try_for_each(|plugin| plugin.admit(pod, cluster).map_err(|why| (plugin.name(), why)))
    }

    /// Plugins that go by a kind of their own.
    pub(crate) fn followers(&self) -> impl Iterator<Item = &Arc<dyn Plugin>> {
        self.seats.iter().map(|seat| &seat.plugin).filter(|plugin| plugin.follows().is_some())
    }

    /// What else is done for a pod that fits nowhere, and for which nobody makes room.
    pub(crate) fn post_filter(&self, pod: &Pending, cluster: &mut Snapshot) -> Vec<String> {
        self.at(Point::PostFilter).filter_map(|plugin| plugin.post_filter(pod, cluster)).collect()
    }

    /// What may give a pod a chance that these plugins refused.
    pub(crate) fn hopes(&self, pod: &Pending, cluster: &Snapshot, plugins: &BTreeSet<&str>) -> Vec<Hope> {
        let refused = self.seats.iter().filter(|seat| plugins.contains(seat.plugin.name()));
        let hopes = refused.map(|seat| seat.plugin.hope(pod, cluster));
        // What may change an extender's mind nobody knows.
        let any = plugins.contains(extender::NAME).then(|| Hope::of_placed_too(|_| true));
        hopes.chain(any).collect()
    }

    /// What must be so before the pod can be bound to the node that was chosen: who reserves it sees to it.
    pub(crate) fn needs(&self, pod: &Pending, cluster: &Snapshot, node: &str) -> Option<Needs> {
        let sees_to_it = |seat: &&Seat| seat.points.has(Point::Reserve) && seat.points.has(Point::PreBind);
        let asked = self.seats.iter().filter(sees_to_it);
        let needs = asked.filter_map(|seat| seat.plugin.needs(pod, cluster, node)).reduce(Needs::and);
        needs.filter(|needs| !needs.is_empty())
    }

    /// What may be undone for a pod that fits nowhere.
    pub(crate) fn relief(&self, pod: &Pending, cluster: &Snapshot) -> Option<Relief> {
        self.at(Point::PostFilter).find_map(|plugin| plugin.relief(pod, cluster))
    }

    /// Whether a pod that has its room on a node may go, or must wait there.
    pub(crate) fn permit(
        &self,
        pod: &Pending,
        node: &Arc<str>,
        cluster: &mut Snapshot,
        queue: &Queue,
    ) -> Verdict {
        let mut waits = Vec::new();
        for plugin in self.at(Point::Permit) {
            match plugin.permit(pod, cluster, queue) {
                Permit::Allow => {}
                Permit::Reject(why) => return Verdict::No(Rejection { plugin: plugin.name(), why }),
                Permit::Wait(longest) => waits.push((plugin.name(), longest.min(LONGEST))),
            }
        }
        if waits.is_empty() {
            return Verdict::Go;
        }
        Verdict::Wait(cluster.waiting.enter(&pod.info, node, waits))
    }

    /// Tells those who reserved room for the pod that it does not go after all.
    pub(crate) fn unreserve(&self, pod: &Pending, cluster: &mut Snapshot) {
        self.at(Point::Reserve).rev().for_each(|plugin| plugin.unreserve(pod, cluster));
    }

    /// Binds the pod: the first who takes it.
    ///
    /// # Errors
    /// What the server refused, or a failure on the way.
    pub(crate) async fn bind(&self, link: &Link, pod: &Pod, node: &str) -> write::Result<()> {
        match self.at(Point::Bind).find_map(|plugin| plugin.bind(link, pod, node)) {
            Some(bound) => bound.await,
            None => Ok(()),
        }
    }

    /// Tells that the pod was bound.
    pub(crate) fn post_bind(&self, pod: &Pending, node: &str) {
        self.at(Point::PostBind).for_each(|plugin| plugin.post_bind(pod, node));
    }
}

#[cfg(test)]
mod tests;
