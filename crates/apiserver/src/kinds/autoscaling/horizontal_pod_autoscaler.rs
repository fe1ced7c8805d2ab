//! HorizontalPodAutoscaler: how many pods a workload has, by what they are measured to do. The stored version, v2.
//!
//! Follows upstream's `pkg/apis/autoscaling/validation` and `v2/defaults.go`.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
};
use skiff_api::Errors;
use skiff_api::quantity::Quantity;

use super::metrics;
use crate::kinds::{Column, Kind, Row, check, row};

/// The row of HorizontalPodAutoscaler.
pub(crate) const KIND: Row =
    Row { short: &["hpa"], categories: &["all"], status: true, ..row::<HorizontalPodAutoscaler>() };

const MAX_WINDOW: i32 = 3600;
const MAX_PERIOD: i32 = 1800;

/// What else is referred to; `core` if the core group may be meant.
pub(super) fn reference(
    errors: &mut Errors,
    field: &str,
    reference: &CrossVersionObjectReference,
    core: bool,
) {
    errors.at(field, |errors| {
        check::required_segment(errors, "kind", &reference.kind);
        check::required_segment(errors, "name", &reference.name);
        let version = reference.api_version.as_deref().unwrap_or_default();
        let why = match version.matches('/').count() {
            0 if core => return,
            0 => "apiVersion must specify API group".to_owned(),
            1 => return,
            _ => format!("unexpected GroupVersion string: {version}"),
        };
        errors.invalid("apiVersion", version, why);
    });
}

fn rules(errors: &mut Errors, field: &str, rules: Option<&HPAScalingRules>) {
    let Some(rules) = rules else { return };
    errors.at(field, |errors| {
        if let Some(window) = rules.stabilization_window_seconds {
            let field = "stabilizationWindowSeconds";
            if window < 0 {
                errors.invalid(field, &window, "must be greater than or equal to zero");
            }
            if window > MAX_WINDOW {
                errors.invalid(field, &window, format!("must be less than or equal to {MAX_WINDOW}"));
            }
        }
        if let Some(select) = &rules.select_policy {
            check::one_of(errors, "selectPolicy", select, &["Disabled", "Max", "Min"]);
        }
        let policies = rules.policies.as_deref().unwrap_or_default();
        if policies.is_empty() {
            errors.required("policies", "must specify at least one Policy");
        }
        for (index, policy) in policies.iter().enumerate() {
            errors.item("policies", index, |errors| {
                check::one_of(errors, "type", &policy.type_, &["Percent", "Pods"]);
                if policy.value <= 0 {
                    errors.invalid("value", &policy.value, "must be greater than zero");
                }
                if policy.period_seconds <= 0 {
                    errors.invalid("periodSeconds", &policy.period_seconds, "must be greater than zero");
                }
                if policy.period_seconds > MAX_PERIOD {
                    let why = format!("must be less than or equal to {MAX_PERIOD}");
                    errors.invalid("periodSeconds", &policy.period_seconds, why);
                }
            });
        }
        if let Some(tolerance) = &rules.tolerance
            && Quantity::parse(&tolerance.0).is_ok_and(|amount| amount.is_negative())
        {
            errors.invalid("tolerance", &tolerance.0, check::NOT_NEGATIVE);
        }
    });
}

fn policy(kind: &str, value: i32) -> HPAScalingPolicy {
    HPAScalingPolicy { type_: kind.to_owned(), value, period_seconds: 15 }
}

/// Fills in one direction; nothing in it means all of the defaults.
fn complete(rules: &mut Option<HPAScalingRules>, window: Option<i32>, policies: Vec<HPAScalingPolicy>) {
    let rules = rules.get_or_insert_default();
    rules.select_policy.get_or_insert_with(|| "Max".to_owned());
    rules.policies.get_or_insert(policies);
    rules.stabilization_window_seconds = rules.stabilization_window_seconds.or(window);
}

pub(super) fn set_defaults(spec: &mut HorizontalPodAutoscalerSpec) {
    spec.min_replicas.get_or_insert(1);
    if spec.metrics.as_ref().is_none_or(Vec::is_empty) {
        spec.metrics = Some(vec![metrics::usual()]);
    }
    if let Some(behavior) = &mut spec.behavior {
        complete(&mut behavior.scale_up, Some(0), vec![policy("Pods", 4), policy("Percent", 100)]);
        complete(&mut behavior.scale_down, None, vec![policy("Percent", 100)]);
    }
}

pub(super) fn validate_spec(spec: &HorizontalPodAutoscalerSpec, errors: &mut Errors) {
    if let Some(least) = spec.min_replicas.filter(|least| *least < 1) {
        errors.invalid("minReplicas", &least, "must be greater than or equal to 1");
    }
    if spec.max_replicas < 1 {
        errors.invalid("maxReplicas", &spec.max_replicas, check::POSITIVE);
    }
    if spec.min_replicas.is_some_and(|least| spec.max_replicas < least) {
        let why = "must be greater than or equal to `minReplicas`";
        errors.invalid("maxReplicas", &spec.max_replicas, why);
    }
    let target = &spec.scale_target_ref;
    reference(errors, "scaleTargetRef", target, target.kind == "ReplicationController");
    metrics::validate(errors, spec.metrics.as_deref().unwrap_or_default());
    if let Some(behavior) = &spec.behavior {
        errors.at("behavior", |errors| {
            rules(errors, "scaleUp", behavior.scale_up.as_ref());
            rules(errors, "scaleDown", behavior.scale_down.as_ref());
        });
    }
}

pub(super) fn columns_of(autoscaler: &HorizontalPodAutoscaler, column: usize) -> serde_json::Value {
    let (spec, status) = (&autoscaler.spec, autoscaler.status.as_ref());
    match column {
        0 => format!("{}/{}", spec.scale_target_ref.kind, spec.scale_target_ref.name).into(),
        1 => {
            let now = status.and_then(|status| status.current_metrics.as_deref()).unwrap_or_default();
            metrics::shown(spec.metrics.as_deref().unwrap_or_default(), now).into()
        }
        2 => spec.min_replicas.map_or_else(|| "<unset>".to_owned(), |least| least.to_string()).into(),
        3 => spec.max_replicas.into(),
        _ => status.and_then(|status| status.current_replicas).unwrap_or(0).into(),
    }
}

impl Kind for HorizontalPodAutoscaler {
    fn set_defaults(&mut self) {
        set_defaults(&mut self.spec);
        self.status.get_or_insert_default();
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = Some(Default::default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.spec != old.spec
    }

    fn validate(&self, errors: &mut Errors) {
        errors.at("spec", |errors| validate_spec(&self.spec, errors));
    }

    fn validate_status(&self, _old: &Self, errors: &mut Errors) {
        let status = self.status.clone().unwrap_or_default();
        check::not_negative(errors, "status.currentReplicas", status.current_replicas.unwrap_or(0));
        check::not_negative(errors, "status.desiredReplicas", status.desired_replicas);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Reference", |it, _| columns_of(it, 0)),
            Column::<Self>::text("Targets", |it, _| columns_of(it, 1)),
            Column::<Self>::text("MinPods", |it, _| columns_of(it, 2)),
            Column::<Self>::text("MaxPods", |it, _| columns_of(it, 3)),
            Column::<Self>::text("Replicas", |it, _| columns_of(it, 4)),
            Column::age(),
        ]
    }
}
