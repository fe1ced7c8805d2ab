//! The objects that upstream's figures were taken with: a pod of 2.5 KB and a ConfigMap of 1 KiB of JSON.

use bytes::Bytes;
use serde_json::{Value, json};

/// The node that pods without containers are bound to.
pub(crate) const NODE: &str = "bench-nowhere";
/// Size of a pod as sent.
const POD: usize = 2560;
/// Size of a ConfigMap as sent.
const CONFIG_MAP: usize = 1024;
/// As long as every name that is put in its place.
const NAME: &str = "NAMENAMENAME";

/// JSON of an object whose name is still open.
#[derive(Clone, Debug)]
pub(crate) struct Template(String);

impl Template {
    /// A pod that is bound to a node which nobody runs, so that only the API works.
    pub(crate) fn pod(share: &str) -> Self {
        Self::padded(POD, Self::pod_object(share, Some(NODE)))
    }

    /// A pod for the scheduler.
    pub(crate) fn unbound_pod() -> Self {
        Self::padded(POD, Self::pod_object("all", None))
    }

    fn pod_object(share: &str, node: Option<&str>) -> Value {
        let container = json!({
            "name": "server",
            "image": "registry.example.com/team/server:1.2.3",
            "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/server", "--listen=:8080", "--verbose"],
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            "env": [
                {"name": "MODE", "value": "production"},
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
                {"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}},
            ],
            "resources": {
                "requests": {"cpu": "100m", "memory": "64Mi"},
                "limits": {"cpu": "500m", "memory": "128Mi"},
            },
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 10},
            "livenessProbe": {"httpGet": {"path": "/alive", "port": 8080}, "initialDelaySeconds": 5},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "config", "mountPath": "/etc/server"}],
            "securityContext": {"runAsNonRoot": true, "runAsUser": 1000},
        });
        let mut pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": NAME,
                "labels": {"app": "server", "tier": "backend", "share": share},
                "annotations": {"bench.skiff.dev/revision": "0000000000"},
            },
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [container],
                "tolerations": [{"operator": "Exists"}],
                "volumes": [
                    {"name": "data", "emptyDir": {}},
                    {"name": "config", "configMap": {"name": "server", "optional": true}},
                ],
            },
        });
        if let Some(node) = node {
            pod["spec"]["nodeName"] = json!(node);
        }
        pod
    }

    /// A ConfigMap.
    pub(crate) fn config_map() -> Self {
        Self::padded(
            CONFIG_MAP,
            json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": NAME,
                    "labels": {"app": "server"},
                    "annotations": {"bench.skiff.dev/revision": "0000000000"},
                },
                "data": {"mode": "production", "level": "info"},
            }),
        )
    }

    /// Made long by one annotation.
    fn padded(size: usize, mut object: Value) -> Self {
        object["metadata"]["annotations"]["bench.skiff.dev/padding"] = json!("");
        let missing = size.saturating_sub(object.to_string().len());
        object["metadata"]["annotations"]["bench.skiff.dev/padding"] = json!("x".repeat(missing));
        Self(object.to_string())
    }

    /// The object itself.
    pub(crate) fn value(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.0)?)
    }

    /// The object with a name, see [`name`].
    pub(crate) fn named(&self, name: &str) -> Bytes {
        Bytes::from(self.0.replace(NAME, name))
    }
}

/// A name of the length that templates leave for it.
pub(crate) fn name(group: usize, number: usize) -> String {
    format!("b{:03}-{:07}", group % 1000, number % 10_000_000)
}

/// A stored object as the body of later updates: unconditional, and with a place that changes each time.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    before: String,
    after: String,
}

impl Update {
    pub(crate) fn of(stored: &[u8]) -> anyhow::Result<Self> {
        let mut object: Value = serde_json::from_slice(stored)?;
        if let Some(meta) = object["metadata"].as_object_mut() {
            meta.remove("resourceVersion");
            meta.remove("managedFields");
        }
        object["metadata"]["annotations"]["bench.skiff.dev/revision"] = json!("MARK");
        let text = object.to_string();
        let (before, after) = text.split_once("MARK").unwrap_or((&text, ""));
        Ok(Self { before: before.to_owned(), after: after.to_owned() })
    }

    pub(crate) fn body(&self, revision: usize) -> Bytes {
        Bytes::from(format!("{}{revision:010}{}", self.before, self.after))
    }
}

/// A node that says it is there, for pods to be bound to.
pub(crate) fn node() -> Bytes {
    Bytes::from(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_the_sizes_of_the_baseline_whatever_their_name() {
        for number in [0, 7, 123_456] {
            let name = name(64, number);
            assert_eq!(Template::pod("all").named(&name).len(), POD);
            assert_eq!(Template::unbound_pod().named(&name).len(), POD);
            assert_eq!(Template::config_map().named(&name).len(), CONFIG_MAP);
        }
    }

    #[test]
    fn an_update_is_unconditional_and_differs_each_time() {
        let stored = br#"{"metadata":{"name":"a","resourceVersion":"5","annotations":{}},"data":{}}"#;
        let update = Update::of(stored).unwrap();
        let value: Value = serde_json::from_slice(&update.body(3)).unwrap();
        assert_eq!(value["metadata"]["annotations"]["bench.skiff.dev/revision"], "0000000003");
        assert!(value["metadata"].get("resourceVersion").is_none());
        assert_ne!(update.body(3), update.body(4));
    }
}
