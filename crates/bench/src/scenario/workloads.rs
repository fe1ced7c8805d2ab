//! Controllers with many pods: until all are bound, a rolling update on hollow nodes, and the end of a full namespace.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::FutureExt;
use http::Method;
use serde_json::{Value, json};

use super::Row;
use crate::cluster::{Cluster, Role};
use crate::connection::{Call, Connection};
use crate::lab::Lab;
use crate::load::{self, Load};
use crate::namespace::Namespace;
use crate::objects::{self, Template};
use crate::paper::{PATIENCE, all_bound, make_nodes};
use crate::report::{Figure, duration, row};
use crate::sample::each;

pub(crate) const SCENARIO: Row = Row {
    name: "workloads",
    about: "controllers of many pods, a rolling update, the end of a full namespace",
    run: |lab| run(lab).boxed_local(),
};

/// What owns the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Controller,
    Deployment,
}

async fn run(lab: &Lab) -> anyhow::Result<()> {
    for (nodes, pods) in [(100, 1_000), (1_000, 10_000)] {
        let (nodes, count) = (lab.count(nodes, nodes / 20), lab.count(pods, pods / 20));
        let cluster = lab.cluster(Role::Server).await?;
        make_nodes(&cluster, nodes).await?;
        for owner in [Owner::Controller, Owner::Deployment] {
            let namespace = Namespace::make(&cluster).await?;
            replicas(&cluster, &namespace, owner, (count, pods)).await?;
            if owner == Owner::Deployment {
                idle(lab, &cluster, pods).await?;
            }
            end(&cluster, namespace, &format!("of {pods} pods and their {}", owner.word()), count).await?;
        }
    }
    let cluster = lab.cluster(Role::Server).await?;
    let namespace = Namespace::make(&cluster).await?;
    let count = lab.count(10_000, 500);
    let (path, template) = (namespace.path("configmaps"), Template::config_map());
    let post =
        move |number| Call::new(Method::POST, path.clone()).body(template.named(&objects::name(0, number)));
    let made = load::run(&cluster, Load { clients: 16, limit: count, time: PATIENCE }, post).await?;
    ensure!(made.count() == count, "only {} ConfigMaps could be made in time", made.count());
    end(&cluster, namespace, "of 10000 ConfigMaps", count).await?;
    rolling(lab, &cluster).await
}

impl Owner {
    fn word(self) -> &'static str {
        match self {
            Self::Controller => "RC",
            Self::Deployment => "Deployment",
        }
    }

    fn path(self, namespace: &Namespace, rest: &str) -> String {
        match self {
            Self::Controller => namespace.path(&format!("replicationcontrollers{rest}")),
            Self::Deployment => format!("/apis/apps/v1/namespaces/{}/deployments{rest}", namespace.name),
        }
    }

    fn object(self, replicas: usize) -> anyhow::Result<Value> {
        let mut template = Template::unbound_pod().value()?;
        if let Some(meta) = template["metadata"].as_object_mut() {
            meta.remove("name");
        }
        let template = json!({"metadata": template["metadata"], "spec": template["spec"]});
        let (version, kind) = match self {
            Self::Controller => ("v1", "ReplicationController"),
            Self::Deployment => ("apps/v1", "Deployment"),
        };
        let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "many"},
            "spec": {"replicas": replicas, "template": template}});
        if self == Self::Deployment {
            object["spec"]["selector"] = json!({"matchLabels": {"app": "server"}});
        }
        Ok(object)
    }
}

/// The revision to watch a resource from.
async fn revision(connection: &mut Connection, path: &str) -> anyhow::Result<String> {
    let list = connection.call(Call::get(format!("{path}?limit=1"))).await?;
    let list: Value = serde_json::from_slice(&list).context("read the list")?;
    Ok(list["metadata"]["resourceVersion"].as_str().context("the list has no revision")?.to_owned())
}

