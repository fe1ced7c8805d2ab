//! What the world is asked besides single objects: what there is, lists, scales, reviews, and what pods use.

use serde_json::{Value, json};

use super::service::Asked;
use super::verbs::Refusal;
use super::{State, now};

/// The config map of a namespace that says how busy its pods are: `cpu`, in thousandths, shared by all that run.
pub(super) const LOAD: &str = "load";

impl State {
    /// The kinds of one of the two documents of discovery; those of which nothing was ever made are not known.
    pub(super) fn discovery(&self, core: bool) -> Value {
        let kind = |(table, objects): (&String, &super::Objects)| {
            let (plural, group) = table.split_once('.')?;
            let first: Value = serde_json::from_slice(objects.values().next()?.bytes()).ok()?;
            let scope = if first["metadata"]["namespace"].is_string() { "Namespaced" } else { "Cluster" };
            let resource = json!({"resource": plural, "responseKind": {"kind": first["kind"]}, "scope": scope,
                "verbs": ["list", "delete", "deletecollection"]});
            let versions = json!([{"version": "v1", "resources": [resource]}]);
            (group.is_empty() == core).then(|| json!({"metadata": {"name": group}, "versions": versions}))
        };
        json!({ "items": self.tables.iter().filter_map(kind).collect::<Vec<_>>() })
    }

    /// What there is of a group; nothing of which nothing was ever made.
    pub(super) fn resources(&self, group: &str) -> Value {
        let of = |table: &String| {
            let (plural, own) = table.split_once('.')?;
            let resource =
                json!({"name": plural, "singularName": "", "namespaced": true, "kind": "", "verbs": []});
            (own == group).then_some(resource)
        };
        let resources: Vec<Value> = self.tables.keys().filter_map(of).collect();
        json!({"kind": "APIResourceList", "groupVersion": group, "resources": resources})
    }

    /// Binds a pod to a node, once.
    pub(super) fn bind(&mut self, key: &str, binding: &Value) -> Result<Value, Refusal> {
        let missing = || (404, "NotFound", format!("{key} not found"));
        let mut pod = self.value("pods.", key).ok_or_else(missing)?;
        let taken = pod["spec"]["nodeName"].is_string() || pod["metadata"]["deletionTimestamp"].is_string();
        if taken || pod["metadata"]["uid"] != binding["metadata"]["uid"] {
            return Err((409, "Conflict", format!("{key} is not to be bound")));
        }
        pod["spec"]["nodeName"] = binding["target"]["name"].clone();
        Ok(self.write("pods.", pod))
    }

    /// The keys of a table in a namespace.
    pub(super) fn keys(&self, table: &str, namespace: Option<&str>) -> Vec<String> {
        let inside = |key: &&std::sync::Arc<str>| {
            namespace.is_none_or(|namespace| key.split_once('/').is_some_and(|(own, _)| own == namespace))
        };
        let objects = self.tables.get(table).into_iter().flat_map(|objects| objects.keys());
        objects.filter(inside).map(|key| key.to_string()).collect()
    }

    /// A list.
    pub(super) fn list(&self, table: &str, namespace: Option<&str>) -> Value {
        let keys = self.keys(table, namespace);
        json!({ "items": keys.iter().filter_map(|key| self.value(table, key)).collect::<Vec<_>>() })
    }

    /// What pods use: an equal part each of the load of their namespace.
    pub(super) fn usage(&self, namespace: &str) -> Value {
        let load = self.value("configmaps.", &format!("{namespace}/{LOAD}")).unwrap_or_default();
        let load: u64 = load["data"]["cpu"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
        let pods =
            self.keys("pods.", Some(namespace)).into_iter().filter_map(|key| self.value("pods.", &key));
        let pods: Vec<Value> = pods.filter(|pod| pod["status"]["phase"] == "Running").collect();
        let share = load / (pods.len() as u64).max(1);
        let now = now(self.begun);
        let one = |pod: &Value| {
            json!({"metadata": {"name": pod["metadata"]["name"], "namespace": namespace}, "timestamp": now,
                "window": "15s", "containers": [{"name": "c", "usage": {"cpu": format!("{share}m")}}]})
        };
        json!({ "items": pods.iter().map(one).collect::<Vec<_>>() })
    }

    /// The scale of an object that has replicas; a wish for another number is written first.
    pub(super) fn scale(&mut self, table: &str, asked: &Asked, wish: &Value) -> Result<Value, Refusal> {
        let key = asked.key();
        let missing = || (404, "NotFound", format!("{key} not found"));
        let mut held = self.value(table, &key).ok_or_else(missing)?;
        if wish.is_number() {
            held["spec"]["replicas"] = wish.clone();
            held = self.write(table, held);
        }
        let labels = held["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten();
        let terms: Vec<String> =
            labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
        Ok(json!({"kind": "Scale", "apiVersion": "autoscaling/v1",
            "metadata": {"name": asked.name, "namespace": asked.namespace},
            "spec": {"replicas": held["spec"]["replicas"]},
            "status": {"replicas": held["status"]["replicas"].as_i64().unwrap_or(0), "selector": terms.join(",")}}))
    }

    /// Whether the finalizers of a namespace's spec hold it.
    pub(super) fn is_held(value: &Value) -> bool {
        value["kind"] == "Namespace"
            && value["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty())
    }
}
