//! The garbage collector: objects whose owners are gone go as well, or are let go, as the deletion asked.
//!
//! It knows no kinds: it follows the metadata of everything that the server lists as deletable, keeps the graph of who
//! owns whom (`graph.rs`), and works through objects whose place in it changed. An owner that the graph does not know is
//! looked up before anything is deleted for its sake.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use skiff_api::meta::Owner;
use skiff_api::{Meta, Resource};
use skiff_base::{Backoff, Latch, Tasks};
use skiff_client::write::{self, Patch, Place};
use skiff_client::{Delta, Link, Queue, Topic};

use crate::shared::discovery;

mod graph;

use graph::{Graph, Item, Step};

pub(crate) const NAME: &str = "generic-garbage-collector";
pub(crate) const MAY: &[(&str, &str)] = &[("get list watch patch update delete", "*")];

const WORKERS: usize = 4;
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

type Uid = Arc<str>;

/// The collector, ready to run.
pub(crate) struct Collector {
    link: Link,
    graph: Mutex<Graph>,
    queue: Queue<Uid>,
    /// Resources by `apiVersion` and kind.
    kinds: Mutex<HashMap<(String, String), Resource>>,
    /// Those that the graph is made of.
    followed: Mutex<Vec<Resource>>,
}

/// A list of which only the metadata is read.
#[derive(Deserialize)]
struct List {
    items: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    metadata: Meta,
}

impl Collector {
    pub(crate) fn new(link: Link) -> Self {
        Self {
            link,
            graph: Mutex::default(),
            queue: Queue::new(),
            kinds: Mutex::default(),
            followed: Mutex::default(),
        }
    }

    pub(crate) fn run(self, tasks: &Tasks) {
        let group = tasks.clone();
        let this = Arc::new(self);
        tasks.spawn_until_stop(async move {
            let feeds = this.follow_all(&group).await;
            // Not before everything is known: an owner unseen so far is no owner gone.
            for latch in feeds {
                latch.opened().await;
            }
            for _ in 0..WORKERS {
                group.spawn_until_stop(Arc::clone(&this).work());
            }
        });
    }

