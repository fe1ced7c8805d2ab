//! Pods of a group go together, as the `Coscheduling` plugin of kubernetes-sigs/scheduler-plugins has it: off unless a
//! profile enables it.
//!
//! Follows that project's `pkg/coscheduling`. Unlike gangs (`gang_scheduling.rs`) the pods take their turns one by one,
//! and each waits at the permit with its room until as many have theirs as the group needs. If one of them fits nowhere, or the wait
//! is too long, all that wait give their room back. Pods are told apart by a label, groups are custom resources, and neither
//! is written by the plugin.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use skiff_api::pod::requests::Amounts;
use skiff_api::{Errors, Object, Resource};
use skiff_client::Change;
use tokio::time::Instant;

use crate::config::args;
use crate::event::{Event, Hope};
use crate::plugin::{Asking, Permit, Plugin, Rank};
use crate::pod::{Pending, PodInfo};
use crate::queue::Queue;
use crate::snapshot::Snapshot;

mod groups;

use groups::{Groups, Key, PodGroup, group};

const NAME: &str = "Coscheduling";

/// The plugin, and what it knows of groups.
pub(crate) struct Coscheduling {
    /// How long a pod waits for the others, unless its group says so.
    patience: Duration,
    /// How long a group is not tried that failed.
    pause: Duration,
    /// If no larger share of the group is without a place, those that wait stay when another one fits nowhere.
    tolerated: i64,
    /// Locked for a moment, and never while another lock is asked for.
    groups: Mutex<Groups>,
}

/// `CoschedulingArgs`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Args {
    permit_waiting_time_seconds: Option<i64>,
    pod_group_backoff_seconds: Option<i64>,
    pod_group_reject_percentage: Option<i64>,
}

impl Default for Coscheduling {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(60),
            pause: Duration::ZERO,
            tolerated: 10,
            groups: Mutex::default(),
        }
    }
}

/// The plugin as its arguments want it.
pub(crate) fn configured(given: &Value, errors: &mut Errors) -> Arc<dyn Plugin> {
    Arc::new(read(given, errors))
}

fn read(given: &Value, errors: &mut Errors) -> Coscheduling {
    let given: Args = args(given, errors);
    let mut plugin = Coscheduling::default();
    let mut seconds = |field: &str, given: Option<i64>, slot: &mut Duration| {
        let Some(value) = given else { return };
        match u64::try_from(value) {
            Ok(seconds) => *slot = Duration::from_secs(seconds),
            Err(_) => errors.invalid(field, &value, "must be greater than 0"),
        }
    };
    seconds("permitWaitingTimeSeconds", given.permit_waiting_time_seconds, &mut plugin.patience);
    seconds("podGroupBackoffSeconds", given.pod_group_backoff_seconds, &mut plugin.pause);
    if let Some(percent) = given.pod_group_reject_percentage {
        if !(0..=100).contains(&percent) {
            errors.invalid("podGroupRejectPercentage", &percent, "must be between 0 and 100");
        }
        plugin.tolerated = percent;
    }
    plugin
}

impl Coscheduling {
    /// The group of a pod, if it is known.
    fn group_of(&self, pod: &PodInfo) -> Option<(Key, PodGroup)> {
        let key = group(&pod.object)?;
        let group = self.groups.lock().known(&key)?.clone();
        Some((key, group))
    }

    /// Those of the group's pods that have their room, this one aside.
    fn seated(&self, key: &str, but: &PodInfo, cluster: &Snapshot) -> usize {
        let groups = self.groups.lock();
        groups.members(key).filter(|uid| *uid != but.uid() && cluster.is_placed(uid)).count()
    }

    /// How long a pod of the group waits.
    fn patience(&self, group: &PodGroup) -> Duration {
        group.patience.filter(|patience| !patience.is_zero()).unwrap_or(self.patience)
    }

    /// Whether the nodes have as much free as the group asks for, what its own pods take up included.
    fn has_room(key: &Key, group: &PodGroup, least: &Amounts, cluster: &Snapshot) -> Result<(), String> {
        let mut gap: BTreeMap<&str, i64> = least.iter().filter(|(_, amount)| *amount > 0).collect();
        gap.insert("pods", i64::try_from(group.least).unwrap_or(i64::MAX));
        for node in cluster.nodes() {
            let own: Vec<_> = node.pods.values().filter(|pod| is_of(key)(pod)).collect();
            gap.retain(|name, lacks| {
                let free = match *name {
                    "pods" => {
                        i64::try_from((node.room + own.len()).saturating_sub(node.pods.len())).unwrap_or(0)
                    }
                    name => {
                        let own: i64 = own.iter().map(|pod| pod.requests.get(name)).sum();
                        node.allocatable.get(name) - node.requested.get(name) + own
                    }
                };
                *lacks -= free.max(0);
                *lacks > 0
            });
            if gap.is_empty() {
                return Ok(());
            }
        }
        let shown = |(name, amount): (&str, i64)| match name {
            "cpu" => format!("{name}:{amount}m"),
            _ => format!("{name}:{amount}"),
        };
        let lacks: Vec<String> = gap.into_iter().map(shown).collect();
        Err(format!("resource gap: map[{}]", lacks.join(" ")))
    }
}

