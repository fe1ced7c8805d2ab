//! Nodes of paper: they exist in the API alone, and nobody runs what is bound to them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::cluster::Cluster;
use crate::connection::{Call, Watch};
use crate::load::{self, Load};
use crate::objects;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
/// The group of names that nodes have.
const NODES: usize = 900;

/// Makes so many nodes that say they are ready.
pub(crate) async fn make_nodes(cluster: &Cluster, count: usize) -> anyhow::Result<()> {
    let load = Load { clients: 16, limit: count, time: PATIENCE };
    let post = |number| {
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": objects::name(NODES, number), "labels": {"bench": "paper"}},
        });
        Call::new(Method::POST, "/api/v1/nodes").body(node.to_string())
    };
    let made = load::run(cluster, load, post).await.context("make nodes")?;
    ensure!(made.count() == count, "only {} nodes could be made in time", made.count());
    let resources = json!({"cpu": "32", "memory": "256Gi", "pods": "110"});
    let status = json!({"status": {
        "capacity": resources,
        "allocatable": resources,
        "conditions": [{
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "a node of paper",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    }})
    .to_string();
    let patch = move |number| {
        let path = format!("/api/v1/nodes/{}/status", objects::name(NODES, number));
        let call = Call::new(Method::PATCH, path).body(status.clone());
        Call { content: "application/merge-patch+json", ..call }
    };
    load::run(cluster, load, patch).await.context("make nodes ready").map(drop)
}

/// As much of an event as we wait for.
#[derive(Deserialize)]
struct Event {
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    node_name: String,
}

/// Waits until so many pods are bound; when each was seen so.
pub(crate) async fn all_bound(watch: &mut Watch, count: usize) -> anyhow::Result<BTreeMap<String, Instant>> {
    let mut bound = BTreeMap::new();
    let see = async {
        while bound.len() < count {
            let line = watch.next().await?;
            let at = Instant::now();
            let event: Event = serde_json::from_slice(&line)
                .with_context(|| format!("read an event: {}", String::from_utf8_lossy(&line)))?;
            if !event.object.spec.node_name.is_empty() {
                bound.entry(event.object.metadata.name).or_insert(at);
            }
        }
        anyhow::Ok(())
    };
    let outcome = tokio::time::timeout(PATIENCE, see).await;
    outcome.with_context(|| format!("only {} of {count} pods were bound in time", bound.len()))??;
    Ok(bound)
}
