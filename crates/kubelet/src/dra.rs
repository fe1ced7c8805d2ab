//! Devices that pods claim (dynamic resource allocation): drivers make them ready before a pod begins and take them back
//! after it has ended.
//!
//! What a claim was given is decided elsewhere and stands in its status; here its drivers ([`mod@drivers`]) are asked to
//! prepare it, once for all pods of this node that share it, and what they answer is given to containers ([`crate::cdi`]).
//! What is or may be prepared is on disk ([`mod@record`]). Follows upstream's `pkg/kubelet/cm/dra`; the health of devices
//! is not asked for.

mod drivers;
mod prepare;
pub mod proto;
mod record;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use skiff_api::pod::claims;
use skiff_base::{Backoff, Tasks};
use skiff_client::Link;
use tokio::sync::{OwnedMutexGuard, watch};

use crate::plugins::Handler;
use drivers::Drivers;
use record::Table;

/// The devices of a node's pods; clones are the same.
#[derive(Clone)]
pub struct Devices {
    inner: Arc<Inner>,
}

struct Inner {
    drivers: Drivers,
    table: tokio::sync::Mutex<Table>,
    /// One at a time does something about a claim.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Devices {
    /// What was prepared when the kubelet that keeps its files in `data_dir` ended. Waits for the disk.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        let table = Table::read(data_dir).unwrap_or_else(|error| {
            tracing::error!(%error, "what was prepared of devices is not known: drain the node");
            Table::empty(data_dir)
        });
        let inner =
            Inner { drivers: Drivers::new(), table: tokio::sync::Mutex::new(table), turns: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// What takes drivers in.
    #[must_use]
    pub fn handler(&self) -> Arc<dyn Handler> {
        Arc::new(self.inner.drivers.clone())
    }

    /// Begins to watch over drivers; with a link, also over what they said the node has.
    pub(crate) fn begin(&self, cluster: Option<(Link, String)>, tasks: &Tasks) {
        self.inner.drivers.begin(tasks);
        if let Some((link, node)) = cluster {
            tasks.spawn_until_stop(self.inner.drivers.clone().clean(link, node));
        }
    }

    /// Told when a driver comes.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.inner.drivers.news()
    }

    /// The pods that hold claims here.
    pub(crate) async fn holders(&self) -> BTreeSet<String> {
        self.inner.table.lock().await.pods()
    }

    /// What a container is to be given, as specifications of devices call it.
    ///
    /// # Errors
    /// When a claim that it uses is not prepared.
    pub(crate) async fn of_container(&self, pod: &Pod, container: &Container) -> Result<Vec<String>, String> {
        let uses = container.resources.iter().flat_map(|it| it.claims.iter().flatten());
        let mut wanted: Vec<(&str, Option<&str>)> = Vec::new();
        for used in uses {
            let Some(claim) = claims::of(pod).iter().find(|claim| claim.name == used.name) else { continue };
            let name = claims::name(pod, claim).map_err(|error| error.to_string())?;
            let request = used.request.as_deref().filter(|request| !request.is_empty());
            wanted.extend(name.text().map(|name| (name, request)));
        }
        let extended = pod.status.as_ref().and_then(|it| it.extended_resource_claim_status.as_ref());
        let mapped = extended.into_iter().flat_map(|it| it.request_mappings.iter().map(move |one| (it, one)));
        let own = mapped.filter(|(_, mapping)| mapping.container_name == container.name);
        wanted
            .extend(own.map(|(it, one)| (it.resource_claim_name.as_str(), Some(one.request_name.as_str()))));
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let table = self.inner.table.lock().await;
        let mut given: Vec<String> = Vec::new();
        for (name, request) in wanted {
            let held = table.claims.get(&format!("{namespace}/{name}"));
            let held = held.ok_or_else(|| {
                format!("unable to get claim info for ResourceClaim {name} in namespace {namespace}")
            })?;
            for device in held.cdi(request) {
                if !given.contains(device) {
                    given.push(device.clone());
                }
            }
        }
        Ok(given)
    }

    /// Undoes what pods left here that are not on this node any more; tried until it works.
    pub(crate) async fn undo(self, pod: String) {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        while let Err(error) = self.unprepare(&pod).await {
            tracing::warn!(pod, error, "devices of a pod that is gone not unprepared");
            backoff.wait().await;
        }
    }

    /// Waits until nobody else does anything about these claims.
    async fn turns(&self, mut claims: Vec<String>) -> Vec<OwnedMutexGuard<()>> {
        // Everybody takes them in one order, so that nobody waits for ever.
        claims.sort();
        claims.dedup();
        let turns: Vec<_> = {
            let mut turns = self.inner.turns.lock().unwrap_or_else(PoisonError::into_inner);
            // What only the table holds nobody waits for.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            claims.into_iter().map(|claim| Arc::clone(turns.entry(claim).or_default())).collect()
        };
        let mut held = Vec::new();
        for turn in turns {
            held.push(turn.lock_owned().await);
        }
        held
    }

    /// Changes the table and writes it down.
    async fn change<T>(&self, change: impl FnOnce(&mut Table) -> Result<T, String>) -> Result<T, String> {
        let mut table = self.inner.table.lock().await;
        let value = change(&mut table)?;
        let write = |error: io::Error| format!("checkpoint ResourceClaim state: {error}");
        let (file, text) = table.content().map_err(write)?;
        let written =
            tokio::task::spawn_blocking(move || skiff_base::fs::write_atomically(&file, &text, 0o600)).await;
        written.map_err(io::Error::other).and_then(|result| result).map_err(write)?;
        Ok(value)
    }
}