/// One owner of many pods, until all of them are bound.
async fn replicas(
    cluster: &Cluster,
    namespace: &Namespace,
    owner: Owner,
    (count, pods): (usize, usize),
) -> anyhow::Result<()> {
    let mut connection = cluster.connect().await?;
    let from = revision(&mut connection, &namespace.path("pods")).await?;
    let path = namespace.path(&format!("pods?watch=true&resourceVersion={from}"));
    let mut watch = cluster.connect().await?.watch(&path).await?;
    let (begin, meter) = (Instant::now(), cluster.meter()?);
    let post = Call::new(Method::POST, owner.path(namespace, "")).body(owner.object(count)?.to_string());
    connection.call(post).await?;
    all_bound(&mut watch, count).await?;
    let wall = begin.elapsed();
    row(&Figure {
        rate: Some(count as f64 / wall.as_secs_f64()),
        median: Some(wall),
        cpu: each(meter.spent()?, count),
        ..Figure::new(format!("one {} of {pods} replicas, to all bound", owner.word()))
            .note("CPU is that of one pod")
    });
    Ok(())
}

/// What the server does while many pods are there and nothing happens.
async fn idle(lab: &Lab, cluster: &Cluster, pods: usize) -> anyhow::Result<()> {
    // What the controllers have left to do shall be done; nothing tells when that is.
    tokio::time::sleep(Duration::from_secs(lab.count(15, 1) as u64)).await;
    let (begin, meter) = (Instant::now(), cluster.meter()?);
    tokio::time::sleep(Duration::from_secs(lab.count(30, 1) as u64)).await;
    let spent = meter.spent()?;
    let percent = spent.as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0;
    let note = format!("{percent:.2} % of a core ({} in {})", duration(spent), duration(begin.elapsed()));
    row(&Figure::new(format!("CPU, idle, with {pods} pods")).note(note));
    Ok(())
}

/// The end of a namespace with all that is in it.
async fn end(cluster: &Cluster, namespace: Namespace, what: &str, count: usize) -> anyhow::Result<()> {
    let (begin, meter) = (Instant::now(), cluster.meter()?);
    namespace.remove(cluster).await?;
    let wall = begin.elapsed();
    row(&Figure {
        rate: Some(count as f64 / wall.as_secs_f64()),
        median: Some(wall),
        cpu: each(meter.spent()?, count),
        ..Figure::new(format!("DELETE of a namespace {what}, to gone")).note("CPU is that of one object")
    });
    Ok(())
}

/// A Deployment of 1,000 pods on 100 hollow nodes: to all available, and a rolling update.
async fn rolling(lab: &Lab, cluster: &Cluster) -> anyhow::Result<()> {
    let (nodes, count) = (lab.count(100, 5), lab.count(1_000, 50));
    let _nodes = cluster.hollow(nodes)?;
    let namespace = Namespace::make(cluster).await?;
    let mut connection = cluster.connect().await?;
    for (what, update) in [("to all available", false), ("rolling update", true)] {
        let from = revision(&mut connection, &Owner::Deployment.path(&namespace, "")).await?;
        let path = Owner::Deployment.path(&namespace, &format!("?watch=true&resourceVersion={from}"));
        let mut watch = cluster.connect().await?.watch(&path).await?;
        let (begin, meter) = (Instant::now(), cluster.meter()?);
        let call = if update {
            let patch = json!({"spec": {"template": {"metadata": {"annotations": {"bench.skiff.dev/round": "two"}}}}});
            let path = Owner::Deployment.path(&namespace, "/many");
            let call = Call::new(Method::PATCH, path).body(patch.to_string());
            Call { content: "application/merge-patch+json", ..call }
        } else {
            let object = Owner::Deployment.object(count)?;
            Call::new(Method::POST, Owner::Deployment.path(&namespace, "")).body(object.to_string())
        };
        let written: Value =
            serde_json::from_slice(&connection.call(call).await?).context("read the answer")?;
        let generation = written["metadata"]["generation"].as_u64().unwrap_or(1);
        let done = async {
            loop {
                let event: Value = serde_json::from_slice(&watch.next().await?).context("read an event")?;
                let status = &event["object"]["status"];
                let all = |field: &str| status[field].as_u64() == Some(count as u64);
                let seen = status["observedGeneration"].as_u64() >= Some(generation);
                if seen && all("replicas") && all("updatedReplicas") && all("availableReplicas") {
                    return anyhow::Ok(());
                }
            }
        };
        tokio::time::timeout(PATIENCE, done).await.context("the Deployment did not get there in time")??;
        let wall = begin.elapsed();
        row(&Figure {
            rate: Some(count as f64 / wall.as_secs_f64()),
            median: Some(wall),
            cpu: each(meter.spent()?, count),
            ..Figure::new(format!("Deployment of 1000 replicas on 100 hollow nodes, {what}"))
                .note("CPU is that of one pod")
        });
    }
    Ok(())
}
