//! What an autoscaler measures: the usual, the checks, and how tables show them.

use k8s_openapi::api::autoscaling::v2::{
    MetricIdentifier, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus, ResourceMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use skiff_api::quantity::Quantity;
use skiff_api::{Errors, names};

use super::horizontal_pod_autoscaler::reference;
use crate::kinds::check;

/// What is measured if nothing is asked for: 80 % of the requested processor time.
pub(super) fn usual() -> MetricSpec {
    MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: "cpu".to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(80),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    }
}

fn is_positive(amount: &Text) -> bool {
    let zero = Quantity::parse("0").ok();
    Quantity::parse(&amount.0).ok().is_some_and(|amount| Some(amount) > zero)
}

fn target(errors: &mut Errors, target: &MetricTarget) {
    errors.at("target", |errors| {
        match target.type_.as_str() {
            "" => errors.required("type", "must specify a metric target type"),
            "Utilization" | "Value" | "AverageValue" => {}
            other => errors.invalid("type", other, "must be either Utilization, Value, or AverageValue"),
        }
        for (field, amount) in [("value", &target.value), ("averageValue", &target.average_value)] {
            if let Some(amount) = amount.as_ref().filter(|amount| !is_positive(amount)) {
                errors.invalid(field, &amount.0, "must be positive");
            }
        }
        if let Some(share) = target.average_utilization.filter(|share| *share < 1) {
            errors.invalid("averageUtilization", &share, check::POSITIVE);
        }
    });
}

fn identifier(errors: &mut Errors, metric: &MetricIdentifier) {
    match metric.name.as_str() {
        "" => errors.required("metric.name", "must specify a metric name"),
        name => check::named(errors, "metric.name", name, names::path_segment(name)),
    }
}

/// A measure of a resource, of the whole pod or of one container.
fn resource(errors: &mut Errors, name: &str, container: Option<&str>, wanted: &MetricTarget) {
    if name.is_empty() {
        errors.required("name", "must specify a resource name");
    }
    if container.is_some_and(str::is_empty) {
        errors.required("container", "must specify a container");
    }
    target(errors, wanted);
    match (wanted.average_utilization, &wanted.average_value) {
        (None, None) => errors.required(
            "target.averageUtilization",
            "must set either a target raw value or a target utilization",
        ),
        (Some(_), Some(_)) => errors
            .forbidden("target.averageValue", "may not set both a target raw value and a target utilization"),
        _ => {}
    }
}

/// The source that a spec fills in, checked.
fn source(errors: &mut Errors, field: &str, spec: &MetricSpec) {
    errors.at(field, |errors| {
        if let Some(object) = spec.object.as_ref().filter(|_| field == "object") {
            reference(errors, "describedObject", &object.described_object, true);
            identifier(errors, &object.metric);
            target(errors, &object.target);
            if object.target.value.is_none() && object.target.average_value.is_none() {
                errors.required("target.averageValue", "must set either a target value or averageValue");
            }
        } else if let Some(external) = spec.external.as_ref().filter(|_| field == "external") {
            identifier(errors, &external.metric);
            target(errors, &external.target);
            match (&external.target.value, &external.target.average_value) {
                (None, None) => errors.required(
                    "target.averageValue",
                    "must set either a target value for metric or a per-pod target",
                ),
                (Some(_), Some(_)) => errors.forbidden(
                    "target.value",
                    "may not set both a target value for metric and a per-pod target",
                ),
                _ => {}
            }
        } else if let Some(pods) = spec.pods.as_ref().filter(|_| field == "pods") {
            identifier(errors, &pods.metric);
            target(errors, &pods.target);
            if !pods.target.average_value.as_ref().is_some_and(is_positive) {
                errors.required("target.averageValue", "must specify a positive target averageValue");
            }
        } else if let Some(own) = spec.resource.as_ref().filter(|_| field == "resource") {
            resource(errors, &own.name, None, &own.target);
        } else if let Some(own) = &spec.container_resource {
            resource(errors, &own.name, Some(&own.container), &own.target);
        }
    });
}

