//! What a metric of an autoscaler says now: asked of the metrics APIs, then reckoned by `replicas.rs`.
//!
//! Resource metrics come from `metrics.k8s.io`; those of pods, objects and the world outside from the custom and
//! external metrics APIs, for who has registered such.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, ExternalMetricStatus, MetricIdentifier, MetricSpec, MetricStatus,
    MetricTarget, MetricValueStatus, ObjectMetricStatus, PodsMetricStatus, ResourceMetricStatus,
};
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use skiff_api::LabelSelector;
use skiff_api::quantity::Quantity;
use skiff_client::write;

use super::Measured;
use super::replicas::{self, Reading, Readings, Target, replicas};
use crate::table::Ctx;

/// What a metric is measured for.
pub(super) struct Scene<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) namespace: &'a str,
    pub(super) selector: &'a str,
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) current: i32,
    /// Pods as the target's status has them.
    pub(super) ready: i32,
    /// How far below and above is near enough.
    pub(super) tolerance: (f64, f64),
}

/// A reason for a condition, and words.
type Failure = (&'static str, String);

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

/// A number of thousandths as a float; they are small enough.
#[expect(clippy::cast_precision_loss, reason = "ratios need no more than 52 bits")]
pub(super) fn float(number: i64) -> f64 {
    number as f64
}

fn milli(text: &str) -> i64 {
    Quantity::parse(text).map_or(0, Quantity::milli_value)
}

fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

async fn read<T: serde::de::DeserializeOwned>(ctx: &Ctx, path: &str) -> Result<Vec<T>, String> {
    let request = http::Request::get(path)
        .header(http::header::ACCEPT, "application/json")
        .body(Vec::new())
        .map_err(|error| error.to_string())?;
    let list: Result<List<T>, _> = ctx.link().client().request(request).await;
    list.map(|list| list.items).map_err(|error| write::words(&error))
}

/// What one metric calls for, and what the status shows of it.
pub(super) async fn one(scene: &Scene<'_>, metric: &MetricSpec) -> Result<(Measured, MetricStatus), Failure> {
    let empty = MetricStatus { type_: metric.type_.clone(), ..MetricStatus::default() };
    match metric.type_.as_str() {
        "Resource" => {
            let source = metric.resource.clone().unwrap_or_default();
            let (measured, current) = resource(scene, &source.name, None, &source.target).await?;
            let status = ResourceMetricStatus { name: source.name, current };
            Ok((measured, MetricStatus { resource: Some(status), ..empty }))
        }
        "ContainerResource" => {
            let source = metric.container_resource.clone().unwrap_or_default();
            let container = Some(source.container.as_str());
            let (measured, current) = resource(scene, &source.name, container, &source.target).await?;
            let status = ContainerResourceMetricStatus {
                name: source.name,
                container: source.container.clone(),
                current,
            };
            Ok((measured, MetricStatus { container_resource: Some(status), ..empty }))
        }
        "Pods" => {
            let source = metric.pods.clone().unwrap_or_default();
            let (measured, current) = of_pods(scene, &source.metric, &source.target)
                .await
                .map_err(|why| ("FailedGetPodsMetric", format!("failed to get pods metric value: {why}")))?;
            let status = PodsMetricStatus { metric: source.metric, current };
            Ok((measured, MetricStatus { pods: Some(status), ..empty }))
        }
        "Object" => {
            let source = metric.object.clone().unwrap_or_default();
            let object = &source.described_object;
            let group =
                object.api_version.as_deref().and_then(|it| it.split_once('/')).map_or("", |(it, _)| it);
            // The custom metrics API goes by resource, `ingresses.networking.k8s.io`.
            let plural = plural(&object.kind);
            let resource = if group.is_empty() { plural } else { format!("{plural}.{group}") };
            let (name, place) = (&source.metric.name, escaped(&object.name));
            let path = format!(
                "/apis/custom.metrics.k8s.io/v1beta2/namespaces/{}/{resource}/{place}/{name}{}",
                scene.namespace,
                query("metricLabelSelector", &source.metric)
            );
            let named = format!("{} metric {name}", object.kind);
            let (measured, current) = of_value(scene, &path, &source.target, named).await.map_err(|why| {
                ("FailedGetObjectMetric", format!("failed to get object metric value: {why}"))
            })?;
            let status = ObjectMetricStatus {
                metric: source.metric,
                described_object: source.described_object,
                current,
            };
            Ok((measured, MetricStatus { object: Some(status), ..empty }))
        }
        "External" => {
            let source = metric.external.clone().unwrap_or_default();
            let name = &source.metric.name;
            let path = format!(
                "/apis/external.metrics.k8s.io/v1beta1/namespaces/{}/{name}{}",
                scene.namespace,
                query("labelSelector", &source.metric)
            );
            let (measured, current) =
                of_value(scene, &path, &source.target, format!("external metric {name}")).await.map_err(
                    |why| ("FailedGetExternalMetric", format!("failed to get external metric: {why}")),
                )?;
            let status = ExternalMetricStatus { metric: source.metric, current };
            Ok((measured, MetricStatus { external: Some(status), ..empty }))
        }
        other => Err(("InvalidMetricSourceType", format!("unknown metric source type {other:?}"))),
    }
}

/// The usual plural of a kind.
fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    }
}

