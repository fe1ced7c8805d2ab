//! Which pod of a stateful set is next to be made, ended or renewed; pure.
//!
//! In order, a pod is only touched while all before it are well; in parallel nobody waits. Renewal goes from the last
//! ordinal down to the partition, one pod (or as many as may be unavailable) at a time.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_api::pod::facts::Phase;

use crate::shared::revisions::REVISION_HASH;
use crate::shared::seen::Seen;

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) status: StatefulSetStatus,
    /// Ordinals to make, and whether of the current revision instead of the newest.
    pub(super) create: Vec<(i32, bool)>,
    pub(super) delete: Vec<Seen>,
    /// When a pod that is ready will count as available.
    pub(super) wait: Option<SignedDuration>,
}

/// The number at the end of a pod's name, if the name is the set's with a number.
pub(super) fn ordinal(set: &StatefulSet, name: &str) -> Option<i32> {
    let number = name.strip_prefix(set.metadata.name.as_deref()?)?.strip_prefix('-')?;
    number.parse().ok().filter(|ordinal: &i32| *ordinal >= 0 && ordinal.to_string() == number)
}

/// The first number.
fn start(set: &StatefulSet) -> i32 {
    set.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0)
}

/// Whether the set wants a pod of this number.
pub(super) fn is_wanted(set: &StatefulSet, ordinal: i32) -> bool {
    let start = start(set);
    (start..start.saturating_add(set.spec.replicas.unwrap_or(1))).contains(&ordinal)
}

fn revision_of(pod: &Seen) -> Option<&str> {
    pod.label(REVISION_HASH)
}

/// The sets of ordinals and revisions a plan works with.
struct Scene<'a> {
    set: &'a StatefulSet,
    current: &'a str,
    update: &'a str,
    now: Timestamp,
}

impl Scene<'_> {
    fn is_available(&self, pod: &Seen) -> Result<(), SignedDuration> {
        pod.is_available(self.set.spec.min_ready_seconds.unwrap_or(0), self.now)
    }

    fn is_well(&self, pod: &Seen) -> bool {
        !pod.is_leaving() && pod.phase == Phase::Running && self.is_available(pod).is_ok()
    }

    fn is_rolling(&self) -> bool {
        let strategy = self.set.spec.update_strategy.as_ref();
        strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete")
    }

    /// Ordinals below this stay at the current revision; a partition counts from the first ordinal.
    fn partition(&self) -> i32 {
        let strategy = self.set.spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let partition = rolling.and_then(|rolling| rolling.partition).unwrap_or(0);
        start(self.set).saturating_add(partition)
    }

    fn most_unavailable(&self, replicas: i32) -> usize {
        let strategy = self.set.spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let most = match rolling.and_then(|rolling| rolling.max_unavailable.as_ref()) {
            Some(IntOrString::Int(count)) => usize::try_from(*count).unwrap_or(1),
            Some(IntOrString::String(text)) => {
                let share: usize = text.strip_suffix('%').and_then(|text| text.parse().ok()).unwrap_or(0);
                share * usize::try_from(replicas).unwrap_or(0) / 100
            }
            None => 1,
        };
        most.max(1)
    }
}

