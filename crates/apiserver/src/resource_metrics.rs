//! `metrics.k8s.io/v1beta1`: what nodes and pods use, asked of the kubelets when somebody asks us.
//!
//! Nothing is collected while nobody looks. A kubelet needs two readings to tell cores in use; on the first question after a
//! pause it has only one, so it is asked again a moment later. Answers are remembered for a few seconds, that many
//! who ask at once cost one question.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use http_body_util::BodyExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use skiff_api::{ApiError, FieldSelector, LabelSelector, Resource, meta};
use skiff_store::Key;
use tokio::time::Instant;

use crate::api::Api;
use crate::authz::Authorized;
use crate::request::{Target, Verb};
use crate::stream::{kubelet, relay};
use crate::wire::{self, Request, Response};

/// The group.
pub(crate) const GROUP: &str = "metrics.k8s.io";
/// Its only version.
pub(crate) const VERSION: &str = "v1beta1";
/// Its resources: plural, kind, whether they live in namespaces.
pub(crate) const RESOURCES: [(&str, &str, bool); 2] =
    [("nodes", "NodeMetrics", false), ("pods", "PodMetrics", true)];
/// What one can do with them.
pub(crate) const VERBS: [&str; 2] = ["get", "list"];

/// How long an answer of a kubelet is good for.
const FRESH: Duration = Duration::from_secs(5);
/// How long a kubelet may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two readings where the first tells no rate.
const BETWEEN: Duration = Duration::from_millis(1000);

/// What kubelets said lately, by node.
#[derive(Default)]
pub(crate) struct Recent {
    by_node: Mutex<HashMap<Box<str>, Said>>,
}

/// What a kubelet said, and when.
type Said = (Instant, Arc<Summary>);

