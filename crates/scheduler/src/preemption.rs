//! Which pods of lower priority must go so that a pod fits: the plan alone; who carries it out is `run.rs`.
//!
//! Follows upstream's `pkg/scheduler/framework/preemption`: on each node where fewer pods could help, all pods of lower
//! priority are taken away (pods of a group that is disrupted as a whole with it, wherever they are), and as many as
//! possible are given back, the most important first, those whose disruption budget forbids it before all others. Among the
//! nodes the one where it hurts least is taken. The snapshot is the scratch paper: whatever is moved on it is put back.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::cycle;
use crate::fit::Unfit;
use crate::pod::{Pending, PodInfo};
use crate::profile::Profile;
use crate::snapshot::Snapshot;

mod group;
mod units;

pub(crate) use group::{GroupPlan, plan_group};
use units::{For, Unit};

/// A node and the pods that must leave it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) node: Arc<str>,
    pub(crate) victims: Vec<Arc<PodInfo>>,
    /// How many of them a disruption budget would have kept.
    pub(crate) violations: usize,
}

/// What to do so that the pod fits somewhere; nothing if nothing would help, which `unfit` then explains.
pub(crate) fn plan(
    pod: &Pending,
    cluster: &mut Snapshot,
    profile: &Profile,
    unfit: &mut Unfit,
) -> Option<Plan> {
    let plans = plans(pod, cluster, profile, unfit)?;
    best(pod, cluster, plans)
}

/// All plans that would help; nothing if nobody may be sent away for the pod, which `unfit` then explains.
pub(crate) fn plans(
    pod: &Pending,
    cluster: &mut Snapshot,
    profile: &Profile,
    unfit: &mut Unfit,
) -> Option<Vec<Plan>> {
    let Some(limits) = profile.preemption else {
        unfit.alone();
        return None;
    };
    if pod.spec().preemption_policy.as_deref() == Some("Never") {
        unfit.not_eligible("preemptionPolicy=Never");
        return None;
    }
    if waits_for_victims(pod, cluster) {
        unfit.not_eligible("a terminating pod on the nominated node");
        return None;
    }
    let wanted = limits.least.max(cluster.len() * limits.share / 100);
    let mut plans: Vec<Plan> = Vec::new();
    for node in std::mem::take(&mut unfit.candidates) {
        match on_node(pod, cluster, profile, &node) {
            Ok(plan) => plans.push(plan),
            Err(reasons) => unfit.preemption_fails(reasons),
        }
        if plans.len() >= wanted {
            break;
        }
    }
    Some(plans)
}

/// The plan that does the least harm.
pub(crate) fn best(pod: &Pending, cluster: &mut Snapshot, plans: Vec<Plan>) -> Option<Plan> {
    // The first of equals, as upstream.
    let plan = plans.into_iter().min_by_key(Plan::harm);
    if plan.is_none() {
        // Room that was being made for it is no use any more: others may have it.
        cluster.denominate(pod.info.uid());
    }
    plan
}

/// True if pods were already told to make room for this one and are on their way out.
pub(crate) fn waits_for_victims(pod: &Pending, cluster: &Snapshot) -> bool {
    let Some(node) = cluster.nominated_node(pod.info.uid()) else { return false };
    let mut leaving = cluster.pods_of(node).filter(|other| other.is_leaving());
    leaving.any(|other| other.priority < pod.info.priority)
}

fn on_node(
    pod: &Pending,
    cluster: &mut Snapshot,
    profile: &Profile,
    node: &str,
) -> Result<Plan, Vec<String>> {
    let whom = For { priority: pod.info.priority, group: pod.info.group.as_deref() };
    let mut units = units::take_lesser(&whom, Some(node), cluster);
    if units.is_empty() {
        return Err(vec!["No preemption victims found for incoming pod".to_owned()]);
    }
    if let Err(refusal) = cycle::fits(pod, cluster, profile, node) {
        units::give_back(units, cluster);
        return Err(refusal.reasons);
    }
    let protected = units::protected_first(&mut units, cluster);
    let mut victims = Vec::new();
    for unit in units {
        victims.extend(units::give_back_if(vec![unit], cluster, |cluster| {
            cycle::fits(pod, cluster, profile, node).is_ok()
        }));
    }
    let infos: Vec<Arc<PodInfo>> = victims.iter().flat_map(Unit::infos).collect();
    units::give_back(victims, cluster);
    let violations = infos.iter().filter(|info| protected.contains(info.uid())).count();
    Ok(Plan { node: node.into(), victims: infos, violations })
}

impl Plan {
    /// What makes one plan worse than another, the weightiest first.
    fn harm(&self) -> (usize, i32, i64, usize, Reverse<i64>) {
        let highest = self.victims.iter().map(|pod| pod.priority).max().unwrap_or(i32::MIN);
        // Shifted, so that fewer pods of negative priority are not worse than many.
        let sum = self.victims.iter().map(|pod| i64::from(pod.priority) + i64::from(i32::MAX) + 1).sum();
        let highest_pods = self.victims.iter().filter(|pod| pod.priority == highest);
        let earliest = highest_pods.map(|pod| pod.started).min().unwrap_or(i64::MAX);
        (self.violations, highest, sum, self.victims.len(), Reverse(earliest))
    }
}

#[cfg(test)]
mod tests;
