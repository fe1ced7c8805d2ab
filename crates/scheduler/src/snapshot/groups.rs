//! Pod groups, and which pods belong to them.
//!
//! A group may be known before its pods and pods before their group. Which of its pods have a node the snapshot says.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::scheduling::v1beta1::PodGroup;

use super::Snapshot;
use crate::pod::PodInfo;

type Uid = Arc<str>;
/// `namespace/name` of a group.
type Key = Arc<str>;

/// What a group asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) key: Key,
    pub(crate) uid: Arc<str>,
    /// How many of its pods must be placed together; absent if each may go by itself.
    pub(crate) gang: Option<usize>,
    pub(crate) priority: i32,
    /// Whether its pods are disrupted all together or not at all.
    pub(crate) together: bool,
}

/// A pod of a group.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) info: Arc<PodInfo>,
    /// Who is to schedule it.
    pub(crate) scheduler: Box<str>,
    /// Equal for pods that any node suits alike.
    pub(crate) likeness: u64,
}

/// The pods of a group.
#[derive(Default)]
struct Roll {
    members: HashMap<Uid, Member>,
    /// Grows with whatever may give the group a better chance.
    version: u64,
}

/// All groups and their pods.
#[derive(Default)]
pub(crate) struct Groups {
    /// Whether anybody says what groups there are: if not, pods go each by itself.
    pub(crate) followed: bool,
    known: HashMap<Key, Arc<Group>>,
    rolls: HashMap<Key, Roll>,
    /// Whose pod each is.
    of: HashMap<Uid, Key>,
}

impl Group {
    pub(crate) fn of(object: &PodGroup) -> Self {
        let (meta, spec) = (&object.metadata, &object.spec);
        let name = meta.name.as_deref().unwrap_or_default();
        let mode = spec.disruption_mode.as_ref();
        let gang = spec.scheduling_policy.gang.as_ref();
        Self {
            key: skiff_api::meta::key(meta.namespace.as_deref(), name),
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            gang: gang.map(|gang| usize::try_from(gang.min_count).unwrap_or(0)),
            priority: spec.priority.unwrap_or(0),
            together: mode.is_some_and(|mode| mode.all.is_some()),
        }
    }

    /// How many of its pods must be placed.
    pub(crate) fn least(&self) -> usize {
        self.gang.unwrap_or(1)
    }
}

impl Groups {
    /// A known group.
    pub(crate) fn known(&self, key: &str) -> Option<&Arc<Group>> {
        self.known.get(key)
    }

    /// Whether a pod is in its group.
    pub(crate) fn has(&self, uid: &str) -> bool {
        self.of.contains_key(uid)
    }

    /// How many pods a group has, with and without a node.
    pub(crate) fn size(&self, key: &str) -> usize {
        self.rolls.get(key).map_or(0, |roll| roll.members.len())
    }

    /// Changes when the group may have a better chance than before.
    pub(crate) fn version(&self, key: &str) -> u64 {
        self.rolls.get(key).map_or(0, |roll| roll.version)
    }

    /// Takes in a group; true if that may help its pods: it is new, or content with less than before.
    pub(crate) fn put(&mut self, group: Group) -> bool {
        let (key, least) = (Arc::clone(&group.key), group.least());
        let before = self.known.insert(Arc::clone(&key), Arc::new(group));
        let helps = before.is_none_or(|before| least < before.least());
        if helps {
            self.rolls.entry(key).or_default().version += 1;
        }
        helps
    }

    /// Forgets a group; its pods stay known.
    pub(crate) fn remove(&mut self, key: &str) {
        self.known.remove(key);
        self.forget_if_empty(key);
    }

    /// A pod of a group came or changed. True if it came.
    pub(crate) fn join(&mut self, key: &Key, member: Member) -> bool {
        let uid = Arc::clone(member.info.uid());
        let roll = self.rolls.entry(Arc::clone(key)).or_default();
        let likeness = member.likeness;
        let before = roll.members.insert(Arc::clone(&uid), member);
        if before.as_ref().is_none_or(|before| before.likeness != likeness) {
            roll.version += 1;
        }
        self.of.insert(uid, Arc::clone(key));
        before.is_none()
    }

    /// A pod is gone; the group that it belonged to, if it did.
    pub(crate) fn leave(&mut self, uid: &str) -> Option<Key> {
        let key = self.of.remove(uid)?;
        if let Some(roll) = self.rolls.get_mut(&key) {
            roll.members.remove(uid);
        }
        self.forget_if_empty(&key);
        Some(key)
    }

    fn forget_if_empty(&mut self, key: &str) {
        let empty = self.rolls.get(key).is_some_and(|roll| roll.members.is_empty());
        if empty && !self.known.contains_key(key) {
            self.rolls.remove(key);
        }
    }

    fn members(&self, key: &str) -> impl Iterator<Item = &Member> {
        self.rolls.get(key).into_iter().flat_map(|roll| roll.members.values())
    }
}

impl Snapshot {
    /// Pods of a group that have no node.
    pub(crate) fn waiting(&self, group: &str) -> impl Iterator<Item = &Member> {
        self.groups.members(group).filter(|member| !self.is_placed(member.info.uid()))
    }

    /// Pods of a group that have a node, be it only assumed.
    pub(crate) fn seated(&self, group: &str) -> impl Iterator<Item = &Arc<PodInfo>> {
        self.groups.members(group).filter_map(|member| self.placed(member.info.uid()))
    }
}
