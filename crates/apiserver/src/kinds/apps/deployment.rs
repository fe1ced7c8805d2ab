//! Deployment: a rolling succession of replica sets.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_api::Errors;

use crate::kinds::core::pod;
use crate::kinds::{Column, Kind, Row, check, row, workload};

/// The row of Deployment.
pub(crate) const KIND: Row =
    Row { short: &["deploy"], categories: &["all"], status: true, scale: true, ..row::<Deployment>() };

fn status(deployment: &Deployment) -> DeploymentStatus {
    deployment.status.clone().unwrap_or_default()
}

fn strategy(strategy: &DeploymentStrategy, errors: &mut Errors) {
    let rolling = strategy.rolling_update.as_ref();
    match strategy.type_.as_deref().unwrap_or_default() {
        "Recreate" if rolling.is_some() => {
            errors.forbidden("rollingUpdate", "may not be specified when strategy `type` is 'Recreate'");
        }
        "Recreate" => {}
        "RollingUpdate" => match rolling {
            None => errors.required("rollingUpdate", "this should be defaulted and never be nil"),
            Some(rolling) => errors.at("rollingUpdate", |errors| limits(rolling, errors)),
        },
        other => errors.not_supported("type", other, &["Recreate", "RollingUpdate"]),
    }
}

fn limits(rolling: &RollingUpdateDeployment, errors: &mut Errors) {
    let (Some(unavailable), Some(surge)) = (&rolling.max_unavailable, &rolling.max_surge) else { return };
    workload::int_or_percent(errors, "maxUnavailable", unavailable);
    workload::int_or_percent(errors, "maxSurge", surge);
    if workload::is_zero(unavailable) && workload::is_zero(surge) {
        errors.invalid("maxUnavailable", &workload::shown(unavailable), "may not be 0 when `maxSurge` is 0");
    }
    workload::at_most_all(errors, "maxUnavailable", unavailable);
}

impl Kind for Deployment {
    fn set_defaults(&mut self) {
        let spec = &mut self.spec;
        spec.replicas.get_or_insert(1);
        let strategy = spec.strategy.get_or_insert_default();
        check::default_text(&mut strategy.type_, "RollingUpdate");
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            let rolling = strategy.rolling_update.get_or_insert_default();
            let quarter = || IntOrString::String("25%".to_owned());
            rolling.max_unavailable.get_or_insert_with(quarter);
            rolling.max_surge.get_or_insert_with(quarter);
        }
        spec.revision_history_limit.get_or_insert(10);
        spec.progress_deadline_seconds.get_or_insert(600);
        pod::default_template(&mut spec.template);
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = Some(DeploymentStatus::default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.spec != old.spec || self.metadata.annotations != old.metadata.annotations
    }

    fn validate(&self, errors: &mut Errors) {
        let spec = &self.spec;
        errors.at("spec", |errors| {
            check::not_negative(errors, "replicas", spec.replicas.unwrap_or(0));
            workload::selector(errors, &spec.selector, "deployment");
            workload::template(errors, &spec.template, &spec.selector);
            if let Some(given) = &spec.strategy {
                errors.at("strategy", |errors| strategy(given, errors));
            }
            let ready = spec.min_ready_seconds.unwrap_or(0);
            check::not_negative(errors, "minReadySeconds", ready);
            check::not_negative(errors, "revisionHistoryLimit", spec.revision_history_limit.unwrap_or(0));
            if let Some(deadline) = spec.progress_deadline_seconds {
                check::not_negative(errors, "progressDeadlineSeconds", deadline);
                if deadline <= ready {
                    errors.invalid(
                        "progressDeadlineSeconds",
                        &deadline,
                        "must be greater than minReadySeconds",
                    );
                }
            }
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        errors.at("spec", |errors| errors.immutable("selector", &self.spec.selector, &old.spec.selector));
    }

    fn validate_status(&self, old: &Self, errors: &mut Errors) {
        let (new, old) = (status(self), status(old));
        let replicas = new.replicas.unwrap_or(0);
        errors.at("status", |errors| {
            check::not_negative(errors, "observedGeneration", new.observed_generation.unwrap_or(0));
            for (field, count) in [
                ("replicas", new.replicas),
                ("updatedReplicas", new.updated_replicas),
                ("readyReplicas", new.ready_replicas),
                ("availableReplicas", new.available_replicas),
                ("unavailableReplicas", new.unavailable_replicas),
                ("collisionCount", new.collision_count),
            ] {
                check::not_negative(errors, field, count.unwrap_or(0));
            }
            for (field, count) in [
                ("updatedReplicas", new.updated_replicas),
                ("readyReplicas", new.ready_replicas),
                ("availableReplicas", new.available_replicas),
            ] {
                let count = count.unwrap_or(0);
                if count > replicas {
                    errors.invalid(field, &count, "cannot be greater than status.replicas");
                }
            }
            if new.available_replicas > new.ready_replicas {
                let count = new.available_replicas.unwrap_or(0);
                errors.invalid("availableReplicas", &count, "cannot be greater than readyReplicas");
            }
            if new.collision_count < old.collision_count {
                let count = new.collision_count.unwrap_or(0);
                errors.invalid("collisionCount", &count, "cannot be decremented");
            }
        });
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        pod::template_warnings(&self.spec.template, "spec.template")
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Ready", |deployment, _| {
                let ready = status(deployment).ready_replicas.unwrap_or(0);
                format!("{ready}/{}", deployment.spec.replicas.unwrap_or(0)).into()
            }),
            workload::count("Up-to-date", |deployment: &Self, _| {
                status(deployment).updated_replicas.unwrap_or(0).into()
            }),
            workload::count("Available", |deployment: &Self, _| {
                status(deployment).available_replicas.unwrap_or(0).into()
            }),
            Column::age(),
            Column::<Self>::text("Containers", |it, _| workload::containers(Some(&it.spec.template))).wide(),
            Column::<Self>::text("Images", |it, _| workload::images(Some(&it.spec.template))).wide(),
            Column::<Self>::text("Selector", |it, _| workload::selects(Some(&it.spec.selector))).wide(),
        ]
    }
}