/// From a set and its pods to what is next; `current` and `update` are names of revisions.
pub(super) fn plan(set: &StatefulSet, pods: &[Seen], current: &str, update: &str, now: Timestamp) -> Plan {
    let scene = Scene { set, current, update, now };
    let start = start(set);
    let replicas = set.spec.replicas.unwrap_or(1);
    let wanted = start..start.saturating_add(replicas);
    let all: BTreeMap<i32, &Seen> =
        pods.iter().filter_map(|pod| Some((ordinal(set, pod.name())?, pod))).collect();
    let mut plan = Plan { status: status(&scene, &all, wanted.len()), ..Plan::default() };
    plan.wait =
        all.values().filter_map(|pod| scene.is_available(pod).err()).filter(|it| it.is_positive()).min();
    let ordered = set.spec.pod_management_policy.as_deref() != Some("Parallel");

    for n in wanted.clone() {
        match all.get(&n) {
            // A partition keeps old ordinals old, also when they are made again.
            None => plan.create.push((n, scene.is_rolling() && n < scene.partition())),
            Some(pod) if pod.is_finished() && !pod.is_leaving() => plan.delete.push((*pod).clone()),
            Some(pod) if scene.is_well(pod) => continue,
            Some(_) => {}
        }
        if ordered {
            return plan;
        }
    }
    let condemned: Vec<_> =
        all.iter().rev().filter(|(n, _)| !wanted.contains(n)).map(|(_, pod)| *pod).collect();
    if ordered && condemned.iter().any(|pod| pod.is_leaving()) {
        return plan;
    }
    if ordered && let Some(last) = condemned.first().filter(|last| !scene.is_well(last)) {
        // A pod that is ill stops the way down, unless no other is: then its end is what helps.
        let lowest = condemned.iter().rev().find(|pod| !scene.is_well(pod));
        if lowest.is_some_and(|lowest| lowest.name() != last.name()) {
            return plan;
        }
    }
    let most = if ordered { 1 } else { condemned.len() };
    plan.delete.extend(condemned.into_iter().filter(|pod| !pod.is_leaving()).take(most).cloned());
    let busy = !plan.create.is_empty() || !plan.delete.is_empty();
    if !(ordered && busy) && scene.is_rolling() {
        renew(&scene, &all, wanted, &mut plan);
    }
    plan
}

/// Ends pods of old revisions, from the last one on; new ones take their place.
fn renew(scene: &Scene<'_>, all: &BTreeMap<i32, &Seen>, wanted: std::ops::Range<i32>, plan: &mut Plan) {
    let most = scene.most_unavailable(i32::try_from(wanted.len()).unwrap_or(i32::MAX));
    let mut unavailable = wanted.clone().filter(|n| all.get(n).is_none_or(|pod| !scene.is_well(pod))).count();
    let first = wanted.start.max(scene.partition());
    for n in (first..wanted.end).rev() {
        let Some(pod) = all.get(&n) else { continue };
        if revision_of(pod) == Some(scene.update) || pod.is_leaving() {
            continue;
        }
        let loss = usize::from(scene.is_well(pod));
        if unavailable + loss > most {
            return;
        }
        unavailable += loss;
        plan.delete.push((*pod).clone());
    }
}

fn status(scene: &Scene<'_>, all: &BTreeMap<i32, &Seen>, wanted: usize) -> StatefulSetStatus {
    let count = |holds: &dyn Fn(&Seen) -> bool| {
        i32::try_from(all.values().filter(|pod| holds(pod)).count()).unwrap_or(i32::MAX)
    };
    let some = |number: i32| (number != 0).then_some(number);
    let of = |revision: &str| count(&|pod| revision_of(pod) == Some(revision) && !pod.is_leaving());
    let mut status = StatefulSetStatus {
        observed_generation: scene.set.metadata.generation,
        replicas: count(&|pod| !pod.is_finished()),
        ready_replicas: some(count(&|pod| pod.ready)),
        available_replicas: Some(count(&|pod| scene.is_available(pod).is_ok())),
        current_replicas: some(of(scene.current)),
        updated_replicas: some(of(scene.update)),
        current_revision: Some(scene.current.to_owned()),
        update_revision: Some(scene.update.to_owned()),
        collision_count: scene.set.status.as_ref().and_then(|it| it.collision_count).or(Some(0)),
        ..StatefulSetStatus::default()
    };
    let all_new = usize::try_from(of(scene.update)) == Ok(wanted)
        && usize::try_from(count(&|pod| pod.ready)) == Ok(wanted)
        && usize::try_from(status.replicas) == Ok(wanted);
    if all_new && scene.is_rolling() {
        status.current_revision = Some(scene.update.to_owned());
        status.current_replicas = status.updated_replicas;
    }
    status
}

#[cfg(test)]
mod tests;
