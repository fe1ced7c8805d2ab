//! What the node takes back from a pod when it runs short: all that it has, or what is left of it after its end.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Worker;
use super::steps::{Done, remove_container};
use crate::pod::is_static;
use crate::pod::plan::{finished, last_grace};
use crate::pod::state::{Verdict, Work};
use crate::record::EventKind;

impl Worker {
    /// The pod is over, whatever its containers do. What ends already ends no later than the verdict allows.
    pub(super) fn evict(&mut self, verdict: Verdict) {
        if finished(&self.pod) || self.state.verdict.is_some() {
            return;
        }
        self.ctx.record.record(&self.pod, None, EventKind::Warning, &verdict.reason, verdict.message.clone());
        self.state.verdict = Some(verdict);
        let grace = last_grace(&self.pod, &self.state);
        let ending = self.state.slots.values().filter(|slot| slot.work == Some(Work::Killing));
        for id in ending.filter_map(|slot| Some(slot.newest()?.id.clone())) {
            let runtime = Arc::clone(&self.ctx.runtime);
            self.steps.push(Box::pin(async move {
                if let Err(error) = runtime.stop_container(&id, grace).await {
                    tracing::debug!(container = id, %error, "container not hurried");
                }
                Done::Nothing
            }));
        }
    }

    /// Removes the dead containers of an ended pod with their logs; its status keeps telling how they ended. `done` is held
    /// by whoever is at it.
    pub(super) fn reclaim(&mut self, done: &mpsc::Sender<()>) {
        // How a static pod ended only its containers tell.
        if !finished(&self.pod) || is_static(&self.pod) || self.state.any_alive() {
            return;
        }
        for slot in self.state.slots.values_mut().filter(|slot| slot.work.is_none()) {
            for dead in slot.history.drain(..) {
                let (ctx, done) = (self.ctx.clone(), done.clone());
                self.steps.push(Box::pin(async move {
                    remove_container(&ctx, &dead.id).await;
                    drop(done);
                    Done::Nothing
                }));
            }
        }
    }
}
