//! This node in the API: that it is there, what it has, how it is.
//!
//! The Node object is made once and its status written when it changes, and every five minutes as a sign that
//! someone still looks; the lease in `kube-node-lease` is the heartbeat. What the node is short of evictions tell.

pub(crate) mod admit;
pub(crate) mod facts;
pub(crate) mod object;
pub(crate) mod shares;
mod sysctls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use skiff_api::resource::Resource;
use skiff_base::backoff::Backoff;
use skiff_base::clock::Clock;
use skiff_base::task::Tasks;
use skiff_client::write::{self, Patch, Place};
use skiff_client::{Delta, EventKind, Heartbeat, Link, Recorder, Topic};
use tokio::sync::{Notify, watch};

use crate::device_plugins::Amount;
use crate::eviction::Pressure;
use crate::runtime::Runtime;
use admit::Allocatable;
use object::{Me, Seen};

/// Upstream's `nodeStatusUpdateFrequency` and `nodeStatusReportFrequency`.
const LOOK: Duration = Duration::from_secs(10);
const REPORT: Duration = Duration::from_secs(300);
/// While the runtime is not ready it is asked this often at first.
const IMPATIENT: Duration = Duration::from_millis(20);

/// Keeps the Node object true.
pub(crate) struct NodeAgent {
    pub(crate) link: Link,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) recorder: Recorder,
    pub(crate) clock: Clock,
    pub(crate) me: Me,
    pub(crate) allocatable: Arc<Allocatable>,
    /// Rung when images came or went.
    pub(crate) images_changed: Arc<Notify>,
    /// What the node is short of.
    pub(crate) pressure: watch::Receiver<Pressure>,
    /// The attached volumes that are, or may be, in use.
    pub(crate) volumes: watch::Receiver<Vec<String>>,
    /// What plugins say the node has.
    pub(crate) devices: watch::Receiver<BTreeMap<String, Amount>>,
}

impl NodeAgent {
    /// Registers the node, then keeps its status until the tasks stop.
    pub(crate) async fn run(self, tasks: Tasks) -> Result<(), kube::Error> {
        let mut seen = self.look().await;
        let mut node = self.register(&seen).await;
        self.learn(&node);
        let uid = node.metadata.uid.clone().unwrap_or_default();
        let heartbeat = Heartbeat::of_node(&self.me.name, &uid);
        tasks.spawn_until_stop(heartbeat.run(self.link.clone(), self.clock.clone()));
        self.say(&node, "Starting", "Starting kubelet.");

        let topic = Topic::of::<Node>().fields(format!("metadata.name={}", self.me.name));
        let mut feed = self.link.feed(&topic);
        let mut pressure = self.pressure.clone();
        let mut volumes = self.volumes.clone();
        let mut devices = self.devices.clone();
        let mut impatience = Backoff::new(IMPATIENT, LOOK);
        let mut reported_at = tokio::time::Instant::now();
        let mut retry = Backoff::new(Duration::from_millis(200), LOOK);
        loop {
            let due = reported_at.elapsed() >= REPORT;
            let mut delay = if seen.is_ready() { LOOK } else { impatience.next_delay() };
            match self.report(&node, &seen, due).await {
                Ok(Some(new)) => {
                    self.announce(&node, &new);
                    node = new;
                    reported_at = tokio::time::Instant::now();
                    retry.reset();
                }
                Ok(None) => {}
                Err(error) if write::is_not_found(&error) => {
                    // Someone deleted the Node while we live: it comes back, as with upstream.
                    node = self.register(&seen).await;
                    self.learn(&node);
                }
                Err(error) => {
                    tracing::warn!(%error, "node status not written");
                    delay = delay.min(retry.next_delay());
                }
            }
            tokio::select! {
                () = tasks.token().cancelled() => return Ok(()),
                () = tokio::time::sleep(delay) => {}
                () = self.images_changed.notified() => {}
                Ok(()) = pressure.changed() => {}
                Ok(()) = volumes.changed() => {}
                Ok(()) = devices.changed() => {}
                Some(delta) = feed.next() => {
                    match delta {
                        Delta::Put(object) => node = self.take(&object, node),
                        Delta::Reset(objects) => {
                            for object in objects {
                                node = self.take(&object, node);
                            }
                        }
                        Delta::Gone(_) => {
                            node = self.register(&seen).await;
                            self.learn(&node);
                        }
                    }
                    continue;
                }
            }
            seen = self.look().await;
        }
    }

