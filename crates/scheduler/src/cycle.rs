//! One decision: filter the nodes, score what is left, take the best.
//!
//! Pods of one class (those of a controller, say) share what plugins say of a node by itself (`classes.rs`). If nothing
//! else is to be said, the best of all nodes is known at once. Otherwise, in large clusters, not all nodes are asked: once
//! enough can hold the pod the search ends, and the next pod's begins where it ended, so that all nodes get their turn.

use std::sync::Arc;

use crate::classes::{Class, Classes};
use crate::fit::Unfit;
use crate::plugin::{Judge, Refusal, Share};
use crate::pod::Pending;
use crate::points::Point;
use crate::profile::Profile;
use crate::snapshot::{Node, Snapshot};

mod steps;

pub(crate) use steps::{Found, best_of, candidates};

/// Below this many nodes all are asked.
const ALWAYS: usize = 100;

/// A plugin at work on one pod.
pub(crate) struct Seat<'a> {
    pub(crate) name: &'static str,
    pub(crate) weight: i64,
    pub(crate) filters: bool,
    pub(crate) judge: Box<dyn Judge + 'a>,
}

/// What is kept from one decision to the next.
#[derive(Default)]
pub(crate) struct Search {
    /// Where the next search begins.
    start: usize,
    pub(crate) classes: Classes,
}

/// The node for a pod.
///
/// # Errors
/// Why no node can hold it.
pub(crate) fn choose(
    pod: &Pending,
    cluster: &Snapshot,
    profile: &Profile,
    search: &mut Search,
) -> Result<Arc<str>, Box<Unfit>> {
    let mut unfit = Box::new(Unfit::new(cluster.len()));
    if let Err((plugin, why)) = profile.admit(pod, cluster) {
        unfit.everywhere(plugin, why);
        return Err(unfit);
    }
    let mut seats = seats(pod, cluster, profile);
    let class = search.classes.of(profile, cluster, &seats);
    if let Some((class, shares)) = &class
        && shares.iter().all(|share| *share == Share::Everything)
        && let Some(best) = class.best(any)
    {
        return cluster.numbered(best).map(|node| Arc::clone(&node.name)).ok_or(unfit);
    }
    let (class, shares) = class.unzip();
    let feasible =
        feasible(cluster, profile, &seats, (class, shares.as_deref()), &mut search.start, &mut unfit);
    match feasible.as_slice() {
        [] => Err(unfit),
        [(only, _)] => Ok(Arc::clone(&only.name)),
        many => {
            let finalists = finalists(&mut seats, shares.as_deref(), many);
            Ok(Arc::clone(&finalists[any(finalists.len())].name))
        }
    }
}

/// The node for a pod, pods that wait for room on theirs respected.
///
/// # Errors
/// Why no node can hold it.
pub(crate) fn node_for(
    pending: &Pending,
    cluster: &mut Snapshot,
    profile: &Profile,
    search: &mut Search,
) -> Result<Arc<str>, Box<Unfit>> {
    let ghosts = cluster.conjure(pending);
    // The node that others left for this pod needs no comparing.
    let own = cluster.nominated_node(pending.info.uid()).map(Arc::<str>::from);
    let own = own.filter(|node| fits(pending, cluster, profile, node).is_ok());
    let choice = own.map_or_else(|| choose(pending, cluster, profile, search), Ok);
    cluster.banish(&ghosts);
    match choice {
        // What draws the pod there may never come: without those that are only awaited it must fit as well.
        Ok(node) if !ghosts.is_empty() && fits(pending, cluster, profile, &node).is_err() => {
            let node = choose(pending, cluster, profile, search)?;
            let ghosts = cluster.conjure(pending);
            let fits = fits(pending, cluster, profile, &node).is_ok();
            cluster.banish(&ghosts);
            let held = || {
                let mut unfit = Box::new(Unfit::new(cluster.len()));
                unfit.everywhere("InterPodAffinity", "the room is kept for other pods".to_owned());
                unfit
            };
            fits.then_some(node).ok_or_else(held)
        }
        choice => choice,
    }
}

/// Chance decides among equals.
fn any(equals: usize) -> usize {
    rand::random_range(0..equals)
}

