//! A decision in steps, between which others may be asked and the cluster may change.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Search, any, ask, feasible, finalists, fits, seats};
use crate::fit::Unfit;
use crate::plugin::Refusal;
use crate::pod::Pending;
use crate::profile::Profile;
use crate::snapshot::Snapshot;

/// Nodes that can hold a pod, and what was said of the others.
pub(crate) struct Found {
    pub(crate) names: Vec<Arc<str>>,
    pub(crate) unfit: Box<Unfit>,
}

/// As many nodes that can hold the pod as are compared; or only its `own`, which others left for it, if there is one.
///
/// # Errors
/// Why no node can hold it.
pub(crate) fn candidates(
    pending: &Pending,
    cluster: &mut Snapshot,
    profile: &Profile,
    own: bool,
    search: &mut Search,
) -> Option<Result<Found, Box<Unfit>>> {
    let ghosts = cluster.conjure(pending);
    let found = if own {
        let node = cluster.nominated_node(pending.info.uid()).map(Arc::<str>::from);
        let node = node.filter(|node| fits(pending, cluster, profile, node).is_ok());
        node.map(|node| Ok(Found { names: vec![node], unfit: Box::new(Unfit::new(cluster.len())) }))
    } else {
        Some(all(pending, cluster, profile, search))
    };
    cluster.banish(&ghosts);
    found
}

fn all(
    pending: &Pending,
    cluster: &Snapshot,
    profile: &Profile,
    search: &mut Search,
) -> Result<Found, Box<Unfit>> {
    let mut unfit = Box::new(Unfit::new(cluster.len()));
    if let Err((plugin, why)) = profile.admit(pending, cluster) {
        unfit.everywhere(plugin, why);
        return Err(unfit);
    }
    let seats = seats(pending, cluster, profile);
    let feasible = feasible(cluster, profile, &seats, (None, None), &mut search.start, &mut unfit);
    let names: Vec<Arc<str>> = feasible.into_iter().map(|(node, _)| Arc::clone(&node.name)).collect();
    if names.is_empty() { Err(unfit) } else { Ok(Found { names, unfit }) }
}

/// The best of these nodes that can hold the pod now; what is added to a node's score comes by its name.
///
/// # Errors
/// Why none of them can hold it any more.
pub(crate) fn best_of(
    pending: &Pending,
    cluster: &mut Snapshot,
    profile: &Profile,
    names: &[Arc<str>],
    bonus: &BTreeMap<String, i64>,
) -> Result<Arc<str>, Box<Unfit>> {
    let ghosts = cluster.conjure(pending);
    let best = best(pending, cluster, profile, names, bonus);
    cluster.banish(&ghosts);
    let node = best?;
    // What draws the pod there may never come: without those that are only awaited it must fit as well.
    if !ghosts.is_empty() && fits(pending, cluster, profile, &node).is_err() {
        let mut unfit = Box::new(Unfit::new(cluster.len()));
        unfit.everywhere("InterPodAffinity", "the room is kept for other pods".to_owned());
        return Err(unfit);
    }
    Ok(node)
}

fn best(
    pending: &Pending,
    cluster: &Snapshot,
    profile: &Profile,
    names: &[Arc<str>],
    bonus: &BTreeMap<String, i64>,
) -> Result<Arc<str>, Box<Unfit>> {
    let mut unfit = Box::new(Unfit::new(cluster.len()));
    if let Err((plugin, why)) = profile.admit(pending, cluster) {
        unfit.everywhere(plugin, why);
        return Err(unfit);
    }
    let mut seats = seats(pending, cluster, profile);
    let mut feasible = Vec::new();
    for name in names {
        let Some(node) = cluster.node(name) else {
            unfit.refused("", Refusal::unsuitable("node is gone"), name);
            continue;
        };
        match ask(seats.iter(), node) {
            Ok(()) => feasible.push((node, bonus.get(&**name).copied().unwrap_or(0))),
            Err((plugin, refusal)) => unfit.count(plugin, refusal, node),
        }
    }
    match feasible.as_slice() {
        [] => Err(unfit),
        [(only, _)] => Ok(Arc::clone(&only.name)),
        many => {
            let finalists = finalists(&mut seats, None, many);
            Ok(Arc::clone(&finalists[any(finalists.len())].name))
        }
    }
}
