//! Pods of a group queue as one: the group is put into the queue, under its key, as soon as it may go.
//!
//! Whether it may is asked anew whenever the group or one of its pods changes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::scheduling::v1beta1::PodGroup;
use skiff_api::Object;
use skiff_client::Change;
use skiff_client::cache::decode;

use super::Hands;
use crate::config::scheduler;
use crate::event::Event;
use crate::pod::{PodInfo, likeness};
use crate::snapshot::{Member, PodGroup as Group};

impl Hands {
    /// A group came, changed or went.
    pub(super) fn group(&self, change: &Change) {
        let key = change.latest().meta().key();
        match &change.new {
            Some(object) => {
                let Some(group) = decode::<PodGroup>(object) else { return };
                if self.snapshot.lock().groups.put(Group::of(&group)) {
                    self.queue.happened(Event::GroupGrew(Arc::clone(&key)));
                }
            }
            None => self.snapshot.lock().groups.remove(&key),
        }
        self.regroup(&key);
    }

    /// A pod wants a node; true if it waits for it with its group.
    pub(super) fn join(&self, object: &Arc<Object>, pod: &Pod, likeness: u64) -> bool {
        if !self.snapshot.lock().groups.followed {
            return false;
        }
        let info = Arc::new(PodInfo::new(Arc::clone(object), pod));
        let Some(key) = info.group.clone() else { return false };
        self.enrol(&key, Member { info, scheduler: scheduler(pod).into(), likeness });
        self.regroup(&key);
        true
    }

    /// A pod of a group may have got its node from elsewhere.
    pub(super) fn seat(&self, info: &Arc<PodInfo>, pod: &Pod) {
        let Some(key) = info.group.clone() else { return };
        {
            let groups = &self.snapshot.lock().groups;
            if !groups.followed || groups.has(info.uid()) {
                return;
            }
        }
        let likeness = likeness(&info.object, pod);
        self.enrol(&key, Member { info: Arc::clone(info), scheduler: scheduler(pod).into(), likeness });
        self.regroup(&key);
    }

    /// Takes a pod into its group.
    fn enrol(&self, key: &Arc<str>, member: Member) {
        if self.snapshot.lock().groups.join(key, member) {
            self.queue.happened(Event::GroupGrew(Arc::clone(key)));
        }
    }

    /// A pod wants no node any more.
    pub(super) fn retire(&self, uid: &str) {
        self.queue.remove(uid);
        let group = {
            let mut snapshot = self.snapshot.lock();
            snapshot.waiting.gone(uid);
            snapshot.devices.parked.leave(uid);
            snapshot.groups.leave(uid)
        };
        if let Some(key) = group {
            self.regroup(&key);
        }
    }

    /// Puts a group into the queue if it has pods that may go, or takes it out.
    fn regroup(&self, key: &Arc<str>) {
        // The lock is held meanwhile, as it is while a group's turn ends (`run/groups.rs`): nobody falls between.
        let snapshot = self.snapshot.lock();
        let Some(group) = snapshot.groups.known(key) else { return self.queue.remove(key) };
        let mut waiting = snapshot.waiting(key);
        let may = |member: &Member| match self.profiles.named(&member.scheduler) {
            Some(profile) => profile.enqueue(&member.info, &snapshot),
            None => Ok(()),
        };
        match waiting.next().map(may) {
            Some(Ok(())) => self.queue.put(key, key, group.priority, snapshot.groups.version(key)),
            Some(Err(why)) => {
                tracing::debug!(group = %key, why, "a group does not queue yet");
                self.queue.remove(key);
            }
            None => self.queue.remove(key),
        }
    }
}
