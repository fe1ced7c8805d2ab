//! Between v1 and v2 of HorizontalPodAutoscaler, as upstream's `pkg/apis/autoscaling/v1/conversion.go`.
//!
//! What v1 cannot say goes into four annotations. Metrics stand there in the shape of v1's own (unserved) types, and
//! behaviour in that of upstream's internal ones, with capital field names: other servers and tools read them.

use k8s_openapi::api::autoscaling::{v1, v2};
use serde_json::{Map, Value, json};
use skiff_api::decode::Legible;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

fn tree(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

fn typed<T: Legible>(value: Value) -> Option<T> {
    skiff_api::decode::from_tree(&value).ok()
}

/// The names of a metric's values: in v2 below `target` or `current`, in v1 beside the metric's name.
struct Names {
    /// `target` or `current`.
    v2: &'static str,
    utilization: &'static str,
    average: &'static str,
    value: &'static str,
}

const WANTED: Names = Names {
    v2: "target",
    utilization: "targetAverageUtilization",
    average: "targetAverageValue",
    value: "targetValue",
};
const MEASURED: Names = Names {
    v2: "current",
    utilization: "currentAverageUtilization",
    average: "currentAverageValue",
    value: "currentValue",
};

fn take(from: &mut Value, key: &str) -> Option<Value> {
    from.as_object_mut()?.remove(key).filter(|value| !value.is_null())
}

fn put(to: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        to.insert(key.to_owned(), value);
    }
}

/// A v2 metric in v1's shape.
fn old_metric(mut metric: Value, names: &Names) -> Value {
    for source in ["object", "pods", "external", "resource", "containerResource"] {
        let Some(mut from) = take(&mut metric, source) else { continue };
        let mut to = Map::new();
        let mut values = take(&mut from, names.v2).unwrap_or_default();
        let mut identity = take(&mut from, "metric").unwrap_or_default();
        let selector = if source == "external" { "metricSelector" } else { "selector" };
        put(&mut to, "metricName", take(&mut identity, "name"));
        put(&mut to, selector, take(&mut identity, "selector"));
        put(&mut to, "target", take(&mut from, "describedObject"));
        // An object's average has no `target` before it, for both directions.
        let average = if source == "object" { "averageValue" } else { names.average };
        put(&mut to, average, take(&mut values, "averageValue"));
        put(&mut to, names.utilization, take(&mut values, "averageUtilization"));
        let value = take(&mut values, "value");
        // v1's object metrics always have a value.
        let value = if source == "object" { value.or_else(|| Some("0".into())) } else { value };
        put(&mut to, names.value, value);
        put(&mut to, "name", take(&mut from, "name"));
        put(&mut to, "container", take(&mut from, "container"));
        metric[source] = to.into();
    }
    metric
}

/// A v1 metric in v2's shape.
fn new_metric(mut metric: Value, names: &Names) -> Value {
    for source in ["object", "pods", "external", "resource", "containerResource"] {
        let Some(mut from) = take(&mut metric, source) else { continue };
        let (mut to, mut values, mut identity) = (Map::new(), Map::new(), Map::new());
        put(&mut identity, "name", take(&mut from, "metricName"));
        put(
            &mut identity,
            "selector",
            take(&mut from, "selector").or_else(|| take(&mut from, "metricSelector")),
        );
        put(&mut to, "describedObject", take(&mut from, "target"));
        let utilization = take(&mut from, names.utilization);
        let average = take(&mut from, "averageValue").or_else(|| take(&mut from, names.average));
        let value = take(&mut from, names.value).filter(|value| average.is_none() || value != "0");
        let kind = match (&utilization, &average) {
            (Some(_), _) => "Utilization",
            (None, Some(_)) => "AverageValue",
            (None, None) => "Value",
        };
        put(&mut values, "averageUtilization", utilization);
        put(&mut values, "averageValue", average);
        put(&mut values, "value", value);
        if names.v2 == "target" {
            values.insert("type".to_owned(), kind.into());
        }
        put(&mut to, "name", take(&mut from, "name"));
        put(&mut to, "container", take(&mut from, "container"));
        if !identity.is_empty() {
            to.insert("metric".to_owned(), identity.into());
        }
        to.insert(names.v2.to_owned(), values.into());
        metric[source] = to.into();
    }
    metric
}

/// Field names with their first letter in the other case, at every depth.
fn recased(value: Value, case: fn(char) -> char) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| {
                let mut letters = key.chars();
                let first = letters.next().map(case);
                (first.into_iter().chain(letters).collect::<String>(), recased(value, case))
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(list) => list.into_iter().map(|value| recased(value, case)).collect(),
        other => other,
    }
}

/// Behaviour as upstream's internal type is printed: every field, absent ones as null.
fn internal(behavior: &v2::HorizontalPodAutoscalerBehavior) -> Value {
    let rules = |rules: &Option<v2::HPAScalingRules>| {
        rules.as_ref().map(|rules| {
            json!({
                "StabilizationWindowSeconds": rules.stabilization_window_seconds,
                "SelectPolicy": rules.select_policy,
                "Policies": rules.policies.as_ref().map(|list| recased(tree(list), |c| c.to_ascii_uppercase())),
                "Tolerance": rules.tolerance.as_ref().map(|amount| amount.0.clone()),
            })
        })
    };
    json!({ "ScaleUp": rules(&behavior.scale_up), "ScaleDown": rules(&behavior.scale_down) })
}

