//! Pod: containers that live and die together on one node. The giant; split by question.
//!
//! [`defaults`] fills in, the other modules find faults. Names are checked by the registry, whose 2014 door knows other
//! rules: nothing here looks at `metadata.name`.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{
    NodeSelector, Pod, PodCondition, PodSpec, PodStatus, PodTemplateSpec, ResourceRequirements, Toleration,
};
use skiff_api::errors::Fault;
use skiff_api::pod::facts::PodFacts;
use skiff_api::{Errors, Object, names};

use crate::kinds::{Kind, Row, Table, check, row};

mod affinity;
mod claims;
mod columns;
mod containers;
mod defaults;
mod env;
mod glimpse;
mod probes;
pub(crate) mod resources;
mod security;
mod spec;
mod spread;
mod update;
mod volume_devices;
mod volumes;
mod warnings;

/// The row of Pod.
pub(crate) const KIND: Row = Row {
    short: &["po"],
    categories: &["all"],
    status: true,
    graceful: true,
    answer_deleted: true,
    ..row::<Pod>()
};

/// Fills in a template's pod, as upstream does for every kind that has one.
pub(crate) fn default_template(template: &mut PodTemplateSpec) {
    if let Some(spec) = &mut template.spec {
        defaults::spec(spec);
    }
}

/// Finds what is wrong with a choice of nodes.
pub(crate) fn validate_node_selector(selector: &NodeSelector, errors: &mut Errors) {
    affinity::node_selector(selector, errors);
}

/// Finds what is wrong with a template.
pub(crate) fn validate_template(template: &PodTemplateSpec, errors: &mut Errors) {
    if let Some(meta) = &template.metadata {
        errors.at("metadata", |errors| {
            check::labels(errors, "labels", meta.labels.as_ref().unwrap_or(&Default::default()));
            check::annotations(
                errors,
                "annotations",
                meta.annotations.as_ref().unwrap_or(&Default::default()),
            );
        });
    }
    let empty = PodSpec::default();
    let spec = template.spec.as_ref().unwrap_or(&empty);
    errors.at("spec", |errors| {
        spec::validate(spec, errors);
        if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
            errors.forbidden("ephemeralContainers", "ephemeral containers not allowed in pod template");
        }
    });
}

/// Checks what a runtime class adds to its pods.
pub(crate) fn validate_overhead(resources: &ResourceRequirements, errors: &mut Errors) {
    resources::validate(resources, errors);
}

/// Checks tolerations, wherever they stand.
pub(crate) fn validate_tolerations(tolerations: &[Toleration], errors: &mut Errors) {
    affinity::tolerations(tolerations, errors);
}

/// Warnings about a template at `path`.
pub(crate) fn template_warnings(template: &PodTemplateSpec, path: &str) -> Vec<String> {
    template.spec.as_ref().map(|spec| warnings::of(spec, &format!("{path}.spec"))).unwrap_or_default()
}

fn spec_of(pod: &Pod) -> Cow<'_, PodSpec> {
    pod.spec.as_ref().map_or_else(Cow::default, Cow::Borrowed)
}

fn is_gated(spec: &PodSpec) -> bool {
    spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty())
}

