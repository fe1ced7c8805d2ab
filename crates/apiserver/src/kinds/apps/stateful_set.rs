//! StatefulSet: pods with names and volumes that stay theirs.

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetStatus,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, PodTemplateSpec, Volume};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_api::{Errors, names};

use crate::kinds::core::{persistent_volume_claim, pod};
use crate::kinds::{Column, Kind, Row, check, row, workload};

/// The row of StatefulSet.
pub(crate) const KIND: Row = Row {
    short: &["sts"],
    categories: &["all"],
    status: true,
    scale: true,
    name_rule: names::dns1123_label,
    ..row::<StatefulSet>()
};

/// The template with the volumes that its pods get from claims, which containers mount by name.
fn with_claims(set: &StatefulSet) -> PodTemplateSpec {
    let mut template = set.spec.template.clone();
    let volumes = template.spec.get_or_insert_default().volumes.get_or_insert_default();
    for claim in set.spec.volume_claim_templates.iter().flatten() {
        let name = claim.metadata.name.clone().unwrap_or_default();
        if volumes.iter().all(|volume| volume.name != name) {
            let empty_dir = Some(EmptyDirVolumeSource::default());
            volumes.push(Volume { name, empty_dir, ..Volume::default() });
        }
    }
    template
}

fn status(set: &StatefulSet) -> StatefulSetStatus {
    set.status.clone().unwrap_or_default()
}

fn strategy(strategy: &StatefulSetUpdateStrategy, errors: &mut Errors) {
    let rolling = strategy.rolling_update.as_ref();
    match strategy.type_.as_deref().unwrap_or_default() {
        "" => errors.required("type", ""),
        "OnDelete" => {
            if rolling.is_some() {
                errors.invalid(
                    "rollingUpdate",
                    &skiff_api::decode::tree(&rolling).unwrap_or_default(),
                    "only allowed for updateStrategy 'RollingUpdate'",
                );
            }
        }
        "RollingUpdate" => {
            let Some(rolling) = rolling else { return };
            errors.at("rollingUpdate", |errors| {
                check::not_negative(errors, "partition", rolling.partition.unwrap_or(0));
                if let Some(unavailable) = &rolling.max_unavailable {
                    workload::int_or_percent(errors, "maxUnavailable", unavailable);
                    if workload::is_zero(unavailable) {
                        errors.invalid("maxUnavailable", &workload::shown(unavailable), "cannot be 0");
                    }
                    workload::at_most_all(errors, "maxUnavailable", unavailable);
                }
            });
        }
        other => errors.invalid("type", other, "must be 'RollingUpdate' or 'OnDelete'"),
    }
}

fn retention(policy: &StatefulSetPersistentVolumeClaimRetentionPolicy, errors: &mut Errors) {
    for (field, value) in [("whenDeleted", &policy.when_deleted), ("whenScaled", &policy.when_scaled)] {
        check::one_of(errors, field, value.as_deref().unwrap_or_default(), &["Delete", "Retain"]);
    }
}

impl Kind for StatefulSet {
    fn set_defaults(&mut self) {
        let spec = &mut self.spec;
        check::default_text(&mut spec.pod_management_policy, "OrderedReady");
        let strategy = spec.update_strategy.get_or_insert_default();
        if strategy.type_.as_deref().is_none_or(str::is_empty) {
            strategy.type_ = Some("RollingUpdate".to_owned());
        }
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling.partition.get_or_insert(0);
            rolling.max_unavailable.get_or_insert(IntOrString::Int(1));
        }
        let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
        check::default_text(&mut retention.when_deleted, "Retain");
        check::default_text(&mut retention.when_scaled, "Retain");
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(10);
        pod::default_template(&mut spec.template);
        for claim in spec.volume_claim_templates.iter_mut().flatten() {
            let wanted = claim.spec.get_or_insert_default();
            persistent_volume_claim::defaults(wanted);
            let status = claim.status.get_or_insert_default();
            check::default_text(&mut status.phase, "Pending");
        }
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = Some(StatefulSetStatus::default());
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
            let policy = spec.pod_management_policy.as_deref().unwrap_or_default();
            if !["OrderedReady", "Parallel"].contains(&policy) {
                errors.invalid("podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'");
            }
            if let Some(given) = &spec.update_strategy {
                errors.at("updateStrategy", |errors| strategy(given, errors));
            }
            if let Some(policy) = &spec.persistent_volume_claim_retention_policy {
                errors.at("persistentVolumeClaimRetentionPolicy", |errors| retention(policy, errors));
            }
            check::not_negative(errors, "replicas", spec.replicas.unwrap_or(0));
            check::not_negative(errors, "minReadySeconds", spec.min_ready_seconds.unwrap_or(0));
            if let Some(start) = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start) {
                check::not_negative(errors, "ordinals.start", start);
            }
            check::not_negative(errors, "revisionHistoryLimit", spec.revision_history_limit.unwrap_or(0));
            workload::selector(errors, &spec.selector, "statefulset");
            workload::template(errors, &with_claims(self), &spec.selector);
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let mut same = old.spec.clone();
        same.replicas = self.spec.replicas;
        same.ordinals.clone_from(&self.spec.ordinals);
        same.template.clone_from(&self.spec.template);
        same.update_strategy.clone_from(&self.spec.update_strategy);
        same.min_ready_seconds = self.spec.min_ready_seconds;
        same.revision_history_limit = self.spec.revision_history_limit;
        same.persistent_volume_claim_retention_policy
            .clone_from(&self.spec.persistent_volume_claim_retention_policy);
        if same != self.spec {
            let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
            errors.forbidden("spec", why);
        }
    }

    fn validate_status(&self, old: &Self, errors: &mut Errors) {
        let (new, old) = (status(self), status(old));
        errors.at("status", |errors| {
            check::not_negative(errors, "replicas", new.replicas);
            for (field, count) in [
                ("readyReplicas", new.ready_replicas),
                ("currentReplicas", new.current_replicas),
                ("updatedReplicas", new.updated_replicas),
            ] {
                let count = count.unwrap_or(0);
                check::not_negative(errors, field, count);
                if count > new.replicas {
                    errors.invalid(field, &count, "cannot be greater than status.replicas");
                }
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
            Column::<Self>::text("Ready", |set, _| {
                let ready = status(set).ready_replicas.unwrap_or(0);
                format!("{ready}/{}", set.spec.replicas.unwrap_or(0)).into()
            }),
            Column::age(),
            Column::<Self>::text("Containers", |it, _| workload::containers(Some(&it.spec.template))).wide(),
            Column::<Self>::text("Images", |it, _| workload::images(Some(&it.spec.template))).wide(),
        ]
    }
}