fn is_cpu_share(metric: &v2::MetricSpec) -> bool {
    metric.type_ == "Resource"
        && metric
            .resource
            .as_ref()
            .is_some_and(|own| own.name == "cpu" && own.target.average_utilization.is_some())
}

/// The v1 form of a stored object.
pub(super) fn to_v1(new: v2::HorizontalPodAutoscaler) -> v1::HorizontalPodAutoscaler {
    let v2::HorizontalPodAutoscaler { mut metadata, spec, status } = new;
    let metrics = spec.metrics.unwrap_or_default();
    let status = status.unwrap_or_default();
    let current = status.current_metrics.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let first =
        metrics.iter().find(|metric| is_cpu_share(metric)).and_then(|metric| metric.resource.as_ref());
    let share = first.and_then(|cpu| cpu.target.average_utilization);
    let measured = current
        .iter()
        .filter(|metric| metric.type_ == "Resource")
        .filter_map(|metric| metric.resource.as_ref().filter(|own| own.name == "cpu"))
        .find_map(|cpu| cpu.current.average_utilization);
    let annotations = metadata.annotations.get_or_insert_default();
    for key in [METRICS, CURRENT, CONDITIONS, BEHAVIOR] {
        annotations.remove(key);
    }
    let mut keep = |key: &str, value: Value| annotations.insert(key.to_owned(), value.to_string());
    let others: Vec<Value> =
        metrics.iter().filter(|m| !is_cpu_share(m)).map(|m| old_metric(tree(m), &WANTED)).collect();
    if !others.is_empty() {
        keep(METRICS, others.into());
    }
    if !current.is_empty() {
        keep(CURRENT, current.iter().map(|metric| old_metric(tree(metric), &MEASURED)).collect());
    }
    if !conditions.is_empty() {
        keep(CONDITIONS, tree(&conditions));
    }
    if let Some(behavior) = &spec.behavior {
        keep(BEHAVIOR, internal(behavior));
    }
    metadata.annotations.take_if(|map| map.is_empty());
    let v2::CrossVersionObjectReference { api_version, kind, name } = spec.scale_target_ref;
    v1::HorizontalPodAutoscaler {
        metadata,
        spec: v1::HorizontalPodAutoscalerSpec {
            max_replicas: spec.max_replicas,
            min_replicas: spec.min_replicas,
            scale_target_ref: v1::CrossVersionObjectReference { api_version, kind, name },
            target_cpu_utilization_percentage: share,
        },
        status: Some(v1::HorizontalPodAutoscalerStatus {
            current_cpu_utilization_percentage: measured,
            current_replicas: status.current_replicas.unwrap_or(0),
            desired_replicas: status.desired_replicas,
            last_scale_time: status.last_scale_time,
            observed_generation: status.observed_generation,
        }),
    }
}

/// The form to store of a v1 object.
pub(super) fn to_v2(old: v1::HorizontalPodAutoscaler) -> v2::HorizontalPodAutoscaler {
    let v1::HorizontalPodAutoscaler { mut metadata, spec, status } = old;
    let status = status.unwrap_or_default();
    let mut kept = |key: &str| -> Option<Value> {
        serde_json::from_str(&metadata.annotations.as_mut()?.remove(key)?).ok()
    };
    let list = |value: Option<Value>| match value {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    let mut metrics = Vec::new();
    if let Some(share) = spec.target_cpu_utilization_percentage {
        let mut metric = super::metrics::usual();
        if let Some(cpu) = &mut metric.resource {
            cpu.target.average_utilization = Some(share);
        }
        metrics.push(metric);
    }
    metrics.extend(list(kept(METRICS)).into_iter().filter_map(|metric| typed(new_metric(metric, &WANTED))));
    if metrics.is_empty() {
        metrics.push(super::metrics::usual());
    }
    let mut current: Vec<v2::MetricStatus> =
        list(kept(CURRENT)).into_iter().filter_map(|metric| typed(new_metric(metric, &MEASURED))).collect();
    if let Some(share) = status.current_cpu_utilization_percentage.filter(|_| current.is_empty()) {
        current.push(v2::MetricStatus {
            type_: "Resource".to_owned(),
            resource: Some(v2::ResourceMetricStatus {
                name: "cpu".to_owned(),
                current: v2::MetricValueStatus {
                    average_utilization: Some(share),
                    ..v2::MetricValueStatus::default()
                },
            }),
            ..v2::MetricStatus::default()
        });
    }
    let conditions: Vec<_> = list(kept(CONDITIONS)).into_iter().filter_map(typed).collect();
    let behavior = kept(BEHAVIOR).and_then(|value| typed(recased(value, |c| c.to_ascii_lowercase())));
    metadata.annotations.take_if(|map| map.is_empty());
    let v1::CrossVersionObjectReference { api_version, kind, name } = spec.scale_target_ref;
    let some = |empty: bool| (!empty).then_some(());
    v2::HorizontalPodAutoscaler {
        metadata,
        spec: v2::HorizontalPodAutoscalerSpec {
            behavior,
            max_replicas: spec.max_replicas,
            metrics: Some(metrics),
            min_replicas: spec.min_replicas,
            scale_target_ref: v2::CrossVersionObjectReference { api_version, kind, name },
        },
        status: Some(v2::HorizontalPodAutoscalerStatus {
            conditions: some(conditions.is_empty()).map(|()| conditions),
            current_metrics: some(current.is_empty()).map(|()| current),
            current_replicas: Some(status.current_replicas),
            desired_replicas: status.desired_replicas,
            last_scale_time: status.last_scale_time,
            observed_generation: status.observed_generation,
        }),
    }
}