    /// Follows every kind that can be listed, watched and deleted, events excepted: they own and are owned by nothing.
    async fn follow_all(self: &Arc<Self>, tasks: &Tasks) -> Vec<Latch> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let served = loop {
            match discovery::resources(&self.link).await {
                Ok(served) => break served,
                Err(error) => {
                    tracing::debug!(%error, "the server's kinds cannot be had yet");
                    backoff.wait().await;
                }
            }
        };
        let mut latches = Vec::new();
        for served in served {
            let resource = served.resource.clone();
            self.kinds.lock().insert((resource.api_version(), resource.kind.to_string()), resource.clone());
            let useful = ["list", "watch", "delete"].iter().all(|verb| served.can(verb));
            if !useful || &*resource.kind == "Event" {
                continue;
            }
            self.followed.lock().push(resource.clone());
            let latch = Latch::new();
            latches.push(latch.clone());
            tasks.spawn_until_stop(Arc::clone(self).follow(resource, latch));
        }
        latches
    }

    async fn follow(self: Arc<Self>, resource: Resource, synced: Latch) {
        let topic = Topic {
            resource: resource.clone(),
            namespace: None,
            labels: String::new(),
            fields: String::new(),
        };
        let mut feed = self.link.feed(&topic);
        while let Some(delta) = feed.next().await {
            let affected = {
                let mut graph = self.graph.lock();
                match delta {
                    Delta::Reset(objects) => graph.reset(&resource, &objects),
                    Delta::Put(object) => graph.put(&resource, &object),
                    Delta::Gone(object) => graph.gone(&object.meta().uid),
                }
            };
            affected.into_iter().for_each(|uid| self.queue.add(uid));
            synced.open();
        }
    }

    async fn work(self: Arc<Self>) {
        loop {
            let uid = self.queue.next().await;
            match self.attend(&uid).await {
                Ok(()) => self.queue.forget(&uid),
                Err(error) => {
                    let pause = self.queue.retry(uid.clone());
                    tracing::debug!(%uid, %error, ?pause, "an object could not be collected yet");
                }
            }
            self.queue.done(&uid);
        }
    }

    async fn attend(&self, uid: &Uid) -> write::Result<()> {
        let absent = self.absent_owners(uid).await?;
        let step = self.graph.lock().step(uid, &absent);
        let Some((item, step)) = step else { return Ok(()) };
        let place = item.place();
        let result: write::Result<Value> = match step {
            Step::Delete { policy } => {
                let options =
                    DeleteOptions { propagation_policy: policy.map(str::to_owned), ..write::only(uid) };
                write::delete(&self.link, &place, &options).await
            }
            Step::Disown(owners) => self.disown(&item, &owners).await,
            Step::Orphan => {
                for dependent in self.dependents(&item).await? {
                    settled(self.disown(&dependent, std::slice::from_ref(uid)).await)?;
                }
                self.release(&item, ORPHAN).await
            }
            Step::Release => self.release(&item, FOREGROUND).await,
            Step::Press(dependents) => {
                dependents.into_iter().for_each(|dependent| self.queue.add(dependent));
                return Ok(());
            }
        };
        settled(result)
    }

    /// Which of the object's owners are neither in the graph nor, when asked for, on the server.
    async fn absent_owners(&self, uid: &Uid) -> write::Result<Vec<Uid>> {
        let unknown = self.graph.lock().unknown_owners(uid);
        let mut absent = Vec::new();
        for (owner, namespace) in unknown {
            if self.is_absent(&owner, namespace.as_deref()).await? {
                absent.push(Uid::from(&*owner.uid));
            }
        }
        Ok(absent)
    }

    async fn is_absent(&self, owner: &Owner, namespace: Option<&str>) -> write::Result<bool> {
        let kind = (owner.api_version.to_string(), owner.kind.to_string());
        // An owner of a kind that the server does not have cannot be judged; what it owns stays.
        let Some(resource) = self.kinds.lock().get(&kind).cloned() else { return Ok(false) };
        if resource.namespaced && namespace.is_none() {
            return Ok(false);
        }
        match write::get::<Value>(&self.link, &Place::new(&resource, namespace, &owner.name)).await {
            Ok(found) => Ok(found["metadata"]["uid"].as_str() != Some(&*owner.uid)),
            Err(error) if write::is_not_found(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Everything that an object owns, asked of the server itself: a dependent that the graph has not seen yet would be
    /// deleted as garbage once its owner is gone, though it was to be spared.
    async fn dependents(&self, owner: &Item) -> write::Result<Vec<Item>> {
        let followed = self.followed.lock().clone();
        let mut dependents = Vec::new();
        for resource in followed {
            let request = http::Request::get(resource.path(owner.namespace()))
                .body(Vec::new())
                .map_err(kube::Error::HttpError)?;
            let list: List = self.link.client().request(request).await?;
            let items = list.items.into_iter().map(|listed| Item::new(&resource, &listed.metadata));
            dependents.extend(items.filter(|item| item.is_owned_by(owner)));
        }
        Ok(dependents)
    }

    /// Takes references to these owners from an object.
    async fn disown(&self, item: &Item, owners: &[Uid]) -> write::Result<Value> {
        let place = item.place();
        let mut found: Value = write::get(&self.link, &place).await?;
        let stays = |reference: &Value| !owners.iter().any(|uid| reference["uid"].as_str() == Some(&**uid));
        if let Some(list) = found["metadata"]["ownerReferences"].as_array_mut() {
            list.retain(stays);
        }
        self.patch_meta(&place, &found, "ownerReferences").await
    }

    /// Takes a finalizer from an object.
    async fn release(&self, item: &Item, finalizer: &str) -> write::Result<Value> {
        let place = item.place();
        let mut found: Value = write::get(&self.link, &place).await?;
        if let Some(list) = found["metadata"]["finalizers"].as_array_mut() {
            list.retain(|name| name.as_str() != Some(finalizer));
        }
        self.patch_meta(&place, &found, "finalizers").await
    }

    async fn patch_meta(&self, place: &Place, found: &Value, field: &str) -> write::Result<Value> {
        let meta = &found["metadata"];
        let body = json!({ "metadata": { "uid": meta["uid"], "resourceVersion": meta["resourceVersion"],
            field: meta[field] } });
        write::patch(&self.link, place, Patch::Merge, &body).await
    }
}

/// An object that is gone, or another by now, needs no more work.
fn settled(result: write::Result<Value>) -> write::Result<()> {
    match result {
        Err(error) if write::is_not_found(&error) => Ok(()),
        other => other.map(|_| ()),
    }
}
