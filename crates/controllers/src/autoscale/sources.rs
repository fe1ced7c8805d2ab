//! The metrics APIs, asked: `metrics.k8s.io` for what pods use; the custom and external metrics APIs for the rest, for who
//! has registered such.
//!
//! Failures are in upstream's words (`pkg/controller/podautoscaler/metrics`), since people look for them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{CrossVersionObjectReference, MetricIdentifier};
use serde::Deserialize;
use skiff_api::LabelSelector;
use skiff_api::quantity::Quantity;
use skiff_client::{Link, write};

use super::replicas::{Reading, Readings};
use crate::shared::discovery;

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
}

#[derive(Deserialize)]
struct PodMetrics {
    metadata: Named,
    timestamp: Timestamp,
    window: Option<String>,
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Deserialize)]
struct Container {
    name: String,
    usage: BTreeMap<String, String>,
}

/// A value of a custom or external metric.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    described_object: Option<Named>,
    timestamp: Timestamp,
    window_seconds: Option<i64>,
    value: String,
}

/// Thousandths.
pub(super) fn milli(text: &str) -> i64 {
    Quantity::parse(text).map_or(0, Quantity::milli_value)
}

fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

async fn read<T: serde::de::DeserializeOwned>(link: &Link, path: &str) -> write::Result<Vec<T>> {
    let request = http::Request::get(path)
        .header(http::header::ACCEPT, "application/json")
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    let list: List<T> = link.client().request(request).await?;
    Ok(list.items)
}

/// What the pods of a selector use of a resource, altogether or in one container.
pub(super) async fn resource(
    link: &Link,
    namespace: &str,
    selector: &str,
    (name, container): (&str, Option<&str>),
) -> Result<Readings, String> {
    let selector = escaped(selector);
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods?labelSelector={selector}");
    let unable = |error: kube::Error| {
        format!("unable to fetch metrics from resource metrics API: {}", write::words(&error))
    };
    let pods: Vec<PodMetrics> = read(link, &path).await.map_err(unable)?;
    if pods.is_empty() {
        return Err("no metrics returned from resource metrics API".to_owned());
    }
    let mut readings = Readings::new();
    for pod in pods {
        let mut ours =
            pod.containers.iter().filter(|it| container.is_none_or(|name| it.name == name)).peekable();
        if let Some(container) = container.filter(|_| ours.peek().is_none()) {
            let (namespace, pod) = (pod.metadata.namespace, pod.metadata.name);
            return Err(format!("container {container} not present in metrics for pod {namespace}/{pod}"));
        }
        let values: Option<Vec<i64>> = ours.map(|it| it.usage.get(name).map(|text| milli(text))).collect();
        let Some(values) = values.filter(|values| !values.is_empty()) else { continue };
        let window = pod.window.as_deref().and_then(|text| text.parse().ok());
        let window = window.unwrap_or(SignedDuration::from_secs(60));
        readings.insert(pod.metadata.name, Reading { value: values.iter().sum(), at: pod.timestamp, window });
    }
    Ok(readings)
}

/// A custom metric by its path below the version; the newer version of the API is tried first.
async fn custom(link: &Link, path: &str) -> Result<Vec<Value>, String> {
    let newer: write::Result<Vec<Value>> =
        read(link, &format!("/apis/custom.metrics.k8s.io/v1beta2/{path}")).await;
    let found = match newer {
        Err(error) if write::is_not_found(&error) => {
            let older = read(link, &format!("/apis/custom.metrics.k8s.io/v1beta1/{path}")).await;
            older.map_err(|other| if write::is_not_found(&other) { error } else { other })
        }
        other => other,
    };
    found
        .map_err(|error| format!("unable to fetch metrics from custom metrics API: {}", write::words(&error)))
}

/// A metric that each pod of a selector has for itself.
pub(super) async fn of_pods(
    link: &Link,
    namespace: &str,
    selector: &str,
    metric: &MetricIdentifier,
) -> Result<Readings, String> {
    let more = query("&metricLabelSelector", metric);
    let name = &metric.name;
    let path = format!("namespaces/{namespace}/pods/*/{name}?labelSelector={}{more}", escaped(selector));
    let values = custom(link, &path).await?;
    if values.is_empty() {
        return Err("no metrics returned from custom metrics API".to_owned());
    }
    let reading = |value: Value| {
        let window = SignedDuration::from_secs(value.window_seconds.unwrap_or(60));
        let reading = Reading { value: milli(&value.value), at: value.timestamp, window };
        Some((value.described_object?.name, reading))
    };
    Ok(values.into_iter().filter_map(reading).collect())
}

/// A metric of one object, in thousandths.
pub(super) async fn of_object(
    link: &Link,
    namespace: &str,
    object: &CrossVersionObjectReference,
    metric: &MetricIdentifier,
) -> Result<i64, String> {
    let group = object.api_version.as_deref().and_then(|it| it.split_once('/')).map_or("", |(it, _)| it);
    let (name, place, more) = (&metric.name, escaped(&object.name), query("?metricLabelSelector", metric));
    let path = if group.is_empty() && object.kind == "Namespace" {
        format!("namespaces/{namespace}/metrics/{name}{more}")
    } else {
        format!("namespaces/{namespace}/{}/{place}/{name}{more}", plural(link, group, &object.kind).await)
    };
    let first = custom(link, &path).await?.into_iter().next();
    first
        .map(|value| milli(&value.value))
        .ok_or_else(|| "no metrics returned from custom metrics API".to_owned())
}

/// A metric of something outside: its values are added up.
pub(super) async fn external(link: &Link, namespace: &str, metric: &MetricIdentifier) -> Result<i64, String> {
    let more = query("?labelSelector", metric);
    let path = format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{}{more}", metric.name);
    let unable = |error: kube::Error| {
        format!("unable to fetch metrics from external metrics API: {}", write::words(&error))
    };
    let values: Vec<Value> = read(link, &path).await.map_err(unable)?;
    if values.is_empty() {
        return Err("no metrics returned from external metrics API".to_owned());
    }
    Ok(values.iter().map(|value| milli(&value.value)).sum())
}

/// The resource of a kind as the custom metrics API has it, `ingresses.networking.k8s.io`.
async fn plural(link: &Link, group: &str, kind: &str) -> String {
    let common =
        [("", "Service", "services"), ("", "Pod", "pods"), ("networking.k8s.io", "Ingress", "ingresses")];
    let common = common.into_iter().find(|(own, it, _)| *own == group && *it == kind);
    let plural = match common {
        Some((_, _, plural)) => plural.to_owned(),
        None => {
            let served = discovery::everything(link).await.unwrap_or_default();
            let found =
                served.preferred().find(|it| *it.resource.group == *group && *it.resource.kind == *kind);
            found.map_or_else(
                || format!("{}s", kind.to_lowercase()),
                |found| found.resource.plural.to_string(),
            )
        }
    };
    if group.is_empty() { plural } else { format!("{plural}.{group}") }
}

fn query(parameter: &str, metric: &MetricIdentifier) -> String {
    let selector = metric.selector.as_ref().and_then(|selector| LabelSelector::of(selector).ok());
    let text = selector.map(|selector| selector.to_string()).unwrap_or_default();
    if text.is_empty() { text } else { format!("{parameter}={}", escaped(&text)) }
}
