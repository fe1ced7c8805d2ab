//! Which pods of lower priority must go so that a group fits: the plan alone.
//!
//! Follows upstream's `pkg/scheduler/framework/preemption/podgrouppreemption.go`: all pods that matter less are taken away,
//! wherever they are; if the group may go then, as many as possible are given back, those that a budget protects first, then
//! the most important. Pods of a group that is disrupted as a whole are given back together or not at all.

use std::collections::HashSet;
use std::sync::Arc;

use super::units::{self, For, Unit};
use crate::cycle::{self, Search};
use crate::group::{self, Placed};
use crate::pod::{Pending, PodInfo};
use crate::profile::Profile;
use crate::snapshot::{PodGroup, Snapshot};

/// Where the group's pods shall go, and who must leave for them.
#[derive(Debug)]
pub(crate) struct GroupPlan {
    /// The pods with their nodes.
    pub(crate) seats: Vec<(Arc<PodInfo>, Arc<str>)>,
    /// With the nodes that they leave.
    pub(crate) victims: Vec<(Arc<PodInfo>, Arc<str>)>,
}

/// What to do so that the group fits.
///
/// # Errors
/// Why nothing would help; without words if nobody makes room for others here.
pub(crate) fn plan_group(
    group: &PodGroup,
    pods: &[Pending],
    cluster: &mut Snapshot,
    profile: &Profile,
    search: &mut Search,
) -> Result<GroupPlan, Option<String>> {
    let because = |why: &str| Err(Some(why.to_owned()));
    if profile.preemption.is_none() {
        return Err(None);
    }
    if pods.iter().any(|pod| pod.spec().preemption_policy.as_deref() == Some("Never")) {
        return because("not eligible due to preemptionPolicy=Never.");
    }
    let whom = For { priority: group.priority, group: Some(&group.key) };
    let mut units = units::take_lesser(&whom, None, cluster);
    if units.is_empty() {
        return because("No preemption victims found for incoming preemptor");
    }
    let outcome = group::place(group, pods.to_vec(), cluster, profile, search);
    if let Some(why) = outcome.refused {
        units::give_back(units, cluster);
        return Err(Some(why));
    }
    units::protected_first(&mut units, cluster);
    let victims = reprieve(units, &outcome.placed, cluster, profile);
    let mut seats = Vec::new();
    for each in outcome.placed {
        if let Some(needs) = &each.needs {
            needs.release(cluster);
        }
        cluster.displace(each.pod.info.uid());
        seats.push((each.pod.info, each.node));
    }
    let gone = victims.iter().flat_map(|unit| &unit.pods);
    let gone = gone.map(|taken| (Arc::clone(&taken.pod), Arc::clone(&taken.node))).collect();
    units::give_back(victims, cluster);
    Ok(GroupPlan { seats, victims: gone })
}

/// Gives as many back as possible without the group losing its places; those that cannot be.
fn reprieve(units: Vec<Unit>, placed: &[Placed], cluster: &mut Snapshot, profile: &Profile) -> Vec<Unit> {
    let nodes: HashSet<&Arc<str>> = placed.iter().map(|each| &each.node).collect();
    let (near, far): (Vec<Unit>, Vec<Unit>) =
        units.into_iter().partition(|unit| unit.pods.iter().any(|taken| nodes.contains(&taken.node)));
    // Most are nowhere near: they are given back at once, and one by one only if some of them matter all the same.
    let far = units::give_back_if(far, cluster, |cluster| still_fits(placed, cluster, profile));
    let mut victims = Vec::new();
    for unit in far.into_iter().chain(near) {
        victims
            .extend(units::give_back_if(vec![unit], cluster, |cluster| still_fits(placed, cluster, profile)));
    }
    victims
}

/// Whether the pods could go to their nodes, one after the other; they stand there afterwards as before.
fn still_fits(placed: &[Placed], cluster: &mut Snapshot, profile: &Profile) -> bool {
    for each in placed {
        cluster.displace(each.pod.info.uid());
    }
    let mut fits = true;
    for each in placed {
        fits = fits && cycle::fits(&each.pod, cluster, profile, &each.node).is_ok();
        cluster.place(Arc::clone(&each.pod.info), &each.node, true);
    }
    fits
}

#[cfg(test)]
mod tests;
