//! Workload: what pod groups a workload is made of, as templates (KEP-4671). Whoever runs the workload makes the groups.
//!
//! Groups of groups are not there, as upstream where its gate is off: what belongs to them is dropped.

use std::collections::HashSet;

use k8s_openapi::api::scheduling::v1beta1::{PodGroupTemplate, Workload};
use skiff_api::{Errors, names};

use super::group;
use crate::kinds::{Kind, Row, check, row};

/// The row of Workload.
pub(crate) const KIND: Row = Row { ..row::<Workload>() };

/// How many templates there may be.
const MOST: usize = 8;

fn templates(workload: &Workload) -> &[PodGroupTemplate] {
    workload.spec.pod_group_templates.as_deref().unwrap_or_default()
}

/// Takes what only further gates of upstream's bring.
fn drop_gated(workload: &mut Workload) {
    workload.spec.composite_pod_group_templates = None;
    for template in workload.spec.pod_group_templates.iter_mut().flatten() {
        template.scheduling_constraints = None;
        template.resource_claims = None;
        template.preemption_policy = None;
    }
}

/// A template is what it was, but for how many pods a gang needs.
fn template_stays(errors: &mut Errors, new: &PodGroupTemplate, old: &PodGroupTemplate) {
    group::policy_stays(errors, &new.scheduling_policy, &old.scheduling_policy);
    errors.immutable("disruptionMode", &new.disruption_mode, &old.disruption_mode);
    errors.immutable("priorityClassName", &new.priority_class_name, &old.priority_class_name);
    errors.immutable("priority", &new.priority, &old.priority);
}

impl Kind for Workload {
    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        drop_gated(self);
    }

    fn prepare_update(&mut self, _: &Self) {
        drop_gated(self);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.spec != old.spec
    }

    fn validate(&self, errors: &mut Errors) {
        errors.at("spec", |errors| {
            if let Some(owner) = &self.spec.controller_ref {
                errors.at("controllerRef", |errors| {
                    if let Some(group) = check::given(owner.api_group.as_ref()) {
                        check::named(errors, "apiGroup", group, names::dns1123_subdomain(group));
                    }
                    check::required_segment(errors, "kind", &owner.kind);
                    check::required_segment(errors, "name", &owner.name);
                });
            }
            match templates(self).len() {
                0 => errors.required("podGroupTemplates", "must have at least one item"),
                count if count > MOST => errors.too_many("podGroupTemplates", count, MOST),
                _ => {}
            }
            let mut seen = HashSet::new();
            for (index, template) in templates(self).iter().enumerate() {
                errors.item("podGroupTemplates", index, |errors| {
                    group::label(errors, "name", &template.name);
                    if !seen.insert(&template.name) {
                        errors.duplicate("name", &template.name);
                    }
                    group::policy(errors, &template.scheduling_policy);
                    let class = template.priority_class_name.as_ref();
                    group::standing(errors, template.disruption_mode.as_ref(), class, template.priority);
                });
            }
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let named = |workload: &Self, name: &str| {
            templates(workload).iter().find(|template| template.name == name).cloned()
        };
        errors.at("spec", |errors| {
            // Whose workload it is may be said later, once.
            if old.spec.controller_ref.is_some() {
                errors.immutable("controllerRef", &self.spec.controller_ref, &old.spec.controller_ref);
            }
            for (index, template) in templates(self).iter().enumerate() {
                errors.item("podGroupTemplates", index, |errors| match named(old, &template.name) {
                    Some(before) => template_stays(errors, template, &before),
                    None => errors.forbidden("", "cannot add new items"),
                });
            }
            if templates(old).iter().any(|before| named(self, &before.name).is_none()) {
                errors.forbidden("podGroupTemplates", "cannot remove existing items");
            }
        });
    }
}
