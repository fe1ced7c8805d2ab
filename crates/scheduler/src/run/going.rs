//! The way of a pod from its room to its node: it waits until it may go, what it needs there is made ready, and it is bound.
//!
//! Whatever goes wrong on the way, the room is handed back and the pod tried again.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use skiff_client::events::{EventKind, reference};
use skiff_client::write;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use super::Loop;
use crate::devices;
use crate::event::Event;
use crate::needs::Needs;
use crate::pod::Pending;
use crate::profile::Verdict;
use crate::queue::{Failure, Turn};
use crate::snapshot::{Answer, Rejection, Word};

/// A pod that has its room, so far only assumed.
pub(super) struct Going {
    pub(super) pending: Pending,
    pub(super) node: Arc<str>,
    pub(super) needs: Option<Needs>,
    pub(super) verdict: Verdict,
}

impl Going {
    fn turn(&self) -> Turn {
        let info = &self.pending.info;
        Turn { uid: Arc::clone(info.uid()), key: info.object.meta().key() }
    }
}

impl Loop {
    /// Takes the pod to its node. Of those that are bound at once there are only so many: who goes holds one of their slots,
    /// who waits for something else does not.
    pub(super) async fn go(&self, mut going: Going, mut slot: Option<OwnedSemaphorePermit>) {
        match std::mem::replace(&mut going.verdict, Verdict::Go) {
            Verdict::Go => {}
            Verdict::No(by) => return self.rejected(going, by).await,
            Verdict::Wait(answer) => {
                slot = None;
                match self.wait(&going, answer).await {
                    Word::Go => {}
                    Word::No(by) => return self.rejected(going, by).await,
                    Word::Bound => return self.release(&going),
                }
            }
        }
        // Volumes and devices may take long; others need not wait for them.
        if going.needs.is_some() {
            slot = None;
        } else if slot.is_none() {
            slot = Arc::clone(&self.bindings).acquire_owned().await.ok();
        }
        self.bind(going).await;
        drop(slot);
    }

    async fn wait(&self, going: &Going, mut answer: Answer) -> Word {
        let uid = going.pending.info.uid();
        loop {
            let until = self.snapshot.lock().waiting.until(uid);
            let word = match until {
                Some(at) => tokio::select! {
                    word = &mut answer => word,
                    () = sleep_until(at) => {
                        self.snapshot.lock().waiting.expire(uid, Instant::now());
                        continue;
                    }
                },
                None => (&mut answer).await,
            };
            return word.unwrap_or(Word::Bound);
        }
    }

    async fn bind(&self, going: Going) {
        let turn = going.turn();
        if let Err(why) = self.supply(&going).await {
            tracing::warn!(pod = %turn.key, node = %going.node, why, "what the pod needs could not be had");
            return self.failed(going, format!("running PreBind plugin {why}")).await;
        }
        let (pod, node) = (&going.pending.pod, &*going.node);
        let Some(profile) = self.profiles.of(pod) else { return };
        let outcome = match self.bind_elsewhere(pod, node).await {
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => {
                tracing::warn!(pod = %turn.key, node, why, "an extender could not bind");
                return self.failed(going, format!("binding rejected: {why}")).await;
            }
            None => profile.bind(&self.link, pod, node).await,
        };
        match outcome {
            Ok(()) => {
                self.queue.remove(&turn.uid);
                self.figures.attempt("scheduled");
                let message = format!("Successfully assigned {} to {node}", turn.key);
                self.recorder.record(reference(&**pod), EventKind::Normal, "Scheduled", message);
                profile.post_bind(&going.pending, node);
            }
            Err(error) if write::is_not_found(&error) => {
                self.figures.attempt("error");
                self.unreserve(&going);
                self.hand_back(&going).await;
                self.queue.remove(&turn.uid);
            }
            Err(error) => {
                tracing::warn!(pod = %turn.key, node, %error, "binding failed");
                let message = format!("binding rejected: {}", write::words(&error));
                self.failed(going, message).await;
            }
        }
    }

