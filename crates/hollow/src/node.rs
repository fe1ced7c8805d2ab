//! One hollow node: its object, its registration, its signs of life.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use serde_json::{Map, Value, json};
use skiff_api::Resource;
use skiff_base::{Backoff, Clock};
use skiff_client::write::{self, Patch, Place};
use skiff_client::{Heartbeat, Link};

use crate::{LABEL, Shape, addresses};

/// Upstream's `nodeStatusReportFrequency`.
const REPORT: Duration = Duration::from_secs(300);
/// Upstream's conditions of a healthy node: type, status, reason, message.
const CONDITIONS: [[&str; 4]; 4] = [
    ["MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"],
    ["DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"],
    ["PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"],
    ["Ready", "True", "KubeletReady", "kubelet is posting ready status"],
];

/// The name of the node of this number.
pub(crate) fn name(shape: &Shape, number: usize) -> String {
    format!("{}-{number}", shape.prefix)
}

/// The node as it registers.
fn object(shape: &Shape, number: usize, now: jiff::Timestamp) -> Value {
    let name = name(shape, number);
    let mut labels: Map<String, Value> = Map::new();
    let mut label = |key: &str, value: &str| labels.insert(key.to_owned(), value.into());
    label("kubernetes.io/hostname", &name);
    label("kubernetes.io/os", "linux");
    label("kubernetes.io/arch", "amd64");
    label(LABEL, &shape.prefix);
    if let Some(zone) = number.checked_rem(shape.zones) {
        label("topology.kubernetes.io/zone", &format!("zone-{zone}"));
    }
    for (key, value) in &shape.labels {
        label(key, value);
    }
    let resources: Map<String, Value> =
        shape.resources.iter().map(|(name, amount)| (name.clone(), amount.as_str().into())).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name, "labels": labels },
        "status": {
            "addresses": [
                { "type": "InternalIP", "address": addresses::node(number) },
                { "type": "Hostname", "address": name },
            ],
            "capacity": resources,
            "allocatable": resources,
            "conditions": conditions(now, now),
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "hollow",
                "containerRuntimeVersion": "hollow://1",
                "kernelVersion": "hollow",
                "kubeProxyVersion": "",
                "kubeletVersion": concat!("v1.37.0+skiff.", env!("CARGO_PKG_VERSION")),
                "machineID": "hollow",
                "operatingSystem": "linux",
                "osImage": "hollow",
                "systemUUID": name,
            },
        },
    })
}

fn conditions(now: jiff::Timestamp, since: jiff::Timestamp) -> Vec<Value> {
    let condition = |[kind, status, reason, message]: [&str; 4]| {
        json!({
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": since,
        })
    };
    CONDITIONS.into_iter().map(condition).collect()
}

/// Deletes a node; one that is gone already will do.
pub(crate) async fn remove(link: &Link, name: String) -> write::Result<()> {
    let place = Place::new(&Resource::of::<Node>(), None, &name);
    match write::delete(link, &place, &Default::default()).await {
        Err(error) if !write::is_not_found(&error) => Err(error),
        _ => Ok(()),
    }
}

/// A node's life.
pub(crate) struct Life {
    link: Link,
    clock: Clock,
    name: String,
    object: Value,
    place: Place,
    began: jiff::Timestamp,
}

impl Life {
    /// Of the node of this number; nothing is sent yet.
    pub(crate) fn new(link: &Link, clock: &Clock, shape: &Shape, number: usize) -> Self {
        let (name, began) = (name(shape, number), clock.now_seconds());
        let place = Place::new(&Resource::of::<Node>(), None, &name);
        Self {
            link: link.clone(),
            clock: clock.clone(),
            object: object(shape, number, began),
            name,
            place,
            began,
        }
    }

    /// Registers the node; one that is there already is taken over. Its uid.
    pub(crate) async fn register(&self) -> write::Result<String> {
        let node: Node = skiff_api::decode::from_tree(&self.object).map_err(kube::Error::SerdeError)?;
        let node = match write::create(&self.link, &node).await {
            Err(error) if write::already_exists(&error) => self.report().await?,
            other => other?,
        };
        Ok(node.metadata.uid.unwrap_or_default())
    }

    /// Signs of life, for ever.
    pub(crate) async fn run(self, uid: String) {
        let heartbeat = Heartbeat::of_node(&self.name, &uid);
        let beating = heartbeat.run(self.link.clone(), self.clock.clone());
        let reporting = async {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
            tokio::time::sleep(REPORT).await;
            loop {
                match self.report().await {
                    Ok(_) => {
                        backoff.reset();
                        tokio::time::sleep(REPORT).await;
                    }
                    Err(error) => {
                        tracing::warn!(node = self.name, %error, "a hollow node's status was not written");
                        backoff.wait().await;
                    }
                }
            }
        };
        tokio::join!(beating, reporting);
    }

    /// Writes the node's status.
    async fn report(&self) -> write::Result<Node> {
        let mut status = self.object["status"].clone();
        status["conditions"] = conditions(self.clock.now_seconds(), self.began).into();
        let body = json!({ "metadata": { "labels": self.object["metadata"]["labels"] }, "status": status });
        write::patch(&self.link, &self.place.clone().part("status"), Patch::Strategic, &body).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_what_its_shape_says() {
        let shape = Shape {
            zones: 3,
            labels: vec![("disk".to_owned(), "fast".to_owned())],
            resources: vec![("cpu".to_owned(), "4".to_owned())],
            ..Shape::default()
        };
        let node: Node = serde_json::from_value(object(&shape, 4, jiff::Timestamp::UNIX_EPOCH)).unwrap();
        let labels = node.metadata.labels.unwrap();
        assert_eq!(node.metadata.name.as_deref(), Some("hollow-4"));
        assert_eq!(
            (labels["disk"].as_str(), labels["topology.kubernetes.io/zone"].as_str()),
            ("fast", "zone-1")
        );
        let status = node.status.unwrap();
        assert_eq!(status.allocatable.unwrap()["cpu"].0, "4");
        assert_eq!(status.conditions.unwrap().last().unwrap().status, "True");
    }
}
