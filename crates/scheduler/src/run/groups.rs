//! A group's turn carried out: its pods are bound, or told why not, and so is the group.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::scheduling::v1beta1::PodGroup;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use skiff_client::write::{self, Basis};
use tokio::time::Instant;

use super::Loop;
use super::going::Going;
use crate::config::Profiles;
use crate::cycle::Search;
use crate::group::{self, Left, Outcome, Placed};
use crate::pod::{Pending, PodInfo};
use crate::preempt;
use crate::preemption::GroupPlan;
use crate::profile::Profile;
use crate::queue::{Failure, Turn};
use crate::snapshot::{PodGroup as Group, Snapshot};

/// The condition of a group that says whether it was ever placed.
const SCHEDULED: &str = "PodGroupInitiallyScheduled";

/// The room that others make for a pod that stays behind.
enum Seat {
    At(Arc<str>),
    /// Where they were making it already.
    Kept,
    /// None: what they were making is no use any more.
    None,
}

/// What a group is told: a condition's status, reason and message.
type Word = (bool, &'static str, String);

impl Loop {
    /// A group's turn.
    pub(super) fn group_turn(self: &Arc<Self>, turn: &Turn, search: &mut Search) {
        let Some((group, pods)) = self.members(turn) else { return self.queue.remove(&turn.uid) };
        let begun = Instant::now();
        let checked = fellows(&group, &pods, &self.snapshot.lock(), &self.profiles);
        match checked {
            Ok(profile) => {
                let (going, outcome) = self.decide_group(turn, &group, pods, profile, search);
                self.figures.seconds.observe(begun.elapsed().as_secs_f64());
                for pod in going {
                    let this = Arc::clone(self);
                    self.tasks.spawn_until_stop(async move { this.go(pod, None).await });
                }
                self.tell_group(turn, &group, outcome);
            }
            Err(why) => {
                tracing::warn!(group = %turn.key, why, "a group cannot be scheduled");
                self.queue.give_back(&turn.uid, Failure::Error);
                for pod in pods {
                    self.figures.attempt("error");
                    self.tell_left(&pod, "SchedulerError", why.clone(), Seat::None);
                }
                self.report_group(turn, (false, "SchedulerError", why));
            }
        }
    }

    /// The group as it is now, and those of its pods that wait for a node; nothing if there are none.
    fn members(&self, turn: &Turn) -> Option<(Arc<Group>, Vec<Pending>)> {
        let (group, waiting) = {
            let snapshot = self.snapshot.lock();
            let group = Arc::clone(snapshot.groups.known(&turn.key)?);
            let waiting: Vec<Arc<PodInfo>> =
                snapshot.waiting(&turn.key).map(|member| Arc::clone(&member.info)).collect();
            (group, waiting)
        };
        let now = |info: &Arc<PodInfo>| {
            self.pending(&Turn { uid: Arc::clone(info.uid()), key: info.object.meta().key() })
        };
        let mut pods: Vec<Pending> = waiting.iter().filter_map(now).collect();
        // Always in the same order, the oldest first.
        let born = |pod: &Pending| pod.pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        pods.sort_by_cached_key(|pod| (born(pod), pod.info.object.meta().key()));
        (!pods.is_empty()).then_some((group, pods))
    }

    fn decide_group(
        &self,
        turn: &Turn,
        group: &Group,
        pods: Vec<Pending>,
        profile: &Profile,
        search: &mut Search,
    ) -> (Vec<Going>, Outcome) {
        let mut snapshot = self.snapshot.lock();
        let mut outcome = group::place_or_preempt(group, pods, &mut snapshot, profile, search);
        let placed = std::mem::take(&mut outcome.placed);
        let going = placed.into_iter().map(|Placed { pod: pending, node, needs }| {
            snapshot.denominate(pending.info.uid());
            let verdict = profile.permit(&pending, &node, &mut snapshot, &self.queue);
            Going { pending, node, needs, verdict }
        });
        let going = going.collect();
        for (pod, node) in outcome.plan.iter().flat_map(|plan| &plan.seats) {
            snapshot.nominate(Arc::clone(pod), node);
        }
        // The lock is still held: who joins after this puts the group into the queue anew.
        if outcome.left.is_empty() {
            self.queue.remove(&turn.uid);
        } else {
            self.queue.give_back(&turn.uid, Failure::Unfit(std::mem::take(&mut outcome.hopes)));
        }
        (going, outcome)
    }

    /// Tells those that stay behind why, and the group how it fares.
    fn tell_group(self: &Arc<Self>, turn: &Turn, group: &Group, outcome: Outcome) {
        let word = match &outcome.refused {
            None => (true, "Scheduled", String::new()),
            Some(why) => (false, "Unschedulable", why.clone()),
        };
        let seats = outcome.plan.iter().flat_map(|plan| &plan.seats);
        let seats: HashMap<&Arc<str>, &Arc<str>> = seats.map(|(pod, node)| (pod.uid(), node)).collect();
        for Left { pod, unfit } in outcome.left {
            self.figures.attempt("unschedulable");
            let why = unfit.map(|mut unfit| {
                unfit.preempts();
                unfit.to_string()
            });
            let why = why.or_else(|| outcome.refused.clone()).unwrap_or_default();
            let seat = match seats.get(pod.info.uid()) {
                Some(node) => Seat::At(Arc::clone(node)),
                None if outcome.waits => Seat::Kept,
                None => Seat::None,
            };
            self.tell_left(&pod, "Unschedulable", why, seat);
        }
        self.report_group(turn, word);
        if let Some(plan) = outcome.plan {
            self.make_room_for(group, plan);
        }
    }

    fn tell_left(self: &Arc<Self>, pod: &Pending, reason: &'static str, why: String, seat: Seat) {
        let (this, info, pod) = (Arc::clone(self), Arc::clone(&pod.info), Arc::clone(&pod.pod));
        let lost = matches!(seat, Seat::None) && self.snapshot.lock().denominate(info.uid()).is_some();
        let node = match seat {
            Seat::At(node) => Some(node),
            Seat::Kept | Seat::None => None,
        };
        self.tasks.spawn_until_stop(async move {
            let Ok(permit) = Arc::clone(&this.bindings).acquire_owned().await else { return };
            if lost && let Err(error) = preempt::denominate(&this.link, &info).await {
                tracing::debug!(%error, "a nomination could not be taken back");
            }
            this.tell(&pod, reason, why, node.as_deref()).await;
            drop(permit);
        });
    }

    /// Sends those away who make room for the group.
    fn make_room_for(self: &Arc<Self>, group: &Group, plan: GroupPlan) {
        let (this, by, priority) = (Arc::clone(self), format!("podgroup {}", group.uid), group.priority);
        self.tasks.spawn_until_stop(async move {
            let mut nodes: HashMap<Arc<str>, Vec<Arc<PodInfo>>> = HashMap::new();
            for (_, node) in plan.seats {
                nodes.entry(node).or_default();
            }
            for (victim, node) in plan.victims {
                nodes.entry(node).or_default().push(victim);
            }
            for (node, victims) in nodes {
                this.make_room(&by, priority, &node, &victims).await;
            }
        });
    }

    /// Writes into the group's status how its turn ended; once it was placed that stays said.
    fn report_group(self: &Arc<Self>, turn: &Turn, word: Word) {
        let held = self.feeds.groups.as_ref().and_then(|groups| groups.typed::<PodGroup>(&turn.key));
        let Some(held) = held else { return };
        let Some(wanted) = told(&held, word, Time(self.clock.now_seconds())) else { return };
        let link = self.link.clone();
        self.tasks.spawn_until_stop(async move {
            match write::patch_status(&link, &*held, &wanted, Basis::Uid).await {
                Err(error) if !write::is_not_found(&error) => {
                    tracing::debug!(%error, "a group could not be told how its turn ended");
                }
                _ => {}
            }
        });
    }

    /// A pod did not get to its node after its group's turn: the group has another one, after a pause.
    pub(super) fn regroup(&self, pod: &PodInfo) {
        let Some(key) = &pod.group else { return };
        let snapshot = self.snapshot.lock();
        let Some(group) = snapshot.groups.known(key) else { return };
        if snapshot.waiting(key).next().is_some() {
            self.queue.again(key, key, group.priority, snapshot.groups.version(key));
        }
    }
}

/// The profile of all of the group's pods.
///
/// # Errors
/// Why they cannot be scheduled as one.
fn fellows<'a>(
    group: &Group,
    pods: &[Pending],
    cluster: &Snapshot,
    profiles: &'a Profiles,
) -> Result<&'a Profile, String> {
    let scheduler = |pod: &Pending| crate::config::scheduler(&pod.pod).to_owned();
    let policy = |pod: &Pending| {
        pod.spec().preemption_policy.clone().unwrap_or_else(|| "PreemptLowerPriority".to_owned())
    };
    let Some(first) = pods.first() else { return Err("the group has no pods".to_owned()) };
    let one = |what: &str, own: String, others: String| {
        Err(format!(
            "all pods in a single pod group should have the same {what}, got: {own:?} and {others:?}"
        ))
    };
    for pod in pods {
        if scheduler(pod) != scheduler(first) {
            return one(".spec.schedulerName set", scheduler(pod), scheduler(first));
        }
        if policy(pod) != policy(first) {
            return one("preemption policy", policy(pod), policy(first));
        }
    }
    let seated = cluster.seated(&group.key);
    let mut priorities = pods.iter().map(|pod| &pod.info).chain(seated).map(|info| info.priority);
    if let Some(other) = priorities.find(|priority| *priority != group.priority) {
        return Err(format!(
            "all pods in a single pod group should have the same priority as the pod group's priority, got {other} and {}",
            group.priority
        ));
    }
    let name = scheduler(first);
    profiles.named(&name).ok_or_else(|| format!("profile not found for scheduler name {name:?}"))
}

/// The group with the condition that says how its turn ended; nothing if it says so already.
fn told(held: &PodGroup, (status, reason, message): Word, now: Time) -> Option<PodGroup> {
    let mut wanted = held.clone();
    let conditions = wanted.status.get_or_insert_default().conditions.get_or_insert_default();
    let word = if status { "True" } else { "False" };
    let mut fresh = Condition {
        type_: SCHEDULED.to_owned(),
        status: word.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: held.metadata.generation,
        last_transition_time: now,
    };
    match conditions.iter_mut().find(|condition| condition.type_ == SCHEDULED) {
        Some(before) if before.status == "True" && !status => return None,
        Some(before) => {
            if before.status == fresh.status {
                fresh.last_transition_time = before.last_transition_time.clone();
            }
            *before = fresh;
        }
        None => conditions.push(fresh),
    }
    (wanted != *held).then_some(wanted)
}

#[cfg(test)]
mod tests;
