//! Pods without a node: from POST until they are bound, on nodes that exist in the API alone.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::FutureExt;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::Row;
use crate::cluster::{Cluster, Role};
use crate::connection::{Call, Watch};
use crate::lab::Lab;
use crate::load::{self, Load};
use crate::namespace::Namespace;
use crate::objects::{self, Template};
use crate::report::{Figure, duration, row};
use crate::sample::{Sample, each};

pub(crate) const SCENARIO: Row = Row {
    name: "schedule",
    about: "pods onto nodes of paper, POST to bound",
    run: |lab| run(lab).boxed_local(),
};

const PATIENCE: Duration = Duration::from_secs(180);
/// The group of names that nodes have.
const NODES: usize = 900;

async fn run(lab: &Lab) -> anyhow::Result<()> {
    for (nodes, pods) in [(100, 1_000), (1_000, 5_000)] {
        let cluster = lab.cluster(Role::Server).await?;
        let namespace = Namespace::make(&cluster).await?;
        let outcome = measure(lab, &cluster, &namespace, (nodes, pods)).await;
        // Also after a failure; the failure is what is told.
        let cleaned = async {
            let mut connection = cluster.connect().await?;
            namespace.clear(&mut connection, "replicationcontrollers").await?;
            namespace.clear(&mut connection, "pods").await?;
            let nodes = "/api/v1/nodes?labelSelector=bench%3Dpaper";
            connection.drain(Call::new(Method::DELETE, nodes)).await?;
            namespace.remove(&cluster).await
        };
        outcome.and(cleaned.await)?;
    }
    Ok(())
}

async fn measure(
    lab: &Lab,
    cluster: &Cluster,
    namespace: &Namespace,
    full: (usize, usize),
) -> anyhow::Result<()> {
    let (nodes, pods) = (lab.count(full.0, full.0 / 20), lab.count(full.1, full.1 / 20));
    make_nodes(cluster, nodes).await?;
    let mut watch = cluster.connect().await?.watch(&namespace.path("pods?watch=true")).await?;
    let begins: Arc<Vec<OnceLock<Instant>>> = Arc::new((0..pods).map(|_| OnceLock::new()).collect());
    let post = {
        let (begins, path, template) = (begins.clone(), namespace.path("pods"), Template::unbound_pod());
        move |number: usize| {
            // Each number is given out once.
            let _first = begins[number].set(Instant::now());
            Call::new(Method::POST, path.clone()).body(template.named(&objects::name(0, number)))
        }
    };
    let (begin, meter) = (Instant::now(), cluster.meter()?);
    let load = Load { clients: 16, limit: pods, time: PATIENCE };
    let (made, bound) =
        futures::future::try_join(load::run(cluster, load, post), all_bound(&mut watch, pods)).await?;
    let (wall, cpu) = (begin.elapsed(), meter.spent()?);
    let latency = |number: usize| {
        let at = bound.get(&objects::name(0, number))?;
        Some(at.saturating_duration_since(*begins[number].get()?))
    };
    let sample: Sample = (0..pods).filter_map(latency).collect();
    row(&Figure {
        rate: Some(pods as f64 / wall.as_secs_f64()),
        median: sample.median(),
        p99: sample.percentile(99.0),
        cpu: each(cpu, pods),
        ..Figure::new(format!("{} pods onto {} nodes, POST to bound", full.1, full.0)).note(format!(
            "16 clients, all posted after {}, all bound after {}",
            duration(made.wall),
            duration(wall)
        ))
    });
    if full.1 > 1_000 {
        return Ok(());
    }
    namespace.clear(&mut cluster.connect().await?, "pods").await?;
    replicas(cluster, namespace, pods).await
}

/// One controller of many replicas.
async fn replicas(cluster: &Cluster, namespace: &Namespace, count: usize) -> anyhow::Result<()> {
    let mut connection = cluster.connect().await?;
    let list = connection.call(Call::get(namespace.path("pods?limit=1"))).await?;
    let list: serde_json::Value = serde_json::from_slice(&list).context("read the list")?;
    let version = list["metadata"]["resourceVersion"].as_str().context("the list has no revision")?;
    let path = namespace.path(&format!("pods?watch=true&resourceVersion={version}"));
    let mut watch = cluster.connect().await?.watch(&path).await?;
    let mut template = Template::unbound_pod().value()?;
    if let Some(meta) = template["metadata"].as_object_mut() {
        meta.remove("name");
    }
    template["spec"]["terminationGracePeriodSeconds"] = json!(0);
    let controller = json!({
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "many"},
        "spec": {
            "replicas": count,
            "template": {"metadata": template["metadata"], "spec": template["spec"]},
        },
    });
    let (begin, meter) = (Instant::now(), cluster.meter()?);
    let post = Call::new(Method::POST, namespace.path("replicationcontrollers")).body(controller.to_string());
    connection.call(post).await?;
    all_bound(&mut watch, count).await?;
    let wall = begin.elapsed();
    row(&Figure {
        rate: Some(count as f64 / wall.as_secs_f64()),
        median: Some(wall),
        cpu: each(meter.spent()?, count),
        ..Figure::new("one RC of 1000 replicas, to all bound").note("CPU is that of one pod")
    });
    Ok(())
}

async fn make_nodes(cluster: &Cluster, count: usize) -> anyhow::Result<()> {
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
async fn all_bound(watch: &mut Watch, count: usize) -> anyhow::Result<BTreeMap<String, Instant>> {
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
