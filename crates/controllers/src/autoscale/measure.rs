//! What a metric of an autoscaler calls for: read by `sources.rs`, reckoned by `replicas.rs`, told in upstream's words.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, ExternalMetricStatus, MetricIdentifier, MetricSpec, MetricStatus,
    MetricTarget, MetricValueStatus, ObjectMetricStatus, PodsMetricStatus, ResourceMetricStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use skiff_api::pod;
use skiff_api::quantity::Quantity;
use skiff_client::Link;

use super::Measured;
use super::replicas::{self, Target, replicas};
use super::sources::{self, milli};

/// What a metric is measured for.
pub(super) struct Scene<'a> {
    pub(super) link: &'a Link,
    pub(super) now: Timestamp,
    pub(super) namespace: &'a str,
    pub(super) selector: &'a str,
    pub(super) pods: &'a [Arc<Pod>],
    /// Pods as the target's scale wants them.
    pub(super) current: i32,
    /// Pods as the target's status has them.
    pub(super) there: i32,
    /// How far below and above is near enough.
    pub(super) tolerance: (f64, f64),
}

/// Why a metric says nothing.
#[derive(Debug)]
pub(super) struct Failure {
    /// Of the event and the condition.
    pub(super) reason: &'static str,
    /// Words of the event and the condition.
    pub(super) why: String,
    /// Words for the summary of all metrics.
    pub(super) told: String,
}

/// A number of thousandths as a float; they are small enough.
#[expect(clippy::cast_precision_loss, reason = "ratios need no more than 52 bits")]
pub(super) fn float(number: i64) -> f64 {
    number as f64
}

type Found = Result<(Measured, MetricValueStatus), String>;

/// What one metric calls for, and what the status shows of it.
pub(super) async fn one(scene: &Scene<'_>, metric: &MetricSpec) -> Result<(Measured, MetricStatus), Failure> {
    let empty = MetricStatus { type_: metric.type_.clone(), ..MetricStatus::default() };
    let failed = |reason: &'static str, head: String| {
        move |why: String| Failure { reason, told: format!("failed to get {head} metric value: {why}"), why }
    };
    match metric.type_.as_str() {
        "Resource" => {
            let source = metric.resource.clone().unwrap_or_default();
            let failed = failed("FailedGetResourceMetric", format!("{} resource", source.name));
            let (measured, current) =
                resource(scene, &source.name, None, &source.target).await.map_err(failed)?;
            let status = ResourceMetricStatus { name: source.name, current };
            Ok((measured, MetricStatus { resource: Some(status), ..empty }))
        }
        "ContainerResource" => {
            let source = metric.container_resource.clone().unwrap_or_default();
            let container = Some(source.container.as_str());
            let failed =
                failed("FailedGetContainerResourceMetric", format!("{} container", source.container));
            let (measured, current) =
                resource(scene, &source.name, container, &source.target).await.map_err(failed)?;
            let (name, container) = (source.name, source.container);
            let status = ContainerResourceMetricStatus { name, container, current };
            Ok((measured, MetricStatus { container_resource: Some(status), ..empty }))
        }
        "Pods" => {
            let source = metric.pods.clone().unwrap_or_default();
            let failed = failed("FailedGetPodsMetric", "pods".to_owned());
            let (measured, current) = of_pods(scene, &source.metric, &source.target).await.map_err(failed)?;
            let status = PodsMetricStatus { metric: source.metric, current };
            Ok((measured, MetricStatus { pods: Some(status), ..empty }))
        }
        "Object" => {
            let source = metric.object.clone().unwrap_or_default();
            let (object, name) = (&source.described_object, &source.metric.name);
            let failed = failed("FailedGetObjectMetric", "object".to_owned());
            let value = sources::of_object(scene.link, scene.namespace, object, &source.metric).await;
            let value = value.map_err(|why| {
                let (kind, namespace) = (&object.kind, scene.namespace);
                let unable =
                    format!("unable to get metric {name}: {kind} on {namespace} {}/{why}", object.name);
                let each = format!("failed to get {name} object metric: {unable}");
                per_pod(&source.target, each, unable)
            });
            let whole = format!("{} metric {name}", object.kind);
            let (measured, current) = value
                .and_then(|value| of_value(scene, value, &source.target, whole, &source.metric))
                .map_err(failed)?;
            let (metric, described_object) = (source.metric, source.described_object);
            let status = ObjectMetricStatus { metric, described_object, current };
            Ok((measured, MetricStatus { object: Some(status), ..empty }))
        }
        "External" => {
            let source = metric.external.clone().unwrap_or_default();
            let name = &source.metric.name;
            let failed = failed("FailedGetExternalMetric", format!("{name} external"));
            let value = sources::external(scene.link, scene.namespace, &source.metric).await;
            let value = value.map_err(|why| {
                let selector = shown_selector(source.metric.selector.as_ref());
                let unable =
                    format!("unable to get external metric {}/{name}/{selector}: {why}", scene.namespace);
                let whole = format!("failed to get external metric {name}: {unable}");
                let each = format!("failed to get {name} external metric: {unable}");
                per_pod(&source.target, each, whole)
            });
            let whole = named(&source.metric);
            let (measured, current) = value
                .and_then(|value| of_value(scene, value, &source.target, whole, &source.metric))
                .map_err(failed)?;
            let status = ExternalMetricStatus { metric: source.metric, current };
            Ok((measured, MetricStatus { external: Some(status), ..empty }))
        }
        other => {
            let why = format!("unknown metric source type {other:?}");
            Err(Failure { reason: "InvalidMetricSourceType", told: why.clone(), why })
        }
    }
}

