//! The garbage collector: objects whose owners are gone go as well, or are let go, as the deletion asked.
//!
//! It knows no kinds: it follows the metadata of everything that the server lists as deletable, keeps the graph of who
//! owns whom (`graph.rs`), and works through objects whose place in it changed. An owner that the graph does not know is
//! looked up before anything is deleted for its sake. Kinds may come and go: definitions and API services are followed as
//! everything is, and their changes have it ask the server anew.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use skiff_api::meta::Owner;
use skiff_api::{Meta, Resource};
use skiff_base::{Backoff, Clock, Latch, Tasks};
use skiff_client::events::{EventKind, Recorder, Source};
use skiff_client::write::{self, Patch, Place};
use skiff_client::{Delta, Link, Queue, Topic};
use tokio::sync::Notify;

use crate::shared::discovery;

mod graph;

use graph::{Graph, Item, Step};

pub(crate) const NAME: &str = "generic-garbage-collector";
pub(crate) const MAY: &[(&str, &str)] = &[("get list watch patch delete", "*")];

const WORKERS: usize = 20;
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
/// How long until the server is asked for its kinds again when nothing tells that they changed: other servers behind it
/// tell nobody.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// The most absent owners remembered.
const REMEMBERED: usize = 500;
/// A list of which only metadata is wanted.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

type Uid = Arc<str>;

/// The collector, ready to run.
pub(crate) struct Collector {
    link: Link,
    clock: Clock,
    graph: Mutex<Graph>,
    queue: Queue<Uid>,
    kinds: Mutex<Kinds>,
    /// Something that says which kinds there are has changed.
    changed: Notify,
    /// Owners that are surely gone; a uid never comes back. Cleared when there are many.
    absent: Mutex<HashSet<(Option<Arc<str>>, Uid)>>,
}

/// Which kinds there are, and which of them the graph is made of.
#[derive(Default)]
struct Kinds {
    /// Resources by `apiVersion` and kind.
    named: HashMap<(String, String), Resource>,
    /// What ends each feed.
    followed: HashMap<Resource, Tasks>,
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
    pub(crate) fn new(link: Link, clock: Clock) -> Self {
        Self {
            link,
            clock,
            graph: Mutex::default(),
            queue: Queue::new(),
            kinds: Mutex::default(),
            changed: Notify::new(),
            absent: Mutex::default(),
        }
    }

    pub(crate) fn run(self, tasks: &Tasks) {
        let group = tasks.clone();
        let this = Arc::new(self);
        let source = Source { component: "garbage-collector-controller".to_owned(), host: String::new() };
        let recorder = Recorder::start(&this.link, source, this.clock.clone(), tasks);
        tasks.spawn_until_stop(async move {
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
            let feeds = loop {
                match this.look_around(&group).await {
                    Ok(feeds) => break feeds,
                    Err(error) => {
                        tracing::debug!(%error, "the server's kinds cannot be had yet");
                        backoff.wait().await;
                    }
                }
            };
            // Not before everything is known: an owner unseen so far is no owner gone.
            for latch in feeds {
                latch.opened().await;
            }
            for _ in 0..WORKERS {
                group.spawn_until_stop(Arc::clone(&this).work(recorder.clone()));
            }
            loop {
                let _told_or_not = tokio::time::timeout(ASK_AGAIN, this.changed.notified()).await;
                if let Err(error) = this.look_around(&group).await {
                    tracing::debug!(%error, "the server's kinds cannot be had now");
                }
            }
        });
    }

    /// Follows every kind that can be listed, watched and deleted, events excepted: they own and are owned by nothing.
    /// Lets go of kinds that are no more. What opens when new feeds have told everything.
    async fn look_around(self: &Arc<Self>, tasks: &Tasks) -> write::Result<Vec<Latch>> {
        let found = discovery::everything(&self.link).await?;
        let mut kinds = self.kinds.lock();
        if found.failed.is_empty() {
            kinds.named.clear();
        }
        let mut wanted = HashSet::new();
        for served in found.served {
            let resource = served.resource.clone();
            let useful = ["list", "watch", "delete"].iter().all(|verb| served.can(verb));
            if served.preferred && useful && &*resource.kind != "Event" {
                wanted.insert(resource.clone());
            }
            kinds.named.insert((resource.api_version(), resource.kind.to_string()), resource);
        }
        let unknown = |resource: &Resource| found.failed.contains(&resource.api_version());
        let gone: Vec<Resource> =
            kinds.followed.keys().filter(|held| !wanted.contains(*held) && !unknown(held)).cloned().collect();
        for resource in gone {
            if let Some(feed) = kinds.followed.remove(&resource) {
                feed.stop();
            }
            let affected = self.graph.lock().reset(&resource, &[]);
            affected.into_iter().for_each(|uid| self.queue.add(uid));
        }
        let mut latches = Vec::new();
        for resource in wanted {
            if kinds.followed.contains_key(&resource) {
                continue;
            }
            let latch = Latch::new();
            latches.push(latch.clone());
            let feed = tasks.child();
            feed.spawn_until_stop(Arc::clone(self).follow(resource.clone(), latch));
            kinds.followed.insert(resource, feed);
        }
        Ok(latches)
    }

