//! The pod groups of `scheduling.x-k8s.io`, and which pods belong to them by their label.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Deserialize;
use skiff_api::Object;
use skiff_api::pod::requests::Amounts;
use tokio::time::Instant;

/// The label that says which group of its namespace a pod belongs to.
const LABEL: &str = "scheduling.x-k8s.io/pod-group";

type Uid = Arc<str>;
/// `namespace/name` of a group.
pub(super) type Key = Arc<str>;

/// What a group asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodGroup {
    /// When it was created, in microseconds.
    pub(super) born: i64,
    /// How many of its pods must go together.
    pub(super) least: usize,
    /// What the nodes must have free before one of its pods is tried.
    pub(super) resources: Option<Amounts>,
    /// How long its pods wait for one another, if it says so.
    pub(super) patience: Option<Duration>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Whole {
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    min_member: i64,
    min_resources: Option<BTreeMap<String, Quantity>>,
    schedule_timeout_seconds: Option<i64>,
}

impl PodGroup {
    /// Nothing for one that its definition does not hold to what the plugin reads.
    pub(super) fn of(object: &Object) -> Option<Self> {
        let Whole { spec } = serde_json::from_slice(object.bytes()).ok()?;
        Some(Self {
            born: object.meta().creation_timestamp.map_or(0, |time| time.as_microsecond()),
            least: usize::try_from(spec.min_member).unwrap_or(0),
            resources: spec.min_resources.as_ref().map(Amounts::of),
            patience: spec
                .schedule_timeout_seconds
                .and_then(|it| u64::try_from(it).ok())
                .map(Duration::from_secs),
        })
    }
}

/// The group that a pod says it belongs to.
pub(super) fn group(pod: &Object) -> Option<Key> {
    let name = pod.meta().labels.get(LABEL).filter(|name| !name.is_empty())?;
    Some(skiff_api::meta::key(pod.meta().namespace.as_deref(), name))
}

/// All groups and their pods.
#[derive(Default)]
pub(super) struct Groups {
    known: HashMap<Key, PodGroup>,
    members: HashMap<Key, BTreeSet<Uid>>,
    of: HashMap<Uid, Key>,
    /// Until when a group's resources need not be looked for again.
    checked: HashMap<Key, Instant>,
    /// Until when a group is not tried that failed lately.
    failed: HashMap<Key, Instant>,
}

impl Groups {
    /// A known group.
    pub(super) fn known(&self, key: &str) -> Option<&PodGroup> {
        self.known.get(key)
    }

    /// The group of a pod, known or not.
    pub(super) fn of(&self, uid: &str) -> Option<&Key> {
        self.of.get(uid)
    }

    /// The pods of a group, with and without a node.
    pub(super) fn members(&self, key: &str) -> impl ExactSizeIterator<Item = &Uid> {
        static NONE: BTreeSet<Uid> = BTreeSet::new();
        self.members.get(key).unwrap_or(&NONE).iter()
    }

    /// Takes in a group as it now is; true if that may help its pods.
    pub(super) fn put(&mut self, key: &Key, group: PodGroup) -> bool {
        let before = self.known.insert(Arc::clone(key), group);
        before.as_ref() != self.known.get(key)
    }

    /// Forgets a group; its pods stay known.
    pub(super) fn remove(&mut self, key: &str) {
        self.known.remove(key);
        self.checked.remove(key);
        self.failed.remove(key);
    }

    /// A pod is there; the group that has as many as it needs by it.
    pub(super) fn join(&mut self, uid: &Uid, group: Option<Key>) -> Option<Key> {
        if self.of.get(uid) == group.as_ref() {
            return None;
        }
        self.leave(uid);
        let key = group?;
        self.of.insert(Arc::clone(uid), Arc::clone(&key));
        let members = self.members.entry(Arc::clone(&key)).or_default();
        members.insert(Arc::clone(uid));
        let complete = self.known.get(&key).is_some_and(|group| group.least == members.len());
        complete.then_some(key)
    }

    /// A pod is gone or has ended.
    pub(super) fn leave(&mut self, uid: &str) {
        let Some(key) = self.of.remove(uid) else { return };
        let Some(members) = self.members.get_mut(&key) else { return };
        members.remove(uid);
        if members.is_empty() {
            self.members.remove(&key);
        }
    }

    /// Whether the group failed a moment ago.
    pub(super) fn failed_lately(&self, key: &str, now: Instant) -> bool {
        self.failed.get(key).is_some_and(|until| now < *until)
    }

    /// The group is not tried for a while.
    pub(super) fn fail(&mut self, key: &Key, now: Instant, pause: Duration) {
        self.failed.retain(|_, until| now < *until);
        self.failed.entry(Arc::clone(key)).or_insert(now + pause);
    }

    /// Whether enough was free for the group a moment ago.
    pub(super) fn checked_lately(&self, key: &str, now: Instant) -> bool {
        self.checked.get(key).is_some_and(|until| now < *until)
    }

    /// Enough is free for the group.
    pub(super) fn check(&mut self, key: &Key, now: Instant, patience: Duration) {
        self.checked.retain(|_, until| now < *until);
        self.checked.insert(Arc::clone(key), now + patience);
    }

    /// One of the group's pods fits nowhere: what was free may be no more.
    pub(super) fn uncheck(&mut self, key: &str) {
        self.checked.remove(key);
    }
}
