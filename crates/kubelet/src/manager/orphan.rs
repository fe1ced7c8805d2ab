//! Pods that the runtime or the disk still holds and that no source wants: they are taken away in good order.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::mpsc;

use super::Manager;
use crate::pod::config::GRACE;
use crate::worker::{Found, Message, Worker};

impl Manager {
    pub(super) fn take_away_orphans(&mut self) {
        let mut orphans = std::mem::take(&mut self.found);
        for uid in self.on_disk() {
            if !self.workers.contains_key(&uid) {
                orphans.entry(uid).or_default();
            }
        }
        for (uid, found) in orphans {
            tracing::info!(pod = uid, "no source wants this pod any more: it is taken away");
            let pod = Arc::new(rebuild(&uid, &found));
            let (to, inbox) = mpsc::unbounded_channel();
            let _own_receiver_lives = to.send(Message::Gone);
            let worker = Worker::new(self.ctx.clone(), pod, inbox);
            self.employ(&uid, to, worker, found);
        }
    }

    /// What pods left of devices that have no worker: they ended while nobody looked, and nothing else is left of them.
    pub(super) fn undo_devices(&self) {
        let (ctx, tasks) = (self.ctx.clone(), self.tasks.clone());
        let known: BTreeSet<String> = self.workers.keys().cloned().collect();
        self.tasks.spawn_until_stop(async move {
            for pod in ctx.device_plugins.holders().difference(&known) {
                if let Err(error) = ctx.device_plugins.release(pod).await {
                    tracing::warn!(pod, error, "devices of a pod that is gone not taken back");
                }
            }
            for pod in ctx.devices.holders().await.difference(&known) {
                tasks.spawn_until_stop(ctx.devices.clone().undo(pod.clone()));
            }
        });
    }

    /// Pods with a directory here.
    fn on_disk(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.ctx.places.pods()) else { return Vec::new() };
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    }
}

/// As much of a pod as its sandbox and containers tell: enough to stop it.
fn rebuild(uid: &str, found: &Found) -> Pod {
    let sandbox = found.sandboxes.first();
    let names: BTreeSet<&String> = found.containers.iter().map(|container| &container.name).collect();
    let containers = names.into_iter().map(|name| Container { name: name.clone(), ..Container::default() });
    let grace = sandbox.and_then(|sandbox| sandbox.annotations.get(GRACE)?.parse().ok());
    Pod {
        metadata: ObjectMeta {
            name: sandbox.map(|sandbox| sandbox.name.clone()),
            namespace: sandbox.map(|sandbox| sandbox.namespace.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: containers.collect(),
            termination_grace_period_seconds: grace,
            ..PodSpec::default()
        }),
        status: None,
    }
}
