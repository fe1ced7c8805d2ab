//! Which nodes are alive, and what it means if one is not.
//!
//! A node's lease (or its status) is a sign of life. When it last changed is counted on our own clock, so that clocks
//! need not agree; a deadline, not a poll, says when silence has lasted too long. Then the node's conditions become
//! `Unknown`, taints keep pods away and drive them out (`taint_eviction.rs`), and its pods count as not ready.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use parking_lot::Mutex;
use serde_json::json;
use skiff_api::pod::conditions::{self, READY, Wanted};
use skiff_api::pod::facts::PodFacts;
use skiff_api::{names, pod};
use skiff_client::cache::decode;
use skiff_client::controller::{Caches, How, Itself, Key, Next, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write::{self, Patch};
use skiff_client::{Cache, Change};
use tokio::time::Instant;

use crate::Settings;
use crate::shared::placed::BY_NODE;
use crate::table::{Ctx, Row, on};

mod plan;
mod zones;

pub(crate) const CONTROLLER: Row = Row {
    name: "node-lifecycle-controller",
    component: "node-controller",
    wakes: &[on::<Node, Itself>(), on::<Lease, OfNode>(), on::<Pod, Doomed>().indexed(&[BY_NODE])],
    may: &[("patch", "nodes nodes/status pods/status"), ("create patch", "events")],
    workers: 4,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// A lease is a sign of its node's life.
struct OfNode;

impl How<Settings> for OfNode {
    fn keys(change: &Change, _: &Caches, _: &Settings) -> Vec<Key> {
        let meta = change.latest().meta();
        let ours = meta.namespace.as_deref() == Some(names::NODE_LEASE_NAMESPACE);
        if ours { vec![Key::new(None, &meta.name)] } else { Vec::new() }
    }
}

/// A pod that still counts as ready on a node that is silent.
struct Doomed;

impl How<Settings> for Doomed {
    fn keys(change: &Change, _: &Caches, settings: &Settings) -> Vec<Key> {
        let unready = settings.heartbeats.unready.lock();
        let Some(object) = change.new.as_ref().filter(|_| !unready.is_empty()) else { return Vec::new() };
        let node = object.facts::<PodFacts>().node.as_deref();
        node.into_iter().filter(|name| unready.contains(*name)).map(|name| Key::new(None, name)).collect()
    }
}

/// When each node last gave a sign of life, by our own clock.
#[derive(Default)]
pub(crate) struct Heartbeats {
    seen: Mutex<HashMap<Box<str>, (Sign, Instant)>>,
    /// Nodes that were not ready when last looked at.
    unready: Mutex<HashSet<Box<str>>>,
    zones: Mutex<zones::Zones>,
}

/// What changes when a node lives: its lease's time, and that of its own report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sign {
    lease: Option<Timestamp>,
    status: Option<Timestamp>,
}

impl Heartbeats {
    /// When the sign was first seen as it is now.
    fn since(&self, node: &str, sign: Sign) -> Instant {
        let now = Instant::now();
        let mut seen = self.seen.lock();
        let entry = seen.entry(node.into()).or_insert((sign, now));
        if entry.0 != sign {
            *entry = (sign, now);
        }
        entry.1
    }

    /// Whether the node was seen before.
    fn knows(&self, node: &str) -> bool {
        self.seen.lock().contains_key(node)
    }

    fn judge(&self, node: &str, zone: Box<str>, ready: bool) {
        self.zones.lock().judge(node, zone, ready);
        let mut unready = self.unready.lock();
        if ready {
            unready.remove(node);
        } else {
            unready.insert(node.into());
        }
    }

    fn forget(&self, node: &str) -> bool {
        self.unready.lock().remove(node);
        self.zones.lock().forget(node);
        self.seen.lock().remove(node).is_some()
    }
}

fn sign(node: &Node, leases: &Cache) -> Sign {
    let key = Key::new(Some(names::NODE_LEASE_NAMESPACE), node.metadata.name.as_deref().unwrap_or_default());
    let lease = leases.typed::<Lease>(key.as_str());
    let lease = lease.and_then(|lease| Some(lease.spec.as_ref()?.renew_time.as_ref()?.0));
    let status = plan::condition(node, "Ready").and_then(|ready| Some(ready.last_heartbeat_time.as_ref()?.0));
    Sign { lease, status }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let heartbeats = &ctx.settings().heartbeats;
    let Some(node) = ctx.get::<Node>(&key) else {
        if heartbeats.forget(key.as_str()) {
            tell(&ctx, None, &key, "RemovingNode", format!("Removing Node {key} from Controller"));
        }
        return Ok(Next::Rest);
    };
    if !heartbeats.knows(key.as_str()) {
        tell(&ctx, Some(&node), &key, "RegisteredNode", format!("Registered Node {key} in Controller"));
    }
    let since = heartbeats.since(key.as_str(), sign(&node, ctx.cache::<Lease>()));
    let grace = ctx.settings().node_grace;
    let silent = since.elapsed() >= grace;
    let now = ctx.now();

    let mut node = node;
    if silent && let Some(wanted) = plan::silenced(&node, now) {
        let was_ready = plan::readiness(&node) == "True";
        if was_ready {
            let message = format!("Node {key} status is now: NodeNotReady");
            ctx.event(reference(&*node), EventKind::Normal, "NodeNotReady", message);
        }
        // Conditions have their types as keys, so a strategic patch leaves a report that comes meanwhile alone.
        let body = json!({ "metadata": { "uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version },
            "status": { "conditions": wanted } });
        node = Arc::new(ctx.patch_part(&*node, "status", Patch::Strategic, &body).await?);
    }
    let zone = zones::of(&node);
    heartbeats.judge(key.as_str(), zone.clone(), plan::readiness(&node) == "True");
    let mut held_back = None;
    if let Some(mut taints) = plan::taints(&node, now) {
        if plan::drives_out(&taints)
            && !plan::drives_out(node.spec.iter().flat_map(|spec| spec.taints.iter().flatten()))
            && let Err(wait) = heartbeats.zones.lock().may_empty(&zone, Instant::now())
        {
            plan::spare(&mut taints);
            held_back = Some(wait);
        }
        let body = json!({ "metadata": { "uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version },
            "spec": { "taints": taints } });
        ctx.patch(&*node, Patch::Merge, &body).await?;
    }
    if plan::readiness(&node) != "True" && plan::condition(&node, "Ready").is_some() {
        mark_pods(&ctx, key.as_str()).await?;
    }
    if let Some(wait) = held_back {
        return Ok(Next::After(wait));
    }
    if silent {
        // Nothing to wait for: only a sign of life changes this.
        return Ok(Next::Rest);
    }
    Ok(Next::After(grace.saturating_sub(since.elapsed()).max(std::time::Duration::from_millis(1))))
}

/// Upstream's words for what happens to a node as such.
fn tell(ctx: &Ctx, node: Option<&Node>, key: &Key, reason: &str, what: String) {
    let about = node.map_or_else(
        || ObjectReference { name: Some(key.to_string()), ..reference(&Node::default()) },
        reference,
    );
    ctx.event(about, EventKind::Normal, reason, format!("Node {key} event: {what}"));
}

/// Pods on a node that is not ready do not serve, whatever they said last.
async fn mark_pods(ctx: &Ctx, node: &str) -> write::Result<()> {
    let pods = ctx.cache::<Pod>().by(&BY_NODE, node);
    for pod in pods.iter().filter_map(|pod| decode::<Pod>(pod)).filter(|pod| pod::is_ready(pod)) {
        let mut wanted = (*pod).clone();
        let condition = conditions::find(&pod, READY).cloned().unwrap_or_default();
        let (reason, message) = (condition.reason.unwrap_or_default(), condition.message.unwrap_or_default());
        let unready = Wanted { kind: READY, status: "False", reason: &reason, message: &message };
        conditions::set(&mut wanted, unready, ctx.clock_seconds());
        ctx.event(reference(&*pod), EventKind::Warning, "NodeNotReady", "Node is not ready".to_owned());
        match ctx.patch_status(&*pod, &wanted).await {
            Err(error) if write::is_not_found(&error) => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
