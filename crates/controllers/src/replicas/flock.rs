//! What the pods of one controller amount to, kept up to date pod by pod.
//!
//! A controller of ten thousand pods is woken by each of them. Were all decoded each time, the whole would cost the
//! square of their number; so what counts about a pod is noted once per change, sums are carried along, and a look at
//! them costs nothing. Changes only mark a pod; it is looked at when its controller is next worked on, so that several
//! changes in a row are one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use skiff_api::pod::facts::Phase;
use skiff_api::{LabelSelector, Object, Readable};
use skiff_client::controller::{Caches, How, Key, ManagedBy};
use skiff_client::{Cache, Change};

use crate::Settings;
use crate::shared::seen::Seen;

/// Annotation: who costs less is deleted first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// So many pods are looked at before others may look or mark again.
const TURN: usize = 64;

type Labels = BTreeMap<Box<str>, Box<str>>;

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It counts as a replica.
    Active,
    /// Deleted, but not at its end yet.
    Ending,
    Finished,
}

/// What counts about one pod.
#[derive(Debug)]
pub(super) struct Member {
    standing: Standing,
    labels: Arc<Labels>,
    pub(super) node: Option<Box<str>>,
    /// 0: pending, 1: unknown, 2: running.
    pub(super) phase: u8,
    pub(super) ready: bool,
    pub(super) ready_since: Option<Timestamp>,
    pub(super) cost: i32,
    pub(super) restarts: i32,
    pub(super) created: Option<Timestamp>,
}

/// One controller's pods.
#[derive(Debug, Default)]
pub(crate) struct Flock {
    members: HashMap<Arc<str>, Member>,
    /// Changed, and not looked at yet.
    marked: HashSet<Arc<str>>,
    ending: usize,
    ready: usize,
    /// When the active ones that are ready became so, as far as they say.
    since: BTreeSet<(Timestamp, Arc<str>)>,
    /// How many active ones have which labels: they are nearly always the same.
    labels: HashMap<Arc<Labels>, usize>,
}

impl Flock {
    /// Takes a pod in as it is now.
    pub(super) fn put(&mut self, key: Arc<str>, pod: &Seen) {
        self.remove(&key);
        let labels = self.shared(&pod.meta().labels);
        let member = Member::new(pod, labels);
        match member.standing {
            Standing::Active => {
                *self.labels.entry(Arc::clone(&member.labels)).or_default() += 1;
                self.ready += usize::from(member.ready);
                self.since.extend(member.ready_since.map(|since| (since, Arc::clone(&key))));
            }
            Standing::Ending => self.ending += 1,
            Standing::Finished => {}
        }
        self.members.insert(key, member);
    }

    fn remove(&mut self, key: &Arc<str>) {
        let Some(member) = self.members.remove(key) else { return };
        match member.standing {
            Standing::Active => {
                if let Some(count) = self.labels.get_mut(&member.labels) {
                    *count -= 1;
                    if *count == 0 {
                        self.labels.remove(&member.labels);
                    }
                }
                self.ready -= usize::from(member.ready);
                if let Some(since) = member.ready_since {
                    self.since.remove(&(since, Arc::clone(key)));
                }
            }
            Standing::Ending => self.ending -= 1,
            Standing::Finished => {}
        }
    }

    fn shared(&self, labels: &Labels) -> Arc<Labels> {
        match self.labels.get_key_value(labels) {
            Some((held, _)) => Arc::clone(held),
            None => Arc::new(labels.clone()),
        }
    }

    /// Looks at some of what is marked; true while there is more.
    fn catch_up(&mut self, uid: &str, pods: &Cache) -> bool {
        let turn: Vec<Arc<str>> = self.marked.iter().take(TURN).cloned().collect();
        for key in turn {
            self.marked.remove(&key);
            let object = pods.get(&key).filter(|object| owner(object).is_some_and(|(_, held)| held == uid));
            match object {
                Some(pod) => self.put(key, &pod.into()),
                None => self.remove(&key),
            }
        }
        !self.marked.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.marked.is_empty()
    }

    /// How many count as replicas.
    pub(crate) fn active(&self) -> usize {
        self.labels.values().sum()
    }

    /// How many are on their way out.
    pub(crate) fn ending(&self) -> usize {
        self.ending
    }

    /// How many are ready.
    pub(super) fn ready(&self) -> usize {
        self.ready
    }

