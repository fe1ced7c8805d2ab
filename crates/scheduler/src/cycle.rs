//! One decision: filter the nodes, score what is left, take the best.
//!
//! In large clusters not all nodes are asked: once enough can hold the pod the search ends, and the next pod's begins
//! where it ended, so that all nodes get their turn.

use std::sync::Arc;

use crate::fit::Unfit;
use crate::plugin::{Judge, Refusal};
use crate::plugins;
use crate::pod::Pending;
use crate::snapshot::{Node, Snapshot};

/// Below this many nodes all are asked.
const ALWAYS: usize = 100;

/// A plugin at work on one pod.
struct Seat<'a> {
    name: &'static str,
    weight: i64,
    judge: Box<dyn Judge + 'a>,
}

/// The node for a pod; `start` is where the search begins, and afterwards where the next should.
///
/// # Errors
/// Why no node can hold it.
pub(crate) fn choose(pod: &Pending, cluster: &Snapshot, start: &mut usize) -> Result<Arc<str>, Box<Unfit>> {
    let mut unfit = Box::new(Unfit::new(cluster.len()));
    if let Err((plugin, why)) = admit(pod, cluster) {
        unfit.everywhere(plugin, why);
        return Err(unfit);
    }
    let mut seats = seats(pod, cluster);
    let enough = enough(cluster.len());
    let mut feasible: Vec<&Node> = Vec::with_capacity(enough);
    for step in 0..cluster.len() {
        let Some(node) = cluster.at((*start + step) % cluster.len()) else { continue };
        match ask(&seats, node) {
            Ok(()) => feasible.push(node),
            Err((plugin, refusal)) => unfit.count(plugin, refusal, node),
        }
        if feasible.len() >= enough {
            *start = (*start + step + 1) % cluster.len();
            break;
        }
    }
    match feasible.as_slice() {
        [] => Err(unfit),
        [only] => Ok(Arc::clone(&only.name)),
        many => Ok(Arc::clone(&best(&mut seats, many).name)),
    }
}

/// Whether the pod may be placed at all.
fn admit(pod: &Pending, cluster: &Snapshot) -> Result<(), (&'static str, String)> {
    plugins::ALL
        .iter()
        .try_for_each(|row| row.plugin.admit(pod, cluster).map_err(|why| (row.plugin.name(), why)))
}

/// Every plugin that has something to say about the pod.
fn seats<'a>(pod: &'a Pending, cluster: &'a Snapshot) -> Vec<Seat<'a>> {
    let begin = |row: &'static plugins::Row| {
        let judge = row.plugin.begin(pod, cluster)?;
        Some(Seat { name: row.plugin.name(), weight: row.weight, judge })
    };
    plugins::ALL.iter().filter_map(begin).collect()
}

/// Whether one node can hold the pod.
///
/// # Errors
/// Why it cannot.
pub(crate) fn fits(pod: &Pending, cluster: &Snapshot, node: &str) -> Result<(), Refusal> {
    let Some(node) = cluster.node(node) else { return Err(Refusal::unsuitable("node is gone")) };
    admit(pod, cluster).map_err(|(_, why)| Refusal::unsuitable(why))?;
    ask(&seats(pod, cluster), node).map_err(|(_, refusal)| refusal)
}

fn ask(seats: &[Seat<'_>], node: &Node) -> Result<(), (&'static str, Refusal)> {
    seats.iter().try_for_each(|seat| seat.judge.filter(node).map_err(|refusal| (seat.name, refusal)))
}

/// As upstream: all of a hundred, half of more, fewer of very many.
fn enough(nodes: usize) -> usize {
    if nodes <= ALWAYS {
        return nodes.max(1);
    }
    let percent = 50_usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(ALWAYS)
}

/// The node with the highest sum of weighted scores; chance decides among equals.
fn best<'a>(seats: &mut [Seat<'_>], feasible: &[&'a Node]) -> &'a Node {
    let mut totals = vec![0_i64; feasible.len()];
    let mut scores = vec![0_i64; feasible.len()];
    for seat in seats.iter_mut().filter(|seat| seat.weight > 0) {
        if !seat.judge.prepare(feasible) {
            continue;
        }
        for (score, node) in scores.iter_mut().zip(feasible) {
            *score = seat.judge.score(node);
        }
        seat.judge.normalise(feasible, &mut scores);
        for (total, score) in totals.iter_mut().zip(&scores) {
            *total += score * seat.weight;
        }
    }
    let most = totals.iter().copied().max().unwrap_or(0);
    let equals: Vec<&&Node> =
        feasible.iter().zip(&totals).filter(|(_, total)| **total == most).map(|(node, _)| node).collect();
    equals[rand::random_range(0..equals.len())]
}