    /// Has the extender bind the pod that binds such pods; nothing if there is none.
    async fn bind_elsewhere(&self, pod: &Pod, node: &str) -> Option<Result<(), String>> {
        for extender in self.extenders.iter().filter(|it| it.bind.is_some() && it.is_interested(pod)) {
            match extender.bind(pod, node).await {
                Some(Err(why)) if extender.ignorable => {
                    tracing::info!(
                        extender = extender.client.url(),
                        why,
                        "skipped: the extender is ignorable"
                    );
                }
                None => {}
                bound => return bound,
            }
        }
        None
    }

    /// Carries out what the pod needs at its node.
    async fn supply(&self, going: &Going) -> Result<(), String> {
        let Some(needs) = &going.needs else { return Ok(()) };
        if let Some(volumes) = &needs.volumes {
            let hands = self.snapshot.lock().storage.hands(&self.link);
            let bound = hands.bind(volumes, &going.node).await;
            self.snapshot.lock().storage.release(volumes);
            bound.map_err(|why| format!("\"VolumeBinding\": {why}"))?;
        }
        if let Some(devices) = &needs.devices {
            let failed = |why| format!("\"DynamicResources\": {why}");
            self.device_hands().bind(devices, &going.pending.pod).await.map_err(failed)?;
            if devices.must_wait() {
                let message = format!("waiting for binding conditions for device on node {}", going.node);
                let about = reference(&*going.pending.pod);
                self.recorder.record(about, EventKind::Normal, "BindingConditionsPending", message);
                self.device_hands().ready(devices).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Undoes at the server what cannot be left as it is.
    async fn hand_back(&self, going: &Going) {
        if let Some(devices) = going.needs.as_ref().and_then(|needs| needs.devices.as_ref()) {
            self.device_hands().undo(devices, &going.pending.pod).await;
        }
    }

    fn device_hands(&self) -> devices::Hands<'_> {
        devices::Hands { link: &self.link, clock: &self.clock, snapshot: &self.snapshot }
    }

    async fn failed(&self, going: Going, message: String) {
        self.figures.attempt("error");
        self.unreserve(&going);
        self.hand_back(&going).await;
        let turn = going.turn();
        self.queue.give_back(&turn.uid, Failure::Error);
        // An extender may have bound it all the same.
        if self.pending(&turn).is_some() {
            self.tell(&going.pending.pod, "SchedulerError", message, None).await;
        }
    }

    /// A plugin does not let the pod go, or it is gone.
    async fn rejected(&self, going: Going, by: Rejection) {
        let (turn, pending) = (going.turn(), &going.pending);
        self.figures.attempt("unschedulable");
        self.unreserve(&going);
        let hopes = {
            let snapshot = self.snapshot.lock();
            let profile = self.profiles.of(&pending.pod);
            let by = BTreeSet::from([by.plugin]);
            profile.map(|profile| profile.hopes(pending, &snapshot, &by)).unwrap_or_default()
        };
        tracing::debug!(pod = %turn.key, node = %going.node, why = by.why, "a pod may not keep its room");
        self.queue.give_back(&turn.uid, Failure::Unfit(hopes));
        if self.pending(&turn).is_some() {
            let message = format!("0/1 nodes are available: 1 {}.", by.why);
            self.tell(&pending.pod, "Unschedulable", message, None).await;
        }
    }

    /// The pod does not get to its node: others may have the room.
    fn unreserve(&self, going: &Going) {
        let pending = &going.pending;
        let forgotten = {
            let mut snapshot = self.snapshot.lock();
            if let Some(profile) = self.profiles.of(&pending.pod) {
                profile.unreserve(pending, &mut snapshot);
            }
            snapshot.forget(pending.info.uid())
        };
        self.release(going);
        if let Some(pod) = forgotten {
            self.queue.happened(Event::PodGone(Arc::clone(&pod)));
            self.regroup(&pod);
        }
    }

    /// Takes back what was promised to the pod.
    fn release(&self, going: &Going) {
        if let Some(needs) = &going.needs {
            needs.release(&mut self.snapshot.lock());
        }
    }
}
