//! Pods made and deleted through the API, seen by a watch.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::future::try_join_all;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::{IMAGE, PATIENCE};
use crate::cluster::Cluster;
use crate::connection::{Call, Watch};
use crate::namespace::Namespace;

/// As much of an event as we wait for.
#[derive(Deserialize)]
struct Event {
    r#type: String,
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    phase: String,
}

/// Pods that are made and unmade, seen by one watch.
pub(super) struct Pods<'a> {
    cluster: &'a Cluster,
    namespace: &'a Namespace,
    watch: Watch,
}

impl<'a> Pods<'a> {
    pub(super) async fn open(cluster: &'a Cluster, namespace: &'a Namespace) -> anyhow::Result<Self> {
        let watch = cluster.connect().await?.watch(&namespace.path("pods?watch=true")).await?;
        Ok(Self { cluster, namespace, watch })
    }

    /// Posts pods at once; how long each took to be seen Running.
    pub(super) async fn start(
        &mut self,
        names: &[String],
        command: &[&str],
    ) -> anyhow::Result<Vec<Duration>> {
        let call = |name: &String| {
            let pod = json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "sleep",
                        "image": IMAGE,
                        "imagePullPolicy": "Never",
                        "command": command,
                    }],
                },
            });
            Call::new(Method::POST, self.namespace.path("pods")).body(pod.to_string())
        };
        let calls = names.iter().map(call).collect();
        let running = |event: &Event| match event.object.status.phase.as_str() {
            "Failed" | "Succeeded" => bail!("pod {} ended", event.object.metadata.name),
            phase => Ok(phase == "Running"),
        };
        self.all(names, calls, running).await
    }

    /// Deletes pods at once with a second of grace; how long each took to be seen gone.
    pub(super) async fn delete(&mut self, names: &[String]) -> anyhow::Result<Vec<Duration>> {
        let options =
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 1}).to_string();
        let call = |name: &String| {
            Call::new(Method::DELETE, self.namespace.path(&format!("pods/{name}"))).body(options.clone())
        };
        let calls = names.iter().map(call).collect();
        self.all(names, calls, |event| Ok(event.r#type == "DELETED")).await
    }

    /// Sends all calls, each on a connection of its own, and waits until each pod is as wanted.
    async fn all(
        &mut self,
        names: &[String],
        calls: Vec<Call>,
        done: impl Fn(&Event) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Vec<Duration>> {
        let cluster = self.cluster;
        let connections = try_join_all(names.iter().map(|_| cluster.connect())).await?;
        let sends = connections.into_iter().zip(calls).map(|(mut connection, call)| async move {
            let begin = Instant::now();
            connection.call(call).await?;
            anyhow::Ok(begin)
        });
        let watch = &mut self.watch;
        let see = async {
            let mut seen = BTreeMap::new();
            while seen.len() < names.len() {
                let line = watch.next().await?;
                let at = Instant::now();
                let event: Event = serde_json::from_slice(&line)
                    .with_context(|| format!("read an event: {}", String::from_utf8_lossy(&line)))?;
                if names.contains(&event.object.metadata.name) && done(&event)? {
                    seen.entry(event.object.metadata.name).or_insert(at);
                }
            }
            Ok(seen)
        };
        let see =
            async { tokio::time::timeout(PATIENCE, see).await.context("not all pods got there in time")? };
        let (begins, seen) = futures::future::try_join(try_join_all(sends), see).await?;
        let times = names.iter().zip(begins);
        Ok(times.filter_map(|(name, begin)| Some(seen.get(name)?.saturating_duration_since(begin))).collect())
    }
}