/// A kubelet's summary, as far as it is needed.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Summary {
    node: Usage,
    pods: Vec<PodUsage>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodUsage {
    pod_ref: PodRef,
    containers: Vec<Usage>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodRef {
    name: String,
    namespace: String,
    uid: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Usage {
    name: String,
    cpu: Cpu,
    memory: Memory,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Cpu {
    time: Option<Timestamp>,
    usage_nano_cores: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Memory {
    working_set_bytes: Option<u64>,
}

impl Summary {
    /// Whether everything has a rate.
    fn is_complete(&self) -> bool {
        let mut containers = self.pods.iter().flat_map(|pod| &pod.containers);
        self.node.cpu.usage_nano_cores.is_some() && containers.all(|it| it.cpu.usage_nano_cores.is_some())
    }
}

impl Usage {
    fn json(&self) -> Option<Value> {
        let (cpu, memory) = (self.cpu.usage_nano_cores?, self.memory.working_set_bytes?);
        Some(json!({ "cpu": format!("{cpu}n"), "memory": format!("{}Ki", memory / 1024) }))
    }
}

/// Whether a call is for the group.
pub(crate) fn is_ours(target: &Target, verb: Verb) -> bool {
    let known = RESOURCES.iter().any(|(plural, _, namespaced)| {
        *plural == target.plural && (*namespaced || target.namespace.is_empty())
    });
    let here = target.group == GROUP && target.version == VERSION && target.subresource.is_empty();
    here && known && matches!(verb, Verb::Get | Verb::List)
}

/// Answers a call for the group.
///
/// # Errors
/// 400 for selectors that are none, 404 for an object of which nothing is known.
pub(crate) async fn serve(api: &Arc<Api>, call: Authorized) -> Result<Response, ApiError> {
    let Some(target) = call.info.target.clone() else { return Err(ApiError::no_such_path()) };
    let bad = |error: String| ApiError::bad_request(error);
    let labels = LabelSelector::parse(call.info.query.get("labelSelector").unwrap_or_default());
    let labels = labels.map_err(|error| bad(error.to_string()))?;
    let fields = FieldSelector::parse(call.info.query.get("fieldSelector").unwrap_or_default());
    let fields = fields.map_err(|error| bad(error.to_string()))?;
    let items = if target.plural == "nodes" { nodes(api, &target).await } else { pods(api, &target).await };
    let (_, kind, _) =
        RESOURCES.iter().find(|(plural, ..)| *plural == target.plural).copied().unwrap_or_default();
    if !target.name.is_empty() {
        let resource = Resource {
            group: GROUP.into(),
            version: VERSION.into(),
            plural: target.plural.as_str().into(),
            kind: kind.into(),
            namespaced: target.plural == "pods",
        };
        let mut found =
            items.into_iter().next().ok_or_else(|| ApiError::not_found(&resource, &target.name))?;
        found["kind"] = kind.into();
        found["apiVersion"] = format!("{GROUP}/{VERSION}").into();
        return Ok(wire::encoded(200, &found));
    }
    let selected = |item: &Value| {
        let held = item["metadata"]["labels"].as_object();
        let held =
            held.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()));
        labels.matches(&held.collect())
            && fields.matches(|field| item["metadata"][field.strip_prefix("metadata.")?].as_str())
    };
    let items: Vec<Value> = items.into_iter().filter(selected).collect();
    let list = json!({
        "kind": format!("{kind}List"), "apiVersion": format!("{GROUP}/{VERSION}"), "metadata": {}, "items": items,
    });
    Ok(wire::encoded(200, &list))
}

fn item(meta: &skiff_api::Meta, at: Option<Timestamp>) -> Value {
    let mut metadata = json!({ "name": meta.name, "creationTimestamp": at, "labels": meta.labels });
    if let Some(namespace) = &meta.namespace {
        metadata["namespace"] = json!(namespace);
    }
    json!({ "metadata": metadata, "timestamp": at, "window": "10s" })
}

async fn nodes(api: &Arc<Api>, target: &Target) -> Vec<Value> {
    let mut names: Vec<Box<str>> = Vec::new();
    for (key, _) in &api.store.snapshot(&Resource::of::<Node>().table()).objects {
        if target.name.is_empty() || **key == *target.name {
            names.push(key.as_ref().into());
        }
    }
    let one = |name: Box<str>| async move {
        let summary = summary(api, &name).await?;
        let stored = api.store.get(&Key::new("nodes", &*name))?;
        let mut item = item(stored.object().meta(), summary.node.cpu.time);
        item["usage"] = summary.node.json()?;
        Some(item)
    };
    join_all(names.into_iter().map(one)).await.into_iter().flatten().collect()
}

async fn pods(api: &Arc<Api>, target: &Target) -> Vec<Value> {
    let prefix = if target.namespace.is_empty() { String::new() } else { format!("{}/", target.namespace) };
    let mut by_node: HashMap<String, HashMap<Arc<str>, Arc<skiff_api::Object>>> = HashMap::new();
    for (key, stored) in &api.store.snapshot(&Resource::of::<Pod>().table()).objects {
        let Some(name) = key.strip_prefix(&prefix) else { continue };
        if !target.name.is_empty() && name != target.name {
            continue;
        }
        let Ok(pod) = stored.object().decode::<Pod>() else { continue };
        if let Some(node) = skiff_api::pod::node_name(&pod).filter(|_| !skiff_api::pod::is_finished(&pod)) {
            let object = Arc::clone(stored.object());
            by_node.entry(node.to_owned()).or_default().insert(object.meta().key(), object);
        }
    }
    let one = |(node, held): (String, HashMap<Arc<str>, Arc<skiff_api::Object>>)| async move {
        let Some(summary) = summary(api, &node).await else { return Vec::new() };
        let pod = |used: &PodUsage| {
            let object = held.get(&meta::key(Some(&used.pod_ref.namespace), &used.pod_ref.name))?;
            // The pod before it of the same name may still be on its way out.
            if *object.meta().uid != *used.pod_ref.uid {
                return None;
            }
            let container = |it: &Usage| Some(json!({ "name": it.name, "usage": it.json()? }));
            let containers: Option<Vec<Value>> = used.containers.iter().map(container).collect();
            let mut item = item(object.meta(), used.containers.first()?.cpu.time);
            item["containers"] = containers?.into();
            Some(item)
        };
        summary.pods.iter().filter_map(pod).collect()
    };
    let mut items: Vec<Value> = join_all(by_node.into_iter().map(one)).await.into_iter().flatten().collect();
    items.sort_by_cached_key(|item| {
        let text = |field: &str| item["metadata"][field].as_str().unwrap_or_default().to_owned();
        (text("namespace"), text("name"))
    });
    items
}

/// What a node's kubelet says; nothing (and a line in the log) if it cannot be asked.
async fn summary(api: &Arc<Api>, node: &str) -> Option<Arc<Summary>> {
    let known = api.resource_metrics.by_node.lock().get(node).cloned();
    if let Some((at, summary)) = known
        && at.elapsed() < FRESH
    {
        return Some(summary);
    }
    let mut asked = ask(api, node).await;
    if asked.as_ref().is_ok_and(|summary| !summary.is_complete()) {
        tokio::time::sleep(BETWEEN).await;
        asked = ask(api, node).await;
    }
    match asked {
        Ok(summary) => {
            let summary = Arc::new(summary);
            let mut by_node = api.resource_metrics.by_node.lock();
            by_node.retain(|_, (at, _)| at.elapsed() < FRESH);
            by_node.insert(node.into(), (Instant::now(), Arc::clone(&summary)));
            Some(summary)
        }
        Err(why) => {
            tracing::warn!(node, why, "a kubelet does not say what is used");
            None
        }
    }
}

async fn ask(api: &Arc<Api>, node: &str) -> Result<Summary, String> {
    let place = kubelet::of(api, node).map_err(|error| error.to_string())?;
    let answer = async {
        let io = api.kubelets.connect(&place).await?;
        let request = Request::new(wire::incoming(http_body_util::Empty::<bytes::Bytes>::new()));
        let response = relay::send(api, io, &place.authority(), "/stats/summary", request).await?;
        let code = response.status();
        if !code.is_success() {
            return Err(format!("{code}: {}", relay::words(response.into_body()).await));
        }
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
        serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())
    };
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err("timed out".to_owned()))
}
