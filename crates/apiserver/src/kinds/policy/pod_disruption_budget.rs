//! PodDisruptionBudget: how many of some pods may be sent away at once.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_api::Errors;

use crate::kinds::{Column, Kind, Row, check, row, workload};

/// The row of PodDisruptionBudget.
pub(crate) const KIND: Row = Row { short: &["pdb"], status: true, ..row::<PodDisruptionBudget>() };

fn amount(value: Option<&IntOrString>) -> serde_json::Value {
    match value {
        Some(IntOrString::Int(count)) => count.to_string().into(),
        Some(IntOrString::String(text)) => text.as_str().into(),
        None => "N/A".into(),
    }
}

impl Kind for PodDisruptionBudget {
    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = Some(PodDisruptionBudgetStatus::default());
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
        let Some(spec) = &self.spec else { return };
        errors.at("spec", |errors| {
            if spec.min_available.is_some() && spec.max_unavailable.is_some() {
                let shown = skiff_api::decode::tree(spec).unwrap_or_default();
                errors.invalid("", &shown, "minAvailable and maxUnavailable cannot be both set");
            }
            for (field, value) in
                [("minAvailable", &spec.min_available), ("maxUnavailable", &spec.max_unavailable)]
            {
                if let Some(value) = value {
                    workload::int_or_percent(errors, field, value);
                    workload::at_most_all(errors, field, value);
                }
            }
            if let Some(selector) = &spec.selector {
                check::label_selector(errors, "selector", selector);
            }
            if let Some(policy) = check::given(spec.unhealthy_pod_eviction_policy.as_ref()) {
                check::one_of(
                    errors,
                    "unhealthyPodEvictionPolicy",
                    policy,
                    &["AlwaysAllow", "IfHealthyBudget"],
                );
            }
        });
    }

    fn validate_status(&self, _old: &Self, errors: &mut Errors) {
        let status = self.status.clone().unwrap_or_default();
        errors.at("status", |errors| {
            for (field, count) in [
                ("disruptionsAllowed", status.disruptions_allowed),
                ("currentHealthy", status.current_healthy),
                ("desiredHealthy", status.desired_healthy),
                ("expectedPods", status.expected_pods),
            ] {
                check::not_negative(errors, field, count.unwrap_or(0));
            }
        });
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Min Available", |budget, _| {
                amount(budget.spec.as_ref().and_then(|spec| spec.min_available.as_ref()))
            }),
            Column::<Self>::text("Max Unavailable", |budget, _| {
                amount(budget.spec.as_ref().and_then(|spec| spec.max_unavailable.as_ref()))
            }),
            workload::count("Allowed Disruptions", |budget: &Self, _| {
                budget.status.as_ref().and_then(|status| status.disruptions_allowed).unwrap_or(0).into()
            }),
            Column::age(),
        ]
    }
}
