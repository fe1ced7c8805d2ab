//! What a worker tells of its pod: the status in the API, and the view of it on the node.

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};

use super::Worker;
use super::steps::Done;
use crate::handle::{ContainerView, PodView};
use crate::pod::state::{Progress, VolumeState, Work};
use crate::pod::{is_static, uid};

/// How long the start of a container may keep its pod's status waiting; without a hook it takes a tenth of that.
pub(super) const START: SignedDuration = SignedDuration::from_secs(1);

impl Worker {
    /// Sends the status if it says something new; one write at a time, the newest next. When to look again.
    pub(super) fn report(
        &mut self,
        new: &PodStatus,
        now: Timestamp,
        wake_at: Option<Timestamp>,
    ) -> Option<Timestamp> {
        if self.sent.is_some() || self.state.gone || self.state.delete != Progress::Open {
            return wake_at;
        }
        let known = self.reported.as_ref().or(self.pod.status.as_ref().filter(|_| !is_static(&self.pod)));
        if known.is_some_and(|known| same(known, new)) {
            return wake_at;
        }
        let later = self.report_retry.pending(now).or_else(|| self.about_to_change(known, new, now));
        if let Some(at) = later {
            return Some(wake_at.map_or(at, |other| other.min(at)));
        }
        self.sent = Some((new.clone(), false));
        self.steps.push(self.write_status(new.clone()));
        wake_at
    }

    /// Somebody else has changed what was reported (that the pod is ready, say, while nothing was heard of its node): it is
    /// said again.
    pub(super) fn heed_others(&mut self) {
        let Some(status) = &self.pod.status else { return };
        match &mut self.sent {
            Some((sent, overruled)) => *overruled |= overrules(status, sent),
            None => drop(self.reported.take_if(|known| overrules(status, known))),
        }
    }

    /// While a container starts its status is about to change: one write then says both, unless it takes until then. An
    /// address is never kept back: before they know it, network policies do not hold for the pod.
    fn about_to_change(
        &self,
        known: Option<&PodStatus>,
        new: &PodStatus,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let addressed = known.is_some_and(|known| known.pod_ip == new.pod_ip);
        let starting = self.state.slots.values().any(|slot| slot.work == Some(Work::Starting));
        self.start_awaited.filter(|until| addressed && starting && now < *until)
    }

    /// Shows others the pod as it is now, if that is not what they see already.
    pub(super) fn publish(&mut self, status: PodStatus) {
        let containers = self.state.slots.iter().flat_map(|(name, slot)| {
            slot.history.iter().map(|status| ContainerView {
                name: name.clone(),
                attempt: status.attempt,
                id: status.id.clone(),
                state: status.state,
                log_path: status.log_path.clone(),
            })
        });
        let containers: Vec<ContainerView> = containers.collect();
        let sandbox = self.state.sandbox.as_ref().map(|status| status.sandbox.id.clone());
        let cleared = !self.state.any_alive()
            && self.state.ready_sandbox().is_none()
            && self.state.volumes == VolumeState::Removed;
        let shown = self.shown.as_ref().is_some_and(|(pod, view)| {
            Arc::ptr_eq(pod, &self.pod)
                && view.pod.status.as_ref() == Some(&status)
                && view.sandbox == sandbox
                && view.cleared == cleared
                && view.mounts.as_ref().map(Arc::as_ptr) == self.mounts.as_ref().map(Arc::as_ptr)
                && view.containers == containers
        });
        if shown {
            return;
        }
        let pod = Pod { status: Some(status), ..Pod::clone(&self.pod) };
        let view = Arc::new(PodView {
            pod: Arc::new(pod),
            sandbox,
            containers,
            mounts: self.mounts.clone(),
            cleared,
        });
        self.shown = Some((Arc::clone(&self.pod), Arc::clone(&view)));
        self.ctx.handle.publish(uid(&self.pod), view);
    }

    fn write_status(&self, status: PodStatus) -> BoxFuture<'static, Done> {
        let ctx = self.ctx.clone();
        let pod = Arc::clone(&self.pod);
        Box::pin(async move {
            let result = ctx.cluster.write_status(&pod, &status).await;
            Done::Reported { status: Box::new(status), result }
        })
    }
}

/// Whether the API's status has another word than ours on a condition of ours, and not an older one.
fn overrules(theirs: &PodStatus, ours: &PodStatus) -> bool {
    let theirs = theirs.conditions.as_deref().unwrap_or_default();
    ours.conditions.iter().flatten().any(|own| {
        let same = theirs.iter().find(|one| one.type_ == own.type_);
        same.is_some_and(|one| {
            one.status != own.status && one.last_transition_time.as_ref() >= own.last_transition_time.as_ref()
        })
    })
}

/// Whether two statuses say the same, other writers' fields aside.
pub(super) fn same(known: &PodStatus, new: &PodStatus) -> bool {
    if known == new {
        return true;
    }
    let ours = |status: &PodStatus| {
        let mut status = status.clone();
        // Order and foreign conditions do not count, nor lists that are empty instead of absent.
        if let Some(conditions) = &mut status.conditions {
            conditions.retain(|one| crate::pod::conditions::is_ours(&one.type_, one.reason.as_deref()));
            conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
            for condition in conditions {
                condition.last_probe_time = None;
            }
        }
        skiff_api::decode::tree(&status).unwrap_or_default()
    };
    ours(known) == ours(new)
}
