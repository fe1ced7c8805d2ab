//! DaemonSet: one pod on every node that suits.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus, DaemonSetUpdateStrategy};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_api::Errors;

use crate::kinds::core::pod;
use crate::kinds::{Column, Kind, Row, check, row, workload};

/// The row of DaemonSet.
pub(crate) const KIND: Row = Row { short: &["ds"], categories: &["all"], status: true, ..row::<DaemonSet>() };

fn status(set: &DaemonSet) -> DaemonSetStatus {
    set.status.clone().unwrap_or_default()
}

fn strategy(strategy: &DaemonSetUpdateStrategy, errors: &mut Errors) {
    match strategy.type_.as_deref().unwrap_or_default() {
        "OnDelete" => {}
        "RollingUpdate" => {
            let Some(rolling) = &strategy.rolling_update else { return errors.required("rollingUpdate", "") };
            errors.at("rollingUpdate", |errors| {
                let (Some(unavailable), Some(surge)) = (&rolling.max_unavailable, &rolling.max_surge) else {
                    return;
                };
                workload::int_or_percent(errors, "maxUnavailable", unavailable);
                workload::at_most_all(errors, "maxUnavailable", unavailable);
                workload::int_or_percent(errors, "maxSurge", surge);
                workload::at_most_all(errors, "maxSurge", surge);
                match (workload::is_zero(unavailable), workload::is_zero(surge)) {
                    (false, false) => errors.invalid(
                        "maxSurge",
                        &workload::shown(surge),
                        "may not be set when maxUnavailable is non-zero",
                    ),
                    (true, true) => errors.required("maxUnavailable", "cannot be 0 when maxSurge is 0"),
                    _ => {}
                }
            });
        }
        other => errors.not_supported("type", other, &["OnDelete", "RollingUpdate"]),
    }
}

impl Kind for DaemonSet {
    fn set_defaults(&mut self) {
        let spec = &mut self.spec;
        let strategy = spec.update_strategy.get_or_insert_default();
        check::default_text(&mut strategy.type_, "RollingUpdate");
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling.max_unavailable.get_or_insert(IntOrString::Int(1));
            rolling.max_surge.get_or_insert(IntOrString::Int(0));
        }
        spec.revision_history_limit.get_or_insert(10);
        pod::default_template(&mut spec.template);
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = Some(DaemonSetStatus::default());
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
        let spec = &self.spec;
        errors.at("spec", |errors| {
            workload::selector(errors, &spec.selector, "daemonset");
            workload::template(errors, &spec.template, &spec.selector);
            check::not_negative(errors, "minReadySeconds", spec.min_ready_seconds.unwrap_or(0));
            if let Some(given) = &spec.update_strategy {
                errors.at("updateStrategy", |errors| strategy(given, errors));
            }
            check::not_negative(errors, "revisionHistoryLimit", spec.revision_history_limit.unwrap_or(0));
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        errors.at("spec", |errors| errors.immutable("selector", &self.spec.selector, &old.spec.selector));
    }

    fn validate_status(&self, _old: &Self, errors: &mut Errors) {
        let status = status(self);
        errors.at("status", |errors| {
            for (field, count) in [
                ("currentNumberScheduled", Some(status.current_number_scheduled)),
                ("numberMisscheduled", Some(status.number_misscheduled)),
                ("desiredNumberScheduled", Some(status.desired_number_scheduled)),
                ("numberReady", Some(status.number_ready)),
                ("updatedNumberScheduled", status.updated_number_scheduled),
                ("numberAvailable", status.number_available),
                ("numberUnavailable", status.number_unavailable),
                ("collisionCount", status.collision_count),
            ] {
                check::not_negative(errors, field, count.unwrap_or(0));
            }
            check::not_negative(errors, "observedGeneration", status.observed_generation.unwrap_or(0));
        });
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        pod::template_warnings(&self.spec.template, "spec.template")
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            workload::count("Desired", |set: &Self, _| status(set).desired_number_scheduled.into()),
            workload::count("Current", |set: &Self, _| status(set).current_number_scheduled.into()),
            workload::count("Ready", |set: &Self, _| status(set).number_ready.into()),
            workload::count("Up-to-date", |set: &Self, _| {
                status(set).updated_number_scheduled.unwrap_or(0).into()
            }),
            workload::count("Available", |set: &Self, _| status(set).number_available.unwrap_or(0).into()),
            Column::<Self>::text("Node Selector", |set, _| {
                let pod = set.spec.template.spec.as_ref();
                check::shown_labels(pod.and_then(|pod| pod.node_selector.as_ref())).into()
            }),
            Column::age(),
            Column::<Self>::text("Containers", |it, _| workload::containers(Some(&it.spec.template))).wide(),
            Column::<Self>::text("Images", |it, _| workload::images(Some(&it.spec.template))).wide(),
            Column::<Self>::text("Selector", |it, _| workload::selects(Some(&it.spec.selector))).wide(),
        ]
    }
}