/// Every plugin that has something to say about the pod.
pub(crate) fn seats<'a>(pod: &'a Pending, cluster: &'a Snapshot, profile: &Profile) -> Vec<Seat<'a>> {
    let begin = |seat: &crate::profile::Seat| {
        let (filters, scores) = (seat.points.has(Point::Filter), seat.points.has(Point::Score));
        if !filters && !scores {
            return None;
        }
        let judge = seat.plugin.begin(pod, cluster)?;
        let weight = if scores { seat.weight } else { 0 };
        Some(Seat { name: seat.plugin.name(), weight, filters, judge })
    };
    profile.seats.iter().filter_map(begin).collect()
}

/// Whether one node can hold the pod.
///
/// # Errors
/// Why it cannot.
pub(crate) fn fits(pod: &Pending, cluster: &Snapshot, profile: &Profile, node: &str) -> Result<(), Refusal> {
    let Some(node) = cluster.node(node) else { return Err(Refusal::unsuitable("node is gone")) };
    profile.admit(pod, cluster).map_err(|(_, why)| Refusal::unsuitable(why))?;
    let seats = seats(pod, cluster, profile);
    ask(seats.iter(), node).map_err(|(_, refusal)| refusal)
}

fn ask<'a, 's: 'a>(
    mut seats: impl Iterator<Item = &'a Seat<'s>>,
    node: &Node,
) -> Result<(), (&'static str, Refusal)> {
    seats.try_for_each(|seat| {
        if !seat.filters {
            return Ok(());
        }
        seat.judge.filter(node).map_err(|refusal| (seat.name, refusal))
    })
}

/// Enough nodes that can hold the pod, each with the score that its class gives it.
pub(crate) fn feasible<'a>(
    cluster: &'a Snapshot,
    profile: &Profile,
    seats: &[Seat<'_>],
    (class, shares): (Option<&Class>, Option<&[Share]>),
    start: &mut usize,
    unfit: &mut Unfit,
) -> Vec<(&'a Node, i64)> {
    let enough = enough(cluster.len(), profile.percent);
    let own = |n: usize| shares.is_none_or(|shares| shares[n] == Share::Nothing);
    let own: Vec<&Seat<'_>> =
        seats.iter().enumerate().filter(|(n, _)| own(*n)).map(|(_, seat)| seat).collect();
    let mut feasible = Vec::with_capacity(enough.min(cluster.len()));
    for step in 0..cluster.len() {
        let Some(node) = cluster.at((*start + step) % cluster.len()) else { continue };
        let shared = class.map_or(Ok(0), |class| class.verdict(node.id));
        match shared.and_then(|score| ask(own.iter().copied(), node).map(|()| score)) {
            Ok(score) => feasible.push((node, score)),
            Err((plugin, refusal)) => unfit.count(plugin, refusal, node),
        }
        if feasible.len() >= enough {
            *start = (*start + step + 1) % cluster.len();
            break;
        }
    }
    feasible
}

/// As upstream: all of a hundred, half of more, fewer of very many; unless the profile says how many.
fn enough(nodes: usize, percent: Option<usize>) -> usize {
    if nodes <= ALWAYS {
        return nodes.max(1);
    }
    let percent = percent.unwrap_or_else(|| 50_usize.saturating_sub(nodes / 125).max(5));
    (nodes * percent.min(100) / 100).max(ALWAYS)
}

/// The nodes with the highest sum of weighted scores.
pub(crate) fn finalists<'a>(
    seats: &mut [Seat<'_>],
    shares: Option<&[Share]>,
    feasible: &[(&'a Node, i64)],
) -> Vec<&'a Node> {
    let nodes: Vec<&Node> = feasible.iter().map(|(node, _)| *node).collect();
    let mut totals: Vec<i64> = feasible.iter().map(|(_, score)| *score).collect();
    let mut scores = vec![0_i64; feasible.len()];
    for (n, seat) in seats.iter_mut().enumerate().filter(|(_, seat)| seat.weight > 0) {
        let shared = shares.is_some_and(|shares| shares[n] == Share::Everything);
        if shared || !seat.judge.prepare(&nodes) {
            continue;
        }
        for (score, node) in scores.iter_mut().zip(&nodes) {
            *score = seat.judge.score(node);
        }
        seat.judge.normalise(&nodes, &mut scores);
        for (total, score) in totals.iter_mut().zip(&scores) {
            *total += score * seat.weight;
        }
    }
    let most = totals.iter().copied().max().unwrap_or(0);
    feasible.iter().zip(&totals).filter(|(_, total)| **total == most).map(|((node, _), _)| *node).collect()
}
