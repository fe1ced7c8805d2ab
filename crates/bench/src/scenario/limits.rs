//! The official limits of a cluster on this machine: 5,000 nodes and 150,000 pods, all of them hollow, and what the API and a
//! single pod notice of it. Upstream's promises: a request about one object is answered within a second, a pod runs
//! within five, both at the 99th percentile.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::FutureExt;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Row;
use crate::cluster::{Cluster, Role};
use crate::connection::Call;
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::objects::{self, Template};
use crate::procs;
use crate::report::{Figure, duration, mebibytes, row};
use crate::sample::{Sample, each};

pub(crate) const SCENARIO: Row = Row {
    name: "limits",
    about: "5,000 hollow nodes with 150,000 pods, and what a request and a pod notice of them",
    run: |lab| run(lab).boxed_local(),
};

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(1_800);
/// Pods of one Deployment.
const REPLICAS: usize = 1_000;
/// Deployments of one namespace.
const TOGETHER: usize = 10;
/// From the end of one trial to the begin of the next.
const BREATH: Duration = Duration::from_millis(100);

async fn run(lab: &Lab) -> anyhow::Result<()> {
    let (nodes, deployments) = (lab.count(5_000, 50), lab.count(150, 2));
    let replicas = lab.count(REPLICAS, 20);
    let cluster = lab.cluster(Role::Server).await?;
    let (begin, meter) = (Instant::now(), cluster.meter()?);
    let hollow = cluster.hollow(nodes)?;
    all_ready(&cluster, nodes).await?;
    row(&Figure {
        rate: Some(nodes as f64 / begin.elapsed().as_secs_f64()),
        median: Some(begin.elapsed()),
        cpu: each(meter.spent()?, nodes),
        ..Figure::new("5000 hollow nodes, to all Ready").note("CPU is that of one node")
    });

    let (end, ended) = watch::channel(false);
    let pods = deployments * replicas;
    let filled = async {
        let (begin, meter) = (Instant::now(), cluster.meter()?);
        fill(&cluster, deployments, replicas).await?;
        end.send_replace(true);
        let wall = begin.elapsed();
        row(&Figure {
            rate: Some(pods as f64 / wall.as_secs_f64()),
            median: Some(wall),
            cpu: each(meter.spent()?, pods),
            ..Figure::new("150 Deployments of 1000 replicas, to all available").note("CPU is that of one pod")
        });
        anyhow::Ok(())
    };
    let ((), requests) = tokio::try_join!(filled, requests(&cluster, ended))?;
    tell("one request meanwhile (GET, then PUT of a ConfigMap)", &requests);
    // Not meanwhile: then it would stand in line behind all the others, as anybody would expect.
    let (bound, running) = starts(&cluster, lab.count(100, 5)).await?;
    tell("one more pod then, POST to bound", &bound);
    tell("one more pod then, POST to Running", &running);
    for (what, pids) in [("server", cluster.pids.as_slice()), ("hollow nodes", &[hollow.pid()])] {
        let memory = procs::memory(pids)?.resident;
        let note = format!("{}, {:.1} KiB a pod", mebibytes(memory), memory as f64 / 1024.0 / pods as f64);
        row(&Figure::new(format!("resident memory of the {what}, then")).note(note));
    }
    let (begin, meter) = (Instant::now(), cluster.meter()?);
    tokio::time::sleep(Duration::from_secs(lab.count(30, 1) as u64)).await;
    let spent = meter.spent()?;
    let percent = spent.as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0;
    let note = format!("{percent:.1} % of a core ({} in {})", duration(spent), duration(begin.elapsed()));
    row(&Figure::new("CPU of the server, idle, then").note(note));
    Ok(())
}

fn tell(name: &str, sample: &Sample) {
    row(&Figure {
        median: sample.median(),
        p99: sample.percentile(99.0),
        ..Figure::new(name).note(format!("{} times", sample.len()))
    });
}