fn query(parameter: &str, metric: &MetricIdentifier) -> String {
    let selector = metric.selector.as_ref().and_then(|selector| LabelSelector::of(selector).ok());
    let text = selector.map(|selector| selector.to_string()).unwrap_or_default();
    if text.is_empty() { text } else { format!("?{parameter}={}", escaped(&text)) }
}

fn reckoned<'a>(scene: &'a Scene<'a>, requests: &'a BTreeMap<String, i64>, cpu: bool) -> replicas::Scene<'a> {
    replicas::Scene {
        pods: scene.pods,
        current: scene.current,
        requests,
        cpu,
        tolerance: scene.tolerance,
        now: scene.ctx.now(),
    }
}

fn shown(milli: i64) -> Option<k8s_openapi::apimachinery::pkg::api::resource::Quantity> {
    Some(Quantity::millis(milli).to_text())
}

async fn resource(
    scene: &Scene<'_>,
    name: &str,
    container: Option<&str>,
    target: &MetricTarget,
) -> Result<(Measured, MetricValueStatus), Failure> {
    let share = target.average_utilization;
    let failed = |why: String| match (container, share) {
        (Some(_), _) => {
            ("FailedGetContainerResourceMetric", format!("failed to get {name} container metric: {why}"))
        }
        (None, Some(_)) => ("FailedGetResourceMetric", format!("failed to get {name} utilization: {why}")),
        (None, None) => ("FailedGetResourceMetric", format!("failed to get {name} usage: {why}")),
    };
    let path = format!(
        "/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods?labelSelector={}",
        scene.namespace,
        escaped(scene.selector)
    );
    let unable = |why: String| failed(format!("unable to get metrics for resource {name}: {why}"));
    let pods: Vec<PodMetrics> = read(scene.ctx, &path).await.map_err(unable)?;
    if pods.is_empty() {
        return Err(unable("no metrics returned from resource metrics API".to_owned()));
    }
    let mut readings = Readings::new();
    for pod in pods {
        let ours = pod.containers.iter().filter(|it| container.is_none_or(|name| it.name == name));
        let values: Option<Vec<i64>> = ours.map(|it| it.usage.get(name).map(|text| milli(text))).collect();
        let Some(values) = values.filter(|values| !values.is_empty()) else { continue };
        let window = pod.window.as_deref().and_then(|text| text.parse().ok());
        let window = window.unwrap_or(SignedDuration::from_secs(60));
        readings.insert(pod.metadata.name, Reading { value: values.iter().sum(), at: pod.timestamp, window });
    }
    let mut requests = BTreeMap::new();
    let goal = match (share, &target.average_value) {
        (Some(percent), _) => {
            requests = requested(scene.pods, name, container).map_err(failed)?;
            Target::Utilization(i64::from(percent))
        }
        (None, Some(value)) => Target::Average(milli(&value.0)),
        (None, None) => {
            return Err(failed(
                "invalid metric target: neither a utilization target nor a value target was set".to_owned(),
            ));
        }
    };
    let answer = replicas(&reckoned(scene, &requests, name == "cpu"), readings, goal).map_err(failed)?;
    let kind = if container.is_some() { "container resource" } else { "resource" };
    let named = match share {
        Some(_) => format!("{name} {kind} utilization (percentage of request)"),
        None => format!("{name} {kind}"),
    };
    let current = MetricValueStatus {
        average_utilization: answer.utilization,
        average_value: shown(answer.average),
        value: None,
    };
    Ok((Measured { replicas: answer.replicas, name: named }, current))
}

