//! ReplicaSet: keeps a number of equal pods, chosen by a set-based selector.

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use skiff_api::Errors;

use crate::kinds::core::pod;
use crate::kinds::{Column, Kind, Row, check, row, workload};

/// The row of ReplicaSet.
pub(crate) const KIND: Row =
    Row { short: &["rs"], categories: &["all"], status: true, scale: true, ..row::<ReplicaSet>() };

fn status(set: &ReplicaSet) -> ReplicaSetStatus {
    set.status.clone().unwrap_or_default()
}

impl Kind for ReplicaSet {
    fn set_defaults(&mut self) {
        self.spec.replicas.get_or_insert(1);
        if let Some(template) = &mut self.spec.template {
            pod::default_template(template);
        }
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = Some(ReplicaSetStatus::default());
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
            check::not_negative(errors, "replicas", spec.replicas.unwrap_or(0));
            check::not_negative(errors, "minReadySeconds", spec.min_ready_seconds.unwrap_or(0));
            workload::selector(errors, &spec.selector, "replicaset");
            match &spec.template {
                Some(template) => workload::template(errors, template, &spec.selector),
                None => errors.required("template", ""),
            }
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        errors.at("spec", |errors| errors.immutable("selector", &self.spec.selector, &old.spec.selector));
    }

    fn validate_status(&self, _old: &Self, errors: &mut Errors) {
        let status = status(self);
        errors.at("status", |errors| {
            check::not_negative(errors, "replicas", status.replicas);
            for (field, count) in [
                ("fullyLabeledReplicas", status.fully_labeled_replicas),
                ("readyReplicas", status.ready_replicas),
                ("availableReplicas", status.available_replicas),
            ] {
                let count = count.unwrap_or(0);
                check::not_negative(errors, field, count);
                if count > status.replicas {
                    errors.invalid(field, &count, "cannot be greater than status.replicas");
                }
            }
            check::not_negative(errors, "observedGeneration", status.observed_generation.unwrap_or(0));
            if status.available_replicas > status.ready_replicas {
                let count = status.available_replicas.unwrap_or(0);
                errors.invalid("availableReplicas", &count, "cannot be greater than readyReplicas");
            }
        });
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let template = self.spec.template.as_ref();
        template.map(|template| pod::template_warnings(template, "spec.template")).unwrap_or_default()
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            workload::count("Desired", |set: &Self, _| set.spec.replicas.unwrap_or(0).into()),
            workload::count("Current", |set: &Self, _| status(set).replicas.into()),
            workload::count("Ready", |set: &Self, _| status(set).ready_replicas.unwrap_or(0).into()),
            Column::age(),
            Column::<Self>::text("Containers", |it, _| workload::containers(it.spec.template.as_ref()))
                .wide(),
            Column::<Self>::text("Images", |it, _| workload::images(it.spec.template.as_ref())).wide(),
            Column::<Self>::text("Selector", |it, _| workload::selects(Some(&it.spec.selector))).wide(),
        ]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![("status.replicas", status(self).replicas.to_string())]
    }
}
