//! Pods that wait for room which others are leaving for them.
//!
//! A pod of lower priority must not slip into that room meanwhile: while a decision is made, those that matter to it
//! stand on their nodes as if they were placed ([`Snapshot::conjure`]).

use std::sync::Arc;

use super::Snapshot;
use crate::pod::{Pending, PodInfo};

/// A pod taken from its node, to be put back.
pub(crate) struct Taken {
    pub(crate) pod: Arc<PodInfo>,
    pub(crate) node: Arc<str>,
    assumed: bool,
}

impl Snapshot {
    /// The pods of a node.
    pub(crate) fn pods_of(&self, node: &str) -> impl Iterator<Item = &Arc<PodInfo>> {
        self.by_name(node).into_iter().flat_map(|node| node.pods.values())
    }

    /// Takes a pod from its node for a moment.
    pub(crate) fn take(&mut self, uid: &str) -> Option<Taken> {
        let (id, assumed) = *self.places.get(uid)?;
        let node = self.numbered(id)?;
        let (pod, node) = (Arc::clone(node.pods.get(uid)?), Arc::clone(&node.name));
        self.displace(uid);
        Some(Taken { pod, node, assumed })
    }

    /// Puts it back as it was.
    pub(crate) fn put_back(&mut self, taken: Taken) {
        self.place(taken.pod, &taken.node, taken.assumed);
    }

    /// Remembers where a pod shall go once others have left.
    pub(crate) fn nominate(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.nominated.insert(Arc::clone(pod.uid()), (pod, node.into()));
    }

    /// Forgets it; the pod if there was one.
    pub(crate) fn denominate(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        self.nominated.remove(uid).map(|(pod, _)| pod)
    }

    /// Where a pod shall go.
    pub(crate) fn nominated_node(&self, uid: &str) -> Option<&str> {
        self.nominated.get(uid).map(|(_, node)| &**node)
    }

    /// Pods of lower priority that were to go to a node: somebody more important goes there now.
    pub(crate) fn outranked(&self, node: &str, priority: i32) -> Vec<Arc<PodInfo>> {
        let here = self.nominated.values().filter(|(_, name)| **name == *node);
        here.filter(|(pod, _)| pod.priority < priority).map(|(pod, _)| Arc::clone(pod)).collect()
    }

    /// Lets nominated pods that outrank or equal this one stand on their nodes; who they are.
    pub(crate) fn conjure(&mut self, pod: &Pending) -> Vec<Arc<str>> {
        if self.nominated.is_empty() {
            return Vec::new();
        }
        let own = pod.info.uid();
        let others = self.nominated.iter().filter(|(uid, (other, node))| {
            *uid != own
                && other.priority >= pod.info.priority
                && !self.places.contains_key(*uid)
                && self.ids.contains_key(node)
        });
        let ghosts: Vec<_> = others.map(|(_, (other, node))| (Arc::clone(other), Arc::clone(node))).collect();
        for (ghost, node) in &ghosts {
            self.place(Arc::clone(ghost), node, true);
        }
        ghosts.into_iter().map(|(ghost, _)| Arc::clone(ghost.uid())).collect()
    }

    /// Takes them away again.
    pub(crate) fn banish(&mut self, ghosts: &[Arc<str>]) {
        for uid in ghosts {
            self.displace(uid);
        }
    }
}