/// What each pod asks for, in thousandths.
fn requested(
    pods: &[Arc<Pod>],
    resource: &str,
    container: Option<&str>,
) -> Result<BTreeMap<String, i64>, String> {
    let mut all = BTreeMap::new();
    for pod in pods {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let Some(spec) = &pod.spec else { continue };
        let sidecars = spec.init_containers.iter().flatten().filter(|it| skiff_api::pod::is_sidecar(it));
        let mut sum = 0;
        for it in
            spec.containers.iter().chain(sidecars).filter(|it| container.is_none_or(|name| it.name == name))
        {
            let requests = it.resources.as_ref().and_then(|resources| resources.requests.as_ref());
            let Some(amount) = requests.and_then(|requests| requests.get(resource)) else {
                return Err(format!("missing request for {resource} in container {} of Pod {name}", it.name));
            };
            sum += milli(&amount.0);
        }
        all.insert(name, sum);
    }
    Ok(all)
}

/// A metric that each pod has for itself.
async fn of_pods(
    scene: &Scene<'_>,
    metric: &MetricIdentifier,
    target: &MetricTarget,
) -> Result<(Measured, MetricValueStatus), String> {
    let more = query("metricLabelSelector", metric).replacen('?', "&", 1);
    let path = format!(
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/{}/pods/*/{}?labelSelector={}{more}",
        scene.namespace,
        metric.name,
        escaped(scene.selector)
    );
    let values: Vec<Value> = read(scene.ctx, &path).await?;
    let reading = |value: Value| {
        let window = SignedDuration::from_secs(value.window_seconds.unwrap_or(60));
        let reading = Reading { value: milli(&value.value), at: value.timestamp, window };
        Some((value.described_object?.name, reading))
    };
    let readings = values.into_iter().filter_map(reading).collect();
    let goal = Target::Average(target.average_value.as_ref().map_or(0, |value| milli(&value.0)));
    let none = BTreeMap::new();
    let answer = replicas(&reckoned(scene, &none, false), readings, goal)?;
    let current = MetricValueStatus { average_value: shown(answer.average), ..MetricValueStatus::default() };
    Ok((Measured { replicas: answer.replicas, name: format!("pods metric {}", metric.name) }, current))
}

/// A metric of one object, or of something outside: its values are added up.
async fn of_value(
    scene: &Scene<'_>,
    path: &str,
    target: &MetricTarget,
    name: String,
) -> Result<(Measured, MetricValueStatus), String> {
    let values: Vec<Value> = read(scene.ctx, path).await?;
    if values.is_empty() {
        return Err("no metrics returned".to_owned());
    }
    let sum: i64 = values.iter().map(|value| milli(&value.value)).sum();
    let near = |ratio: f64| (1.0 - scene.tolerance.0..=1.0 + scene.tolerance.1).contains(&ratio);
    if let Some(wanted) = &target.average_value {
        let wanted = float(milli(&wanted.0)).max(1.0);
        let pods = scene.ready.max(1);
        let ratio = float(sum) / (wanted * f64::from(pods));
        let replicas = if near(ratio) { scene.current } else { replicas::times(float(sum) / wanted, 1) };
        let average = sum / i64::from(pods);
        let current = MetricValueStatus { average_value: shown(average), ..MetricValueStatus::default() };
        return Ok((Measured { replicas, name }, current));
    }
    let wanted = target.value.as_ref().map_or(0, |value| milli(&value.0));
    let ratio = float(sum) / float(wanted.max(1));
    let count = scene.pods.iter().filter(|pod| skiff_api::pod::is_ready(pod)).count();
    let replicas = if near(ratio) { scene.current } else { replicas::times(ratio, count.max(1)) };
    let current = MetricValueStatus { value: shown(sum), ..MetricValueStatus::default() };
    Ok((Measured { replicas, name }, current))
}