/// Waits until so many nodes have said that they are ready.
async fn all_ready(cluster: &Cluster, count: usize) -> anyhow::Result<()> {
    let mut watch = cluster.connect().await?.watch("/api/v1/nodes?watch=true").await?;
    let mut ready = HashSet::new();
    let all = async {
        while ready.len() < count {
            let event: Value = serde_json::from_slice(&watch.next().await?).context("read an event")?;
            let node = &event["object"];
            let mut conditions = node["status"]["conditions"].as_array().into_iter().flatten();
            if conditions.any(|one| one["type"] == "Ready" && one["status"] == "True") {
                ready.insert(node["metadata"]["name"].as_str().unwrap_or_default().to_owned());
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, all).await.context("the nodes did not become ready in time")?
}

/// Makes the Deployments and waits until all their pods are available.
async fn fill(cluster: &Cluster, deployments: usize, replicas: usize) -> anyhow::Result<()> {
    const ALL: &str = "/apis/apps/v1/deployments?watch=true";
    let mut template = Template::unbound_pod().value()?;
    if let Some(meta) = template["metadata"].as_object_mut() {
        meta.remove("name");
    }
    let mut watch = cluster.connect().await?.watch(ALL).await?;
    let mut connection = cluster.connect().await?;
    let mut namespace = Namespace::make(cluster).await?;
    for number in 0..deployments {
        if number > 0 && number.is_multiple_of(TOGETHER) {
            namespace = Namespace::make(cluster).await?;
        }
        let app = format!("many-{number}");
        let mut labels = template["metadata"].clone();
        labels["labels"]["app"] = json!(app);
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": app},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": app}},
                "template": {"metadata": labels, "spec": template["spec"]}}});
        let path = format!("/apis/apps/v1/namespaces/{}/deployments", namespace.name);
        connection.call(Call::new(Method::POST, path).body(object.to_string())).await?;
    }
    let mut done = HashSet::new();
    let all = async {
        while done.len() < deployments {
            let event: Value = serde_json::from_slice(&watch.next().await?).context("read an event")?;
            let object = &event["object"];
            if object["status"]["availableReplicas"].as_u64() == Some(replicas as u64) {
                done.insert(object["metadata"]["name"].as_str().unwrap_or_default().to_owned());
            }
        }
        anyhow::Ok(())
    };
    let outcome = tokio::time::timeout(PATIENCE, all).await;
    outcome.with_context(|| format!("only {} of {deployments} Deployments got there in time", done.len()))?
}

/// How long requests about one object take until the end.
async fn requests(cluster: &Cluster, ended: watch::Receiver<bool>) -> anyhow::Result<Sample> {
    let namespace = Namespace::make(cluster).await?;
    let mut connection = cluster.connect().await?;
    let (path, template) = (namespace.path("configmaps"), Template::config_map());
    let name = objects::name(0, 0);
    connection.call(Call::new(Method::POST, path.clone()).body(template.named(&name))).await?;
    let path = format!("{path}/{name}");
    let mut latencies = Vec::new();
    while !*ended.borrow() {
        for call in
            [Call::get(path.clone()), Call::new(Method::PUT, path.clone()).body(template.named(&name))]
        {
            let begin = Instant::now();
            connection.call(call).await?;
            latencies.push(begin.elapsed());
        }
        tokio::time::sleep(BREATH).await;
    }
    Ok(Sample::new(latencies))
}

/// How long single pods take to be bound and to run, one after the other.
async fn starts(cluster: &Cluster, count: usize) -> anyhow::Result<(Sample, Sample)> {
    let namespace = Namespace::make(cluster).await?;
    let mut connection = cluster.connect().await?;
    let mut watch = cluster.connect().await?.watch(&namespace.path("pods?watch=true")).await?;
    let template = Template::unbound_pod();
    let (mut bound, mut running) = (Vec::new(), Vec::new());
    for number in 0..count {
        let name = objects::name(1, number);
        let begin = Instant::now();
        let post = Call::new(Method::POST, namespace.path("pods")).body(template.named(&name));
        connection.call(post).await?;
        let mut is_bound = false;
        loop {
            let event: Value = serde_json::from_slice(&watch.next().await?).context("read an event")?;
            let pod = &event["object"];
            if pod["metadata"]["name"] != name.as_str() {
                continue;
            }
            if !is_bound && pod["spec"]["nodeName"].is_string() {
                is_bound = true;
                bound.push(begin.elapsed());
            }
            if pod["status"]["phase"] == "Running" {
                break;
            }
        }
        running.push(begin.elapsed());
        tokio::time::sleep(BREATH).await;
    }
    Ok((Sample::new(bound), Sample::new(running)))
}
