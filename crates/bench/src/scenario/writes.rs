//! Durable creates, reads, updates, patches and deletions of one object at a time, from 1, 16 and 64 clients.

use std::sync::Arc;

use futures::FutureExt;
use http::Method;
use serde_json::json;

use super::Row;
use crate::cluster::Cluster;
use crate::connection::Call;
use crate::lab::Lab;
use crate::load::{self, Load, Measured};
use crate::namespace::Namespace;
use crate::objects::{self, Template, Update};
use crate::procs;
use crate::report::{Figure, mebibytes, row};
use crate::sample::each;

pub(crate) const SCENARIO: Row = Row {
    name: "writes",
    about: "durable writes and reads of single objects",
    run: |lab| run(lab).boxed_local(),
};

/// How many stored objects the updates go round.
const UPDATED: usize = 256;

async fn run(lab: &Lab) -> anyhow::Result<()> {
    super::on_nowhere(lab, async |cluster, namespace| measure(lab, cluster, namespace).await).await
}

async fn measure(lab: &Lab, cluster: &Cluster, namespace: &Namespace) -> anyhow::Result<()> {
    kind(lab, cluster, namespace, "ConfigMap", Template::config_map()).await?;
    kind(lab, cluster, namespace, "pod", Template::pod("all")).await?;
    let memory = procs::memory(&cluster.pids)?;
    row(&Figure::new("resident memory after all this").note(mebibytes(memory.resident)));
    Ok(())
}

async fn kind(
    lab: &Lab,
    cluster: &Cluster,
    namespace: &Namespace,
    what: &str,
    template: Template,
) -> anyhow::Result<()> {
    let path = namespace.path(if what == "pod" { "pods" } else { "configmaps" });
    let template = Arc::new(template);
    let mut stored = 0;
    for (group, clients) in [(1, 1), (16, 16), (64, 64)] {
        let load = Load { clients, limit: lab.count(2_000 * clients.min(5), 50 * clients), time: lab.time() };
        let who = if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") };
        let post = {
            let (path, template) = (path.clone(), template.clone());
            move |number| {
                let body = template.named(&objects::name(group, number));
                Call::new(Method::POST, path.clone()).body(body)
            }
        };
        // The first of their kind pay for what is set up once.
        let warm = {
            let post = post.clone();
            move |number: usize| post(9_000_000 + number)
        };
        stored += load::run(cluster, Load { clients: 1, limit: 10, time: lab.time() }, warm).await?.count();
        let created = load::run(cluster, load, post).await?;
        let count = created.count();
        stored += count;
        tell(&format!("create {what}, {who}"), &created);

        let get = {
            let path = path.clone();
            move |number| Call::get(format!("{path}/{}", objects::name(group, number % count)))
        };
        let load = Load { limit: load.limit * 4, ..load };
        tell(&format!("GET {what}, {who}"), &load::run(cluster, load, get).await?);

        let updates = Arc::new(updates(cluster, &path, group, count.min(UPDATED)).await?);
        let put = {
            let updates = updates.clone();
            move |number: usize| {
                let (path, update) = &updates[number % updates.len()];
                Call::new(Method::PUT, path.clone()).body(update.body(number))
            }
        };
        let load = Load { limit: load.limit / 4, ..load };
        tell(&format!("PUT {what}, {who}"), &load::run(cluster, load, put).await?);

        let patch = move |number: usize| {
            let (path, _) = &updates[number % updates.len()];
            let text =
                json!({"metadata": {"annotations": {"bench.skiff.dev/revision": format!("p{number:09}")}}});
            let call = Call::new(Method::PATCH, path.clone()).body(text.to_string());
            Call { content: "application/merge-patch+json", ..call }
        };
        tell(&format!("PATCH (merge) {what}, {who}"), &load::run(cluster, load, patch).await?);
    }
    let meter = cluster.meter()?;
    let begin = std::time::Instant::now();
    namespace.clear(&mut cluster.connect().await?, path.rsplit('/').next().unwrap_or_default()).await?;
    let wall = begin.elapsed();
    row(&Figure {
        rate: Some(stored as f64 / wall.as_secs_f64()),
        cpu: each(meter.spent()?, stored),
        ..Figure::new(format!("deletecollection of {what}s, each")).note(format!("{stored} in one request"))
    });
    Ok(())
}

/// Stored objects as bodies of updates, with their paths.
async fn updates(
    cluster: &Cluster,
    path: &str,
    group: usize,
    count: usize,
) -> anyhow::Result<Vec<(String, Update)>> {
    let mut connection = cluster.connect().await?;
    let mut updates = Vec::new();
    for number in 0..count {
        let path = format!("{path}/{}", objects::name(group, number));
        let update = Update::of(&connection.call(Call::get(path.clone())).await?)?;
        updates.push((path, update));
    }
    Ok(updates)
}

fn tell(name: &str, measured: &Measured) {
    row(&Figure {
        rate: Some(measured.rate()),
        median: measured.latencies.median(),
        p99: measured.latencies.percentile(99.0),
        cpu: measured.cpu_each(),
        ..Figure::new(name).note(format!("{} requests", measured.count()))
    });
}