    async fn follow(self: Arc<Self>, resource: Resource, synced: Latch) {
        let says_kinds = matches!(
            (&*resource.group, &*resource.plural),
            ("apiextensions.k8s.io", "customresourcedefinitions") | ("apiregistration.k8s.io", "apiservices")
        );
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
            if says_kinds {
                self.changed.notify_one();
            }
        }
    }

    async fn work(self: Arc<Self>, recorder: Recorder) {
        loop {
            let uid = self.queue.next().await;
            match self.attend(&uid, &recorder).await {
                Ok(()) => self.queue.forget(&uid),
                Err(error) => {
                    let pause = self.queue.retry(uid.clone());
                    tracing::debug!(%uid, %error, ?pause, "an object could not be collected yet");
                }
            }
            self.queue.done(&uid);
        }
    }

    async fn attend(&self, uid: &Uid, recorder: &Recorder) -> write::Result<()> {
        for (item, owner) in self.graph.lock().misplaced_owners(uid) {
            misplaced(recorder, &item, &owner);
        }
        let absent = self.absent_owners(uid).await?;
        let step = self.graph.lock().step(uid, &absent);
        let Some((item, step)) = step else { return Ok(()) };
        let place = item.place();
        let result: write::Result<Value> = match step {
            Step::Delete { unblock: true, .. } => {
                // The change is told, and the object comes here again.
                self.unblock(&item).await
            }
            Step::Delete { policy, .. } => {
                let mut options =
                    DeleteOptions { propagation_policy: Some(policy.to_owned()), ..write::only(uid) };
                // Somebody may have adopted it since it was judged.
                let judged = item.revision().to_string();
                options.preconditions.get_or_insert_default().resource_version = Some(judged);
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
        let known = (namespace.map(Into::into), Uid::from(&*owner.uid));
        if self.absent.lock().contains(&known) {
            return Ok(true);
        }
        let kind = (owner.api_version.to_string(), owner.kind.to_string());
        // An owner of a kind that the server does not have cannot be judged; what it owns stays.
        let Some(resource) = self.kinds.lock().named.get(&kind).cloned() else { return Ok(false) };
        // Nor can one that would need a namespace, of a dependent that has none.
        if resource.namespaced && namespace.is_none() {
            return Ok(false);
        }
        let absent =
            match write::get::<Value>(&self.link, &Place::new(&resource, namespace, &owner.name)).await {
                Ok(found) => found["metadata"]["uid"].as_str() != Some(&*owner.uid),
                Err(error) if write::is_not_found(&error) => true,
                Err(error) => return Err(error),
            };
        if absent {
            let mut remembered = self.absent.lock();
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
            remembered.insert(known);
        }
        Ok(absent)
    }

    /// Everything that an object owns, asked of the server itself: a dependent that the graph has not seen yet would be
    /// deleted as garbage once its owner is gone, though it was to be spared. What a namespaced object owns is beside
    /// it.
    async fn dependents(&self, owner: &Item) -> write::Result<Vec<Item>> {
        let followed: Vec<Resource> = self.kinds.lock().followed.keys().cloned().collect();
        let near = |resource: &Resource| resource.namespaced || owner.namespace().is_none();
        let mut dependents = Vec::new();
        for resource in followed.into_iter().filter(near) {
            let request = http::Request::get(resource.path(owner.namespace()))
                .header(http::header::ACCEPT, METADATA)
                .body(Vec::new())
                .map_err(kube::Error::HttpError)?;
            let list: List = match self.link.client().request(request).await {
                Ok(list) => list,
                // Gone since the server was asked for its kinds.
                Err(error) if write::is_not_found(&error) => continue,
                Err(error) => return Err(error),
            };
            let items = list.items.into_iter().map(|listed| Item::new(&resource, &listed.metadata));
            dependents.extend(items.filter(|item| item.is_owned_by(owner)));
        }
        Ok(dependents)
    }

    /// Lets no owner wait for an object.
    async fn unblock(&self, item: &Item) -> write::Result<Value> {
        let place = item.place();
        let mut found: Value = write::get(&self.link, &place).await?;
        for reference in found["metadata"]["ownerReferences"].as_array_mut().into_iter().flatten() {
            reference["blockOwnerDeletion"] = false.into();
        }
        self.patch_meta(&place, &found, "ownerReferences").await
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

/// Says of an object that an owner it names is not in its namespace, in upstream's words.
fn misplaced(recorder: &Recorder, item: &Item, owner: &Owner) {
    let namespace = item.namespace().unwrap_or_default();
    let about = ObjectReference {
        api_version: Some(item.resource().api_version()),
        kind: Some(item.resource().kind.to_string()),
        namespace: item.namespace().map(str::to_owned),
        name: Some(item.name().to_owned()),
        uid: Some(item.uid().to_string()),
        ..ObjectReference::default()
    };
    let Owner { api_version, kind, name, uid, .. } = owner;
    let message = format!(
        "ownerRef [{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}] does not exist in namespace {namespace:?}"
    );
    recorder.record(about, EventKind::Warning, "OwnerRefInvalidNamespace", message);
}

/// An object that is gone, or another by now, needs no more work.
fn settled(result: write::Result<Value>) -> write::Result<()> {
    match result {
        Err(error) if write::is_not_found(&error) => Ok(()),
        other => other.map(|_| ()),
    }
}