/// Whether a pod is of a group.
fn is_of(key: &Key) -> impl Fn(&PodInfo) -> bool {
    move |pod| group(&pod.object).as_ref() == Some(key)
}

impl Plugin for Coscheduling {
    fn name(&self) -> &'static str {
        NAME
    }

    fn follows(&self) -> Option<Resource> {
        Some(Resource {
            group: "scheduling.x-k8s.io".into(),
            version: "v1alpha1".into(),
            plural: "podgroups".into(),
            kind: "PodGroup".into(),
            namespaced: true,
        })
    }

    fn followed(&self, change: &Change) -> Option<Event> {
        let key = change.latest().meta().key();
        let mut groups = self.groups.lock();
        match change.new.as_deref().and_then(PodGroup::of) {
            Some(group) => groups.put(&key, group).then_some(Event::Siblings(key)),
            None => {
                groups.remove(&key);
                None
            }
        }
    }

    fn sees(&self, pod: Option<&Object>, uid: &Arc<str>) -> Option<Event> {
        let mut groups = self.groups.lock();
        match pod {
            Some(pod) => groups.join(uid, group(pod)).map(Event::Siblings),
            None => {
                groups.leave(uid);
                None
            }
        }
    }

    /// By priority, then by the age of the group, then by name.
    fn rank(&self, asking: &Asking<'_>) -> Rank {
        let groups = self.groups.lock();
        let group = groups.of(asking.uid).and_then(|key| groups.known(key));
        let since = group.map_or(asking.since, |group| group.born);
        Rank { since, key: Some(Arc::clone(asking.key)), ..Rank::by_priority(asking.priority) }
    }

    fn admit(&self, pod: &Pending, cluster: &Snapshot) -> Result<(), String> {
        let Some((key, group)) = self.group_of(&pod.info) else { return Ok(()) };
        let now = Instant::now();
        let (failed, checked, members) = {
            let groups = self.groups.lock();
            (groups.failed_lately(&key, now), groups.checked_lately(&key, now), groups.members(&key).len())
        };
        if failed {
            return Err(format!("podGroup {key} failed recently"));
        }
        if members < group.least {
            let (name, least) = (&pod.info.object.meta().name, group.least);
            return Err(format!(
                "pre-filter pod {name} cannot find enough sibling pods, current pods number: {members}, minMember of group: {least}"
            ));
        }
        let Some(least) = group.resources.as_ref().filter(|_| !checked) else { return Ok(()) };
        Self::has_room(&key, &group, least, cluster)?;
        self.groups.lock().check(&key, now, self.patience);
        Ok(())
    }

    fn post_filter(&self, pod: &Pending, cluster: &mut Snapshot) -> Option<String> {
        let Some((key, group)) = self.group_of(&pod.info) else {
            return Some("can not find pod group".to_owned());
        };
        let seated = self.seated(&key, &pod.info, cluster);
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let (least, lacks) = (number(group.least), number(group.least) - number(seated));
        // Enough have their place already; or so few have not that those after this one may do.
        if lacks <= 0 || lacks.saturating_mul(100) <= least.saturating_mul(self.tolerated) {
            return None;
        }
        // Where one of them fits nowhere, the others are not likely to either.
        cluster.waiting.reject(NAME, "optimistic rejection in PostFilter", is_of(&key));
        let mut groups = self.groups.lock();
        if !self.pause.is_zero() && groups.members(&key).len() >= group.least {
            groups.fail(&key, Instant::now(), self.pause);
        }
        groups.uncheck(&key);
        let name = &pod.info.object.meta().name;
        Some(format!("PodGroup {key} gets rejected due to Pod {name} is unschedulable even after PostFilter"))
    }

    fn permit(&self, pod: &Pending, cluster: &mut Snapshot, queue: &Queue) -> Permit {
        let Some(key) = group(&pod.info.object) else { return Permit::Allow };
        let Some((_, group)) = self.group_of(&pod.info) else {
            return Permit::Reject("PodGroup not found".to_owned());
        };
        let seated = self.seated(&key, &pod.info, cluster);
        if seated + 1 >= group.least {
            cluster.waiting.allow(NAME, is_of(&key));
            return Permit::Allow;
        }
        if seated == 0 {
            // The first of them: the others need not wait until something else wakes them.
            let siblings: Vec<Arc<str>> = self.groups.lock().members(&key).cloned().collect();
            queue.happened(Event::Siblings(key));
            queue.activate(&siblings);
        }
        Permit::Wait(self.patience(&group))
    }

    fn unreserve(&self, pod: &Pending, cluster: &mut Snapshot) {
        let Some((key, _)) = self.group_of(&pod.info) else { return };
        cluster.waiting.reject(NAME, "rejection in Unreserve", is_of(&key));
        self.groups.lock().uncheck(&key);
    }

    fn hope(&self, pod: &Pending, _: &Snapshot) -> Hope {
        let own = group(&pod.info.object);
        Hope::of_placed_too(move |event| match event {
            Event::Siblings(key) => own.as_ref() == Some(key),
            Event::PodPlaced(_) => own.is_some(),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests;
