//! PodGroup: pods that are scheduled together, all of them or none (KEP-4671).
//!
//! What upstream's further gates bring (groups of groups, topology, shared claims, a policy of their own for preemption)
//! is dropped, as upstream does where they are off.

use k8s_openapi::api::scheduling::v1beta1::{DisruptionMode, PodGroup, SingleDisruptionMode};
use skiff_api::Errors;

use super::group;
use crate::kinds::{Kind, Row, row};

/// The row of PodGroup.
pub(crate) const KIND: Row = Row { status: true, ..row::<PodGroup>() };

impl Kind for PodGroup {
    fn set_defaults(&mut self) {
        let single = || SingleDisruptionMode(serde_json::json!({}));
        self.spec
            .disruption_mode
            .get_or_insert_with(|| DisruptionMode { single: Some(single()), ..DisruptionMode::default() });
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = Some(Default::default());
        let spec = &mut self.spec;
        spec.parent_composite_pod_group_name = None;
        spec.scheduling_constraints = None;
        spec.resource_claims = None;
        spec.preemption_policy = None;
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
        let spec = &mut self.spec;
        spec.parent_composite_pod_group_name.clone_from(&old.spec.parent_composite_pod_group_name);
        spec.scheduling_constraints.clone_from(&old.spec.scheduling_constraints);
        spec.resource_claims.clone_from(&old.spec.resource_claims);
        spec.preemption_policy.clone_from(&old.spec.preemption_policy);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
        if let Some(status) = &mut self.status {
            status.resource_claim_statuses = None;
        }
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.spec != old.spec
    }

    fn validate(&self, errors: &mut Errors) {
        errors.at("spec", |errors| {
            if let Some(workload) = &self.spec.workload_ref {
                errors.at("workloadRef", |errors| {
                    group::subdomain(errors, "workloadName", &workload.workload_name);
                    group::label(errors, "templateName", &workload.template_name);
                });
            }
            group::policy(errors, &self.spec.scheduling_policy);
            let spec = &self.spec;
            let class = spec.priority_class_name.as_ref();
            group::standing(errors, spec.disruption_mode.as_ref(), class, spec.priority);
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let (new, old) = (&self.spec, &old.spec);
        errors.at("spec", |errors| {
            errors.immutable("workloadRef", &new.workload_ref, &old.workload_ref);
            group::policy_stays(errors, &new.scheduling_policy, &old.scheduling_policy);
            errors.immutable("disruptionMode", &new.disruption_mode, &old.disruption_mode);
            errors.immutable("priorityClassName", &new.priority_class_name, &old.priority_class_name);
            errors.immutable("priority", &new.priority, &old.priority);
        });
    }
}
