//! A group's turn: all of its pods that wait are placed one after the other, and stay placed only if the group may go.
//!
//! Follows upstream's `pkg/scheduler/algorithm_podgroup.go` (KEP-4671). The snapshot is the scratch paper: each pod sees those
//! before it where they are to go, and if the group may not go, all of it is taken back before anybody else looks.

use std::collections::HashSet;
use std::sync::Arc;

use crate::cycle::{self, Search};
use crate::event::Hope;
use crate::fit::Unfit;
use crate::needs::Needs;
use crate::plugin::{Feasible, Progress};
use crate::pod::Pending;
use crate::preemption::{self, GroupPlan};
use crate::profile::Profile;
use crate::snapshot::{PodGroup, Snapshot};

/// A pod of the group that has its node, so far only assumed.
pub(crate) struct Placed {
    pub(crate) pod: Pending,
    pub(crate) node: Arc<str>,
    pub(crate) needs: Option<Needs>,
}

/// A pod of the group that stays behind.
pub(crate) struct Left {
    pub(crate) pod: Pending,
    /// Why it fits nowhere; absent if it is the group that does not.
    pub(crate) unfit: Option<Box<Unfit>>,
}

/// How a group's turn ended.
pub(crate) struct Outcome {
    /// They go; nobody if the group may not.
    pub(crate) placed: Vec<Placed>,
    pub(crate) left: Vec<Left>,
    /// Why the group may not go, if so.
    pub(crate) refused: Option<String>,
    /// Who makes room for it, if that helps.
    pub(crate) plan: Option<GroupPlan>,
    /// Whether others are already making room for it.
    pub(crate) waits: bool,
    /// What may give those that are left a chance.
    pub(crate) hopes: Vec<Hope>,
}

/// Places as many of the pods as fit, if the group may go with them.
pub(crate) fn place(
    group: &PodGroup,
    pods: Vec<Pending>,
    cluster: &mut Snapshot,
    profile: &Profile,
    search: &mut Search,
) -> Outcome {
    let mut so_far = Progress { placed: cluster.seated(&group.key).count(), left: pods.len() };
    let (mut verdict, mut by) = profile.feasible(group, so_far);
    let (mut placed, mut left) = (Vec::new(), Vec::new());
    for pod in pods {
        if matches!(verdict, Feasible::No(_)) {
            left.push(Left { pod, unfit: None });
            continue;
        }
        so_far.left -= 1;
        profile.track(&pod, cluster);
        match cycle::node_for(&pod, cluster, profile, search) {
            Ok(node) => {
                let needs = profile.needs(&pod, cluster, &node);
                if let Some(needs) = &needs {
                    needs.promise(cluster);
                }
                cluster.place(Arc::clone(&pod.info), &node, true);
                so_far.placed += 1;
                placed.push(Placed { pod, node, needs });
            }
            Err(unfit) => left.push(Left { pod, unfit: Some(unfit) }),
        }
        (verdict, by) = profile.feasible(group, so_far);
    }
    let refused = match verdict {
        Feasible::No(why) | Feasible::NotYet(why) => Some(why),
        Feasible::Yes if placed.is_empty() => Some("no pods were schedulable".to_owned()),
        Feasible::Yes => None,
    };
    // What they hope for is asked as they were refused: with the others in place.
    let hopes = hopes(&left, by, cluster, profile);
    if refused.is_some() {
        take_back(std::mem::take(&mut placed), &mut left, cluster);
    }
    Outcome { placed, left, refused, plan: None, waits: false, hopes }
}

/// As [`place`]; if the group may not go, looks whether others can make room for it.
pub(crate) fn place_or_preempt(
    group: &PodGroup,
    pods: Vec<Pending>,
    cluster: &mut Snapshot,
    profile: &Profile,
    search: &mut Search,
) -> Outcome {
    let mut outcome = place(group, pods.clone(), cluster, profile, search);
    let Some(refused) = &mut outcome.refused else { return outcome };
    if pods.iter().any(|pod| preemption::waits_for_victims(pod, cluster)) {
        refused.push_str(", not eligible due to a terminating pod on the nominated node.");
        outcome.waits = true;
        return outcome;
    }
    match preemption::plan_group(group, &pods, cluster, profile, search) {
        Ok(plan) => outcome.plan = Some(plan),
        Err(Some(why)) => *refused = format!("{refused}, {why}"),
        Err(None) => {}
    }
    outcome
}

/// Undoes what was only assumed.
fn take_back(placed: Vec<Placed>, left: &mut Vec<Left>, cluster: &mut Snapshot) {
    for each in placed {
        if let Some(needs) = &each.needs {
            needs.release(cluster);
        }
        cluster.displace(each.pod.info.uid());
        left.push(Left { pod: each.pod, unfit: None });
    }
}

/// What those hope for who refused the pods or the group; equal pods hope for the same.
fn hopes(left: &[Left], by: &'static str, cluster: &Snapshot, profile: &Profile) -> Vec<Hope> {
    // Where nobody in particular refused a pod (there is no node), anything may help.
    if left.iter().any(|left| left.unfit.as_ref().is_some_and(|unfit| unfit.plugins.is_empty())) {
        return Vec::new();
    }
    let mut asked = HashSet::new();
    let mut hopes = Vec::new();
    for Left { pod, unfit } in left {
        let mut plugins = unfit.as_ref().map(|unfit| unfit.plugins.clone()).unwrap_or_default();
        if !by.is_empty() {
            plugins.insert(by);
        }
        let like = crate::pod::likeness(&pod.info.object, &pod.pod);
        if asked.insert((like, pod.info.claims.clone(), plugins.clone())) {
            hopes.extend(profile.hopes(pod, cluster, &plugins));
        }
    }
    hopes
}

#[cfg(test)]
pub(crate) mod tests;