    fn take(&self, object: &skiff_api::Object, old: Node) -> Node {
        match object.decode::<Node>() {
            Ok(node) => {
                self.learn(&node);
                Node::clone(&node)
            }
            Err(error) => {
                tracing::warn!(%error, "own node not understood");
                old
            }
        }
    }

    fn learn(&self, node: &Node) {
        self.allocatable.set_labels(node.metadata.labels.clone().unwrap_or_default());
    }

    async fn look(&self) -> Seen {
        let (conditions, images) = tokio::join!(self.runtime.conditions(), self.runtime.list_images());
        Seen {
            runtime: conditions.map_err(|error| error.to_string()),
            images: images.unwrap_or_default(),
            pressure: *self.pressure.borrow(),
            volumes: self.volumes.borrow().clone(),
            devices: self.devices.borrow().clone(),
        }
    }

    /// The Node as it is in the API, made if need be. Tried until it works: without it nothing else can.
    async fn register(&self, seen: &Seen) -> Node {
        let place = Place::new(&Resource::of::<Node>(), None, &self.me.name);
        let wanted = object::node(&self.me, seen, self.clock.now_seconds());
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(7));
        loop {
            let outcome = match write::create(&self.link, &wanted).await {
                Err(error) if write::already_exists(&error) => {
                    match write::get::<Node>(&self.link, &place).await {
                        Ok(node) => self.relabel(node, &wanted, &place).await,
                        Err(error) => Err(error),
                    }
                }
                other => other,
            };
            match outcome {
                Ok(node) => return node,
                Err(error) => tracing::warn!(%error, "node not registered"),
            }
            backoff.wait().await;
        }
    }

    /// The labels and notes that are ours to say, on a Node that was there before us.
    async fn relabel(&self, node: Node, wanted: &Node, place: &Place) -> write::Result<Node> {
        let ours = wanted.metadata.labels.clone().unwrap_or_default();
        let theirs = node.metadata.labels.clone().unwrap_or_default();
        let notes = wanted.metadata.annotations.clone().unwrap_or_default();
        let held = node.metadata.annotations.clone().unwrap_or_default();
        if ours.iter().all(|(key, value)| theirs.get(key) == Some(value))
            && notes.iter().all(|(key, value)| held.get(key) == Some(value))
        {
            return Ok(node);
        }
        let patch = json!({ "metadata": { "labels": ours, "annotations": notes } });
        write::patch(&self.link, place, Patch::Merge, &patch).await
    }

    /// Writes the status if it changed or is `due`; the new Node if so.
    async fn report(&self, node: &Node, seen: &Seen, due: bool) -> write::Result<Option<Node>> {
        let status = object::status(&self.me, seen, node.status.as_ref(), self.clock.now_seconds());
        if !due && object::same(node.status.as_ref(), &status) {
            return Ok(None);
        }
        let place = Place::new(&Resource::of::<Node>(), None, &self.me.name).part("status");
        let mut body: Value = skiff_api::decode::tree(&status).map_err(kube::Error::SerdeError)?;
        if let Some(addresses) = body.get_mut("addresses").and_then(Value::as_array_mut) {
            // The list merges by type, and a node may have several addresses of one type.
            addresses.insert(0, json!({ "$patch": "replace" }));
        }
        if status.volumes_in_use.is_none()
            && node.status.as_ref().is_some_and(|held| held.volumes_in_use.is_some())
        {
            body["volumesInUse"] = Value::Null;
        }
        // What is no longer in the capacity is no longer for pods.
        let held = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        if let Some(free) = body.get_mut("allocatable").and_then(Value::as_object_mut) {
            for name in held.into_iter().flat_map(|held| held.keys()) {
                free.entry(name.clone()).or_insert(Value::Null);
            }
        }
        write::patch(&self.link, &place, Patch::Strategic, &json!({ "status": body })).await.map(Some)
    }

    /// Says when the node becomes ready or ceases to be.
    fn announce(&self, old: &Node, new: &Node) {
        let ready = |node: &Node| {
            let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
        };
        let reason = match (ready(old), ready(new)) {
            (false, true) => "NodeReady",
            (true, false) => "NodeNotReady",
            _ => return,
        };
        self.say(new, reason, &format!("Node {} status is now: {reason}", self.me.name));
    }

    fn say(&self, node: &Node, reason: &str, message: &str) {
        let mut about = skiff_client::events::reference(node);
        // As upstream: events about a node go by its name, not its uid.
        about.uid = Some(self.me.name.clone());
        self.recorder.record(about, EventKind::Normal, reason, message.to_owned());
    }
}
