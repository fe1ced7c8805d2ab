//! Pods without a node: from POST until they are bound, on nodes that exist in the API alone.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures::FutureExt;
use http::Method;

use super::Row;
use crate::cluster::{Cluster, Role};
use crate::connection::Call;
use crate::lab::Lab;
use crate::load::{self, Load};
use crate::namespace::Namespace;
use crate::objects::{self, Template};
use crate::paper::{PATIENCE, all_bound, make_nodes};
use crate::report::{Figure, duration, row};
use crate::sample::{Sample, each};

pub(crate) const SCENARIO: Row = Row {
    name: "schedule",
    about: "pods onto nodes of paper, POST to bound",
    run: |lab| run(lab).boxed_local(),
};

async fn run(lab: &Lab) -> anyhow::Result<()> {
    for (nodes, pods) in [(100, 1_000), (1_000, 5_000), (5_000, 10_000)] {
        let cluster = lab.cluster(Role::Server).await?;
        let namespace = Namespace::make(&cluster).await?;
        let outcome = measure(lab, &cluster, &namespace, (nodes, pods)).await;
        // Also after a failure; the failure is what is told.
        let cleaned = async {
            let mut connection = cluster.connect().await?;
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
    Ok(())
}