/// One of two texts: where so much per pod is wanted, or else.
fn per_pod(target: &MetricTarget, each: String, whole: String) -> String {
    if target.average_value.is_some() { each } else { whole }
}

/// A selector as Go's `%+v` shows it.
fn shown_selector(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else { return "nil".to_owned() };
    let pairs = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}: {value},"));
    let labels: String = pairs.collect();
    let parts = selector.match_expressions.iter().flatten().map(|it| {
        let values = it.values.as_deref().unwrap_or_default().join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", it.key, it.operator)
    });
    let parts: String = parts.collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{parts}}},}}"
    )
}

fn named(metric: &MetricIdentifier) -> String {
    format!("external metric {}({})", metric.name, shown_selector(metric.selector.as_ref()))
}

fn reckoned<'a>(scene: &'a Scene<'a>, requests: &'a BTreeMap<String, i64>, cpu: bool) -> replicas::Scene<'a> {
    replicas::Scene {
        pods: scene.pods,
        current: scene.current,
        requests,
        cpu,
        tolerance: scene.tolerance,
        now: scene.now,
    }
}

fn shown(milli: i64) -> Option<k8s_openapi::apimachinery::pkg::api::resource::Quantity> {
    Some(Quantity::millis(milli).to_text())
}

async fn resource(scene: &Scene<'_>, name: &str, container: Option<&str>, target: &MetricTarget) -> Found {
    let share = target.average_utilization.filter(|_| target.average_value.is_none());
    let failed = |why: String| match share {
        Some(_) => format!("failed to get {name} utilization: {why}"),
        None => format!("failed to get {name} usage: {why}"),
    };
    let goal = match (share, &target.average_value) {
        (Some(percent), _) => Target::Utilization(i64::from(percent)),
        (None, Some(value)) => Target::Average(milli(&value.0)),
        (None, None) => {
            let why = "invalid resource metric source: neither an average utilization target nor an average value \
                       (usage) target was set";
            return Err(why.to_owned());
        }
    };
    let unable = |why: String| failed(format!("unable to get metrics for resource {name}: {why}"));
    let readings = sources::resource(scene.link, scene.namespace, scene.selector, (name, container));
    let readings = readings.await.map_err(unable)?;
    let requests = match goal {
        Target::Utilization(_) => requested(scene.pods, name, container).map_err(failed)?,
        Target::Average(_) => BTreeMap::new(),
    };
    let answer = replicas(&reckoned(scene, &requests, name == "cpu"), readings, goal).map_err(failed)?;
    let named = match (share, container) {
        (Some(_), None) => format!("{name} resource utilization (percentage of request)"),
        (Some(_), Some(_)) => format!("{name} container resource utilization (percentage of request)"),
        (None, _) => format!("{name} resource"),
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
        let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get(resource));
        if let Some(amount) = whole.filter(|_| container.is_none()) {
            all.insert(name, milli(&amount.0));
            continue;
        }
        let sidecars = spec.init_containers.iter().flatten().filter(|it| pod::is_sidecar(it));
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
async fn of_pods(scene: &Scene<'_>, metric: &MetricIdentifier, target: &MetricTarget) -> Found {
    let readings = sources::of_pods(scene.link, scene.namespace, scene.selector, metric).await;
    let readings = readings.map_err(|why| format!("unable to get metric {}: {why}", metric.name))?;
    let goal = Target::Average(target.average_value.as_ref().map_or(0, |value| milli(&value.0)));
    let none = BTreeMap::new();
    let answer = replicas(&reckoned(scene, &none, false), readings, goal)?;
    let current = MetricValueStatus { average_value: shown(answer.average), ..MetricValueStatus::default() };
    Ok((Measured { replicas: answer.replicas, name: format!("pods metric {}", metric.name) }, current))
}

/// A value that belongs to no pod: so much in all is wanted, or so much for each pod.
fn of_value(
    scene: &Scene<'_>,
    value: i64,
    target: &MetricTarget,
    name: String,
    metric: &MetricIdentifier,
) -> Found {
    let near = |ratio: f64| (1.0 - scene.tolerance.0..=1.0 + scene.tolerance.1).contains(&ratio);
    if let Some(wanted) = &target.average_value {
        let wanted = float(milli(&wanted.0)).max(1.0);
        let ratio = float(value) / (wanted * f64::from(scene.there));
        let replicas = if near(ratio) { scene.there } else { replicas::times(float(value) / wanted, 1) };
        let each = i64::from(scene.there.max(1));
        let average = shown((value + each - 1).div_euclid(each));
        let current = MetricValueStatus { average_value: average, ..MetricValueStatus::default() };
        return Ok((Measured { replicas, name: named(metric) }, current));
    }
    let wanted = target.value.as_ref().map_or(0, |value| milli(&value.0));
    let ratio = float(value) / float(wanted.max(1));
    let replicas = if scene.current == 0 {
        replicas::times(ratio, 1)
    } else if near(ratio) {
        scene.current
    } else if scene.pods.is_empty() {
        let why =
            "unable to calculate ready pods: no pods returned by selector while calculating replica count";
        return Err(why.to_owned());
    } else {
        let ready = |pod: &&Arc<Pod>| pod::phase(pod) == "Running" && pod::is_ready(pod);
        replicas::times(ratio, scene.pods.iter().filter(ready).count())
    };
    let current = MetricValueStatus { value: shown(value), ..MetricValueStatus::default() };
    Ok((Measured { replicas, name }, current))
}

#[cfg(test)]
mod tests;