/// Checks `spec.metrics`.
pub(super) fn validate(errors: &mut Errors, metrics: &[MetricSpec]) {
    const TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];
    for (index, spec) in metrics.iter().enumerate() {
        errors.item("metrics", index, |errors| {
            if spec.type_.is_empty() {
                errors.required("type", "must specify a metric source type");
            }
            check::one_of(errors, "type", &spec.type_, TYPES);
            let given: Vec<&str> = [
                ("object", spec.object.is_some()),
                ("external", spec.external.is_some()),
                ("pods", spec.pods.is_some()),
                ("resource", spec.resource.is_some()),
                ("containerResource", spec.container_resource.is_some()),
            ]
            .into_iter()
            .filter_map(|(field, given)| given.then_some(field))
            .collect();
            if let Some(first) = given.first() {
                source(errors, first, spec);
            }
            let expected = match spec.type_.as_str() {
                "ContainerResource" => "containerResource",
                "External" => "external",
                "Object" => "object",
                "Pods" => "pods",
                "Resource" => "resource",
                _ => "",
            };
            if !expected.is_empty() && !given.contains(&expected) {
                errors.required(expected, "must populate information for the given metric source");
            }
            for other in given.iter().filter(|field| given.len() > 1 && **field != expected) {
                errors.forbidden(other, "must populate the given metric source only");
            }
        });
    }
}

fn text(amount: Option<&Text>) -> String {
    amount.map_or_else(|| check::or_unknown(""), |amount| amount.0.clone())
}

/// The wanted and the measured value of one metric.
fn pair(spec: &MetricSpec, now: Option<&MetricStatus>) -> Option<String> {
    fn of_resource(name: &str, wanted: &MetricTarget, now: Option<&MetricValueStatus>) -> String {
        if let Some(value) = &wanted.average_value {
            return format!("{name}: {}/{}", text(now.and_then(|now| now.average_value.as_ref())), value.0);
        }
        let percent = |share: Option<i32>, none: &str| {
            share.map_or_else(|| none.to_owned(), |share| format!("{share}%"))
        };
        let current = percent(now.and_then(|now| now.average_utilization), "<unknown>");
        format!("{name}: {current}/{}", percent(wanted.average_utilization, "<auto>"))
    }
    fn of_other(wanted: &MetricTarget, now: Option<&MetricValueStatus>) -> String {
        match &wanted.average_value {
            Some(value) => {
                format!("{}/{} (avg)", text(now.and_then(|now| now.average_value.as_ref())), value.0)
            }
            None => {
                format!("{}/{}", text(now.and_then(|now| now.value.as_ref())), text(wanted.value.as_ref()))
            }
        }
    }
    Some(match spec.type_.as_str() {
        "External" => of_other(
            &spec.external.as_ref()?.target,
            now.and_then(|now| now.external.as_ref()).map(|now| &now.current),
        ),
        "Object" => of_other(
            &spec.object.as_ref()?.target,
            now.and_then(|now| now.object.as_ref()).map(|now| &now.current),
        ),
        "Pods" => {
            let now =
                now.and_then(|now| now.pods.as_ref()).and_then(|now| now.current.average_value.as_ref());
            format!("{}/{}", text(now), text(spec.pods.as_ref()?.target.average_value.as_ref()))
        }
        "Resource" => {
            let own = spec.resource.as_ref()?;
            of_resource(
                &own.name,
                &own.target,
                now.and_then(|now| now.resource.as_ref()).map(|now| &now.current),
            )
        }
        "ContainerResource" => {
            let own = spec.container_resource.as_ref()?;
            let now = now.and_then(|now| now.container_resource.as_ref()).map(|now| &now.current);
            of_resource(&own.name, &own.target, now)
        }
        _ => "<unknown type>".to_owned(),
    })
}

/// The column `Targets`: the first two metrics, measured and wanted.
pub(super) fn shown(specs: &[MetricSpec], now: &[MetricStatus]) -> String {
    const SHOWN: usize = 2;
    if specs.is_empty() {
        return check::or_none("");
    }
    let pairs: Vec<String> =
        specs.iter().enumerate().filter_map(|(index, spec)| pair(spec, now.get(index))).take(SHOWN).collect();
    let list = pairs.join(", ");
    let rest = specs.len().saturating_sub(SHOWN);
    if rest > 0 { format!("{list} + {rest} more...") } else { list }
}
