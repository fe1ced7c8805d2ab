//! Pods that stay or go together: each by itself, those of a group that is disrupted as a whole all at once.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::pod::PodInfo;
use crate::snapshot::{Snapshot, Taken};

/// Pods that stay or go together, taken from their nodes.
pub(super) struct Unit {
    pub(super) pods: Vec<Taken>,
    priority: i32,
    /// Whether it is a group.
    whole: bool,
}

/// Who is in a unit.
struct Roll {
    uids: Vec<Arc<str>>,
    priority: i32,
    whole: bool,
}

/// For whom room is made.
pub(super) struct For<'a> {
    pub(super) priority: i32,
    /// The group that it is or belongs to.
    pub(super) group: Option<&'a str>,
}

impl Unit {
    pub(super) fn infos(&self) -> impl Iterator<Item = Arc<PodInfo>> {
        self.pods.iter().map(|taken| Arc::clone(&taken.pod))
    }

    /// The most important first: by priority, groups before pods, large groups before small ones, old pods before young ones.
    fn importance(&self) -> (Reverse<i32>, bool, Reverse<usize>, i64, Option<Arc<str>>) {
        let oldest = self.infos().map(|info| info.started).min().unwrap_or(i64::MAX);
        let uid = self.pods.iter().map(|taken| taken.pod.uid()).min().cloned();
        (Reverse(self.priority), !self.whole, Reverse(self.pods.len()), oldest, uid)
    }
}

impl Roll {
    fn of(unit: &Unit) -> Self {
        let uids = unit.infos().map(|info| Arc::clone(info.uid())).collect();
        Self { uids, priority: unit.priority, whole: unit.whole }
    }

    /// Takes them from their nodes.
    fn take(self, cluster: &mut Snapshot) -> Unit {
        let pods = self.uids.iter().filter_map(|uid| cluster.take(uid)).collect();
        Unit { pods, priority: self.priority, whole: self.whole }
    }
}

/// Takes everybody away who matters less, from one node or from all, the most important first.
pub(super) fn take_lesser(whom: &For<'_>, node: Option<&str>, cluster: &mut Snapshot) -> Vec<Unit> {
    let mut rolls: HashMap<Arc<str>, Roll> = HashMap::new();
    let mut meet = |pod: &Arc<PodInfo>| {
        let own = pod.group.as_ref().and_then(|key| cluster.groups.known(key));
        let priority = own.map_or(pod.priority, |own| own.priority);
        if priority >= whom.priority || own.is_some_and(|own| Some(&*own.key) == whom.group) {
            return;
        }
        match own.filter(|own| own.together) {
            Some(own) => {
                let all = || cluster.seated(&own.key).map(|pod| Arc::clone(pod.uid())).collect();
                let key = Arc::clone(&own.key);
                rolls.entry(key).or_insert_with(|| Roll { uids: all(), priority, whole: true });
            }
            None => {
                let uid = Arc::clone(pod.uid());
                rolls.insert(Arc::clone(&uid), Roll { uids: vec![uid], priority, whole: false });
            }
        }
    };
    match node {
        Some(node) => cluster.pods_of(node).for_each(&mut meet),
        None => cluster.nodes().flat_map(|node| node.pods.values()).for_each(&mut meet),
    }
    let mut units: Vec<Unit> = rolls.into_values().map(|roll| roll.take(cluster)).collect();
    units.sort_by_cached_key(Unit::importance);
    units
}

/// Puts those first whose going some budget does not allow, for they have the best chance to stay; the pods that it protects.
pub(super) fn protected_first(units: &mut [Unit], cluster: &Snapshot) -> HashSet<Arc<str>> {
    let infos: Vec<Arc<PodInfo>> = units.iter().flat_map(Unit::infos).collect();
    let protected = cluster.budgets.violated_by(&infos);
    units.sort_by_key(|unit| !unit.infos().any(|info| protected.contains(info.uid())));
    protected
}

pub(super) fn give_back(units: Vec<Unit>, cluster: &mut Snapshot) {
    units.into_iter().flat_map(|unit| unit.pods).for_each(|taken| cluster.put_back(taken));
}

/// Gives these back if all is still well then; else they are taken again and returned.
pub(super) fn give_back_if(
    units: Vec<Unit>,
    cluster: &mut Snapshot,
    well: impl FnOnce(&mut Snapshot) -> bool,
) -> Vec<Unit> {
    let rolls: Vec<Roll> = units.iter().map(Roll::of).collect();
    give_back(units, cluster);
    if well(cluster) {
        return Vec::new();
    }
    rolls.into_iter().map(|roll| roll.take(cluster)).collect()
}