    /// How many have been ready for so long, and how long until one more has, unless something changes.
    pub(super) fn available(&self, min_ready: i32, now: Timestamp) -> (usize, Option<SignedDuration>) {
        if min_ready <= 0 {
            return (self.ready, None);
        }
        let wanted = SignedDuration::from_secs(i64::from(min_ready));
        let passed = |since: Timestamp| now.duration_since(since);
        let young = self.since.iter().rev().take_while(|(since, _)| passed(*since) < wanted);
        let (mut count, mut next) = (0, None);
        for (since, _) in young {
            count += 1;
            next = Some(wanted - passed(*since));
        }
        let unsaid = self.ready > self.since.len();
        (self.since.len() - count, next.or(unsaid.then_some(wanted)))
    }

    /// How many have all these labels.
    pub(super) fn labelled(&self, wanted: &BTreeMap<String, String>) -> usize {
        let fits = |labels: &Labels| {
            let has =
                |(key, value): (&String, &String)| labels.get(&**key).is_some_and(|held| **held == **value);
            wanted.iter().all(has)
        };
        self.labels.iter().filter(|(labels, _)| fits(labels)).map(|(_, count)| count).sum()
    }

    /// Replicas that the selector does not select any more.
    pub(super) fn strays(&self, selector: &LabelSelector) -> Vec<Arc<str>> {
        if self.labels.keys().all(|labels| selector.matches(&**labels)) {
            return Vec::new();
        }
        let stray = |member: &Member| !selector.matches(&*member.labels);
        self.replicas().filter(|(_, member)| stray(member)).map(|(key, _)| Arc::clone(key)).collect()
    }

    /// Those that count as replicas.
    pub(super) fn replicas(&self) -> impl Iterator<Item = (&Arc<str>, &Member)> {
        self.members.iter().filter(|(_, member)| member.standing == Standing::Active)
    }
}

impl Member {
    fn new(pod: &Seen, labels: Arc<Labels>) -> Self {
        let standing = match (pod.is_finished(), pod.is_leaving()) {
            (true, _) => Standing::Finished,
            (false, true) => Standing::Ending,
            (false, false) => Standing::Active,
        };
        Self {
            standing,
            labels,
            node: pod.node.clone(),
            phase: match pod.phase {
                Phase::Pending => 0,
                Phase::Unknown => 1,
                _ => 2,
            },
            ready: pod.ready,
            ready_since: pod.ready_since,
            cost: pod.note(DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or(0),
            restarts: pod.restarts.most,
            created: pod.meta().creation_timestamp,
        }
    }
}

/// All flocks by their controllers' uids.
#[derive(Default)]
pub(crate) struct Flocks {
    by_owner: Mutex<HashMap<Box<str>, Arc<Mutex<Flock>>>>,
}

/// The kind and uid of who manages the object.
fn owner(object: &Object) -> Option<(&str, &str)> {
    object.meta().controller().map(|owner| (&*owner.kind, &*owner.uid))
}

impl Flocks {
    /// A pod changed: its flock shall look at it, if a `K` manages it.
    pub(crate) fn note<K: Readable>(&self, change: &Change) {
        let uid = |object: &Arc<Object>| {
            owner(object).filter(|(kind, _)| *kind == K::KIND).map(|(_, uid)| Box::<str>::from(uid))
        };
        let key = change.latest().meta().key();
        let now = change.new.as_ref().and_then(uid);
        let before = change.old.as_ref().and_then(uid).filter(|before| Some(before) != now.as_ref());
        let mut flocks = self.by_owner.lock();
        if let Some(uid) = before
            && let Some(flock) = flocks.get(&uid).cloned()
        {
            let mut flock = flock.lock();
            flock.marked.remove(&key);
            flock.remove(&key);
            if flock.is_empty() {
                flocks.remove(&uid);
            }
        }
        if let Some(uid) = now {
            flocks.entry(uid).or_default().lock().marked.insert(key);
        }
    }

    /// Looks at the flock of the controller with this uid, as the cache has it now.
    pub(crate) fn look<T>(&self, uid: &str, pods: &Cache, look: impl FnOnce(&Flock) -> T) -> T {
        let Some(flock) = self.by_owner.lock().get(uid).cloned() else { return look(&Flock::default()) };
        loop {
            let mut flock = flock.lock();
            if !flock.catch_up(uid, pods) {
                return look(&flock);
            }
        }
    }
}

/// The `K` that manages the pod, before or after the change; notes the change for it.
pub(crate) struct MemberOf<K>(std::marker::PhantomData<K>);

impl<K: Readable> How<Settings> for MemberOf<K> {
    fn keys(change: &Change, caches: &Caches, settings: &Settings) -> Vec<Key> {
        settings.flocks.note::<K>(change);
        ManagedBy::<K>::keys(change, caches, settings)
    }
}