impl Kind for Pod {
    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_with(PodSpec::default);
        defaults::spec(spec);
        defaults::pod(spec);
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        let spec = self.spec.get_or_insert_with(PodSpec::default);
        let gated = is_gated(spec).then(|| {
            vec![PodCondition {
                type_: "PodScheduled".to_owned(),
                status: "False".to_owned(),
                reason: Some("SchedulingGated".to_owned()),
                message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
                observed_generation: self.metadata.generation,
                ..PodCondition::default()
            }]
        });
        let class = skiff_api::pod::qos::of(spec).as_str().to_owned();
        self.status = Some(PodStatus {
            phase: Some("Pending".to_owned()),
            qos_class: Some(class),
            conditions: gated,
            ..PodStatus::default()
        });
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
        // What admission computed from the class on create stays through a PUT that does not name it.
        if let (Some(spec), Some(old)) = (&mut self.spec, &old.spec) {
            spec.priority = spec.priority.or(old.priority);
            if spec.preemption_policy.is_none() {
                spec.preemption_policy.clone_from(&old.preemption_policy);
            }
        }
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
        let status = self.status.get_or_insert_with(PodStatus::default);
        if check::given(status.qos_class.as_ref()).is_none() {
            status.qos_class = old.status.as_ref().and_then(|status| status.qos_class.clone());
        }
    }

    fn generation_changed(&self, old: &Self) -> bool {
        // Binding to a node is the scheduler's doing, not a change of what is wanted.
        let (new, old) = (spec_of(self), spec_of(old));
        *new != *old && *new != PodSpec { node_name: new.node_name.clone(), ..old.into_owned() }
    }

    fn validate(&self, errors: &mut Errors) {
        let spec = spec_of(self);
        errors.at("spec", |errors| {
            spec::validate(&spec, errors);
            if check::given(spec.service_account_name.as_ref()).is_none() {
                volumes::no_tokens(&spec, errors);
            }
            let containers = spec.containers.iter().map(|c| ("containers", c));
            let init = spec.init_containers.iter().flatten().map(|c| ("initContainers", c));
            let (mut last, mut index) = ("", 0);
            for (field, container) in containers.chain(init) {
                index = if field == last { index + 1 } else { 0 };
                last = field;
                let image = container.image.as_deref().unwrap_or_default();
                if image.trim() != image {
                    let why = "must not have leading or trailing whitespace";
                    errors.invalid(&format!("{field}[{index}].image"), image, why);
                }
            }
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        update::validate(&spec_of(self), &spec_of(old), errors);
    }

    fn validate_status(&self, old: &Self, errors: &mut Errors) {
        let class = |pod: &Self| pod.status.as_ref().and_then(|status| status.qos_class.clone());
        if class(old).is_some() && class(self) != class(old) {
            let shown = class(self).unwrap_or_default();
            errors.push(Fault::Invalid, "status.qosClass", format!("{shown:?}"), "field is immutable");
        }
        let status = self.status.clone().unwrap_or_default();
        for (index, ip) in status.pod_ips.iter().flatten().enumerate() {
            check::ip(errors, &format!("status.podIPs[{index}]"), &ip.ip);
        }
        if let Some(node) = check::given(status.nominated_node_name.as_ref()) {
            check::named(errors, "status.nominatedNodeName", node, names::dns1123_subdomain(node));
        }
        claims::validate_status(&status, &spec_of(self), errors);
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let now = self.spec.as_ref().map(|spec| warnings::of(spec, "spec")).unwrap_or_default();
        let before =
            old.and_then(|old| old.spec.as_ref()).map(|spec| warnings::of(spec, "spec")).unwrap_or_default();
        now.into_iter().filter(|warning| !before.contains(warning)).collect()
    }

    fn grace(&self, requested: Option<i64>) -> Option<i64> {
        let spec = self.spec.as_ref();
        let unscheduled = spec.and_then(|spec| check::given(spec.node_name.as_ref())).is_none();
        if unscheduled || skiff_api::pod::is_finished(self) {
            return Some(0);
        }
        let own = spec.and_then(|spec| spec.termination_grace_period_seconds);
        match requested.or(own).unwrap_or(30) {
            negative if negative < 0 => Some(1),
            seconds => Some(seconds),
        }
    }

    fn table() -> Table {
        columns::all()
    }

    /// Every node selects its pods.
    fn known_field<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
        (name == "spec.nodeName").then(|| object.facts::<PodFacts>().node.as_deref().unwrap_or_default())
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let spec = self.spec.as_ref();
        let text = |pick: fn(&PodSpec) -> &Option<String>| {
            spec.and_then(|spec| pick(spec).clone()).unwrap_or_default()
        };
        let status = self.status.as_ref();
        let state = |pick: fn(&PodStatus) -> &Option<String>| {
            status.and_then(|status| pick(status).clone()).unwrap_or_default()
        };
        let host_network = spec.and_then(|spec| spec.host_network) == Some(true);
        vec![
            ("spec.nodeName", text(|spec| &spec.node_name)),
            ("spec.restartPolicy", text(|spec| &spec.restart_policy)),
            ("spec.schedulerName", text(|spec| &spec.scheduler_name)),
            ("spec.serviceAccountName", text(|spec| &spec.service_account_name)),
            ("spec.hostNetwork", host_network.to_string()),
            ("status.phase", state(|status| &status.phase)),
            ("status.podIP", state(|status| &status.pod_ip)),
            ("status.nominatedNodeName", state(|status| &status.nominated_node_name)),
        ]
    }
}

#[cfg(test)]
mod tests;
