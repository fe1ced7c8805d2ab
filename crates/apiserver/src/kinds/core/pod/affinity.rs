//! Where a pod wants to run: affinity to nodes and to other pods, and what it tolerates.

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm,
    Toleration, WeightedPodAffinityTerm,
};
use skiff_api::{Errors, names};

use crate::kinds::check;
use crate::kinds::core::node::taint_effect;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Checks all of a pod's affinity.
pub(super) fn validate(affinity: &Affinity, errors: &mut Errors) {
    if let Some(node) = &affinity.node_affinity {
        errors.at("nodeAffinity", |errors| node_affinity(node, errors));
    }
    if let Some(pod) = &affinity.pod_affinity {
        errors.at("podAffinity", |errors| {
            pod_terms(
                pod.required_during_scheduling_ignored_during_execution.as_deref(),
                pod.preferred_during_scheduling_ignored_during_execution.as_deref(),
                errors,
            );
        });
    }
    if let Some(pod) = &affinity.pod_anti_affinity {
        errors.at("podAntiAffinity", |errors| {
            pod_terms(
                pod.required_during_scheduling_ignored_during_execution.as_deref(),
                pod.preferred_during_scheduling_ignored_during_execution.as_deref(),
                errors,
            );
        });
    }
}

fn weight(errors: &mut Errors, weight: i32) {
    if !(1..=100).contains(&weight) {
        errors.invalid("weight", &weight, "must be in the range 1-100");
    }
}

fn node_affinity(affinity: &NodeAffinity, errors: &mut Errors) {
    if let Some(required) = &affinity.required_during_scheduling_ignored_during_execution {
        errors.at(REQUIRED, |errors| node_selector(required, errors));
    }
    let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
    for (index, term) in preferred.enumerate() {
        errors.item(PREFERRED, index, |errors| {
            weight(errors, term.weight);
            errors.at("preference", |errors| node_term(&term.preference, errors));
        });
    }
}

/// Which nodes will do, for a pod or a volume.
pub(super) fn node_selector(selector: &NodeSelector, errors: &mut Errors) {
    if selector.node_selector_terms.is_empty() {
        errors.required("nodeSelectorTerms", "must have at least one node selector term");
    }
    for (index, term) in selector.node_selector_terms.iter().enumerate() {
        errors.item("nodeSelectorTerms", index, |errors| node_term(term, errors));
    }
}

fn node_term(term: &NodeSelectorTerm, errors: &mut Errors) {
    for (index, requirement) in term.match_expressions.iter().flatten().enumerate() {
        errors.item("matchExpressions", index, |errors| {
            let count = requirement.values.as_ref().map_or(0, Vec::len);
            match requirement.operator.as_str() {
                "In" | "NotIn" if count == 0 => {
                    errors.required("values", "must be specified when `operator` is 'In' or 'NotIn'");
                }
                "Exists" | "DoesNotExist" if count > 0 => {
                    let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                    errors.forbidden("values", why);
                }
                "Gt" | "Lt" if count != 1 => {
                    let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                    errors.required("values", why);
                }
                "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
                other => errors.invalid("operator", other, "not a valid selector operator"),
            }
            check::named(errors, "key", &requirement.key, names::qualified_name(&requirement.key));
        });
    }
    for (index, requirement) in term.match_fields.iter().flatten().enumerate() {
        errors.item("matchFields", index, |errors| field_requirement(requirement, errors));
    }
}

fn field_requirement(requirement: &NodeSelectorRequirement, errors: &mut Errors) {
    let values = requirement.values.as_deref().unwrap_or_default();
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.len() == 1 => {}
        "In" | "NotIn" => {
            let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.required("values", why);
        }
        other => errors.invalid("operator", other, "not a valid selector operator"),
    }
    if requirement.key == "metadata.name" {
        for (index, value) in values.iter().enumerate() {
            check::named(errors, &format!("values[{index}]"), value, names::dns1123_subdomain(value));
        }
    } else {
        errors.invalid("key", &requirement.key, "not a valid field selector key");
    }
}

fn pod_terms(
    required: Option<&[PodAffinityTerm]>,
    preferred: Option<&[WeightedPodAffinityTerm]>,
    errors: &mut Errors,
) {
    for (index, term) in required.unwrap_or_default().iter().enumerate() {
        errors.item(REQUIRED, index, |errors| pod_term(term, errors));
    }
    for (index, term) in preferred.unwrap_or_default().iter().enumerate() {
        errors.item(PREFERRED, index, |errors| {
            weight(errors, term.weight);
            errors.at("podAffinityTerm", |errors| pod_term(&term.pod_affinity_term, errors));
        });
    }
}

fn pod_term(term: &PodAffinityTerm, errors: &mut Errors) {
    if let Some(selector) = &term.label_selector {
        check::label_selector(errors, "labelSelector", selector);
    }
    if let Some(selector) = &term.namespace_selector {
        check::label_selector(errors, "namespaceSelector", selector);
    }
    for namespace in term.namespaces.iter().flatten() {
        check::named(errors, "namespace", namespace, names::dns1123_label(namespace));
    }
    if term.topology_key.is_empty() {
        errors.required("topologyKey", "can not be empty");
    }
    check::named(errors, "topologyKey", &term.topology_key, names::qualified_name(&term.topology_key));
}

/// Checks which taints a pod bears.
pub(super) fn tolerations(tolerations: &[Toleration], errors: &mut Errors) {
    for (index, toleration) in tolerations.iter().enumerate() {
        errors.item("tolerations", index, |errors| self::toleration(toleration, errors));
    }
}

fn toleration(toleration: &Toleration, errors: &mut Errors) {
    let operator = toleration.operator.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let value = toleration.value.as_deref().unwrap_or_default();
    match check::given(toleration.key.as_ref()) {
        Some(key) => check::named(errors, "key", key, names::qualified_name(key)),
        None if operator != "Exists" => {
            let why =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid("operator", operator, why);
        }
        None => {}
    }
    if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        errors.invalid("effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
    }
    match operator {
        "Equal" | "" => {
            let why = names::label_value(value);
            if !why.is_empty() {
                errors.invalid("operator", value, why.join(";"));
            }
        }
        "Exists" if !value.is_empty() => {
            let shown = skiff_api::decode::tree(toleration).unwrap_or_default();
            errors.invalid("operator", &shown, "value must be empty when `operator` is 'Exists'");
        }
        "Exists" => {}
        other => errors.not_supported("operator", other, &["Equal", "Exists"]),
    }
    if !effect.is_empty() {
        taint_effect(errors, "effect", effect);
    }
}
