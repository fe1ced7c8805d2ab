//! ReplicationController: keeps a number of equal pods.

use k8s_openapi::api::core::v1::{
    ReplicationController, ReplicationControllerSpec, ReplicationControllerStatus,
};
use skiff_api::Errors;
use skiff_api::selector::LabelSelector;

use super::pod;
use crate::kinds::{Column, Dependents, Kind, Row, check, row};

/// The row of ReplicationController.
pub(crate) const KIND: Row = Row {
    short: &["rc"],
    categories: &["all"],
    status: true,
    scale: true,
    dependents: Dependents::Stay,
    ..row::<ReplicationController>()
};

fn status(rc: &ReplicationController) -> ReplicationControllerStatus {
    rc.status.clone().unwrap_or_default()
}

/// The template's containers: their names, or what else is asked for.
fn containers(
    rc: &ReplicationController,
    pick: fn(&k8s_openapi::api::core::v1::Container) -> String,
) -> String {
    let template = rc.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let spec = template.and_then(|template| template.spec.as_ref());
    spec.map(|spec| spec.containers.iter().map(pick).collect::<Vec<_>>().join(",")).unwrap_or_default()
}

fn validate_spec(spec: &ReplicationControllerSpec, errors: &mut Errors) {
    check::not_negative(errors, "minReadySeconds", spec.min_ready_seconds.unwrap_or(0));
    let selector = spec.selector.clone().unwrap_or_default();
    if selector.is_empty() {
        errors.required("selector", "");
    }
    check::not_negative(errors, "replicas", spec.replicas.unwrap_or(0));
    let Some(template) = &spec.template else {
        errors.required("template", "");
        return;
    };
    errors.at("template", |errors| {
        let labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
        if !selector.is_empty() && !LabelSelector::of_map(&selector).matches(&labels) {
            let shown = serde_json::to_value(&labels).unwrap_or_default();
            errors.invalid("metadata.labels", &shown, "`selector` does not match template `labels`");
        }
        pod::validate_template(template, errors);
        if let Some(pod) = &template.spec {
            if let Some(policy) = pod.restart_policy.as_deref().filter(|policy| *policy != "Always") {
                errors.not_supported("spec.restartPolicy", policy, &["Always"]);
            }
            if pod.active_deadline_seconds.is_some() {
                let why = "activeDeadlineSeconds in ReplicationController is not Supported";
                errors.forbidden("spec.activeDeadlineSeconds", why);
            }
        }
    });
}

impl Kind for ReplicationController {
    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_with(ReplicationControllerSpec::default);
        if let Some(template) = &mut spec.template {
            pod::default_template(template);
            let labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone());
            if let Some(labels) = labels.filter(|labels| !labels.is_empty()) {
                if spec.selector.as_ref().is_none_or(|selector| selector.is_empty()) {
                    spec.selector = Some(labels.clone());
                }
                if self.metadata.labels.as_ref().is_none_or(|labels| labels.is_empty()) {
                    self.metadata.labels = Some(labels);
                }
            }
        }
        spec.replicas.get_or_insert(1);
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = Some(ReplicationControllerStatus::default());
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
        let spec = self.spec.clone().unwrap_or_default();
        errors.at("spec", |errors| validate_spec(&spec, errors));
    }

    fn validate_status(&self, _old: &Self, errors: &mut Errors) {
        const TOO_MANY: &str = "cannot be greater than status.replicas";
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
                    errors.invalid(field, &count, TOO_MANY);
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
        let template = self.spec.as_ref().and_then(|spec| spec.template.as_ref());
        template.map(|template| pod::template_warnings(template, "spec.template")).unwrap_or_default()
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::number("Desired", |rc, _| {
                rc.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0).into()
            }),
            Column::<Self>::number("Current", |rc, _| status(rc).replicas.into()),
            Column::<Self>::number("Ready", |rc, _| status(rc).ready_replicas.unwrap_or(0).into()),
            Column::age(),
            Column::<Self>::text("Containers", |rc, _| {
                containers(rc, |container| container.name.clone()).into()
            })
            .wide(),
            Column::<Self>::text("Images", |rc, _| {
                containers(rc, |container| container.image.clone().unwrap_or_default()).into()
            })
            .wide(),
            Column::<Self>::text("Selector", |rc, _| {
                check::shown_labels(rc.spec.as_ref().and_then(|spec| spec.selector.as_ref())).into()
            })
            .wide(),
        ]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![("status.replicas", status(self).replicas.to_string())]
    }
}
