//! What may change in a pod that exists: hardly anything.

use k8s_openapi::api::core::v1::{Container, PodSpec, Toleration};
use skiff_api::Errors;

const RULE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
                    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
                    existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
                    previously negative)\n";

/// Checks the change of a pod's spec.
pub(super) fn validate(new: &PodSpec, old: &PodSpec, errors: &mut Errors) {
    if new == old {
        return;
    }
    let inits = |spec: &PodSpec| spec.init_containers.as_ref().map_or(0, Vec::len);
    if new.containers.len() != old.containers.len() {
        errors.forbidden("spec.containers", "pod updates may not add or remove containers");
        return;
    }
    if inits(new) != inits(old) {
        errors.forbidden("spec.initContainers", "pod updates may not add or remove containers");
        return;
    }
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), Some(old)) if new > old => {
            let why = "must be less than or equal to previous value";
            errors.invalid("spec.activeDeadlineSeconds", &new, why);
            return;
        }
        (None, Some(_)) => {
            let why = "must not update from a positive integer to nil value";
            errors.invalid("spec.activeDeadlineSeconds", &None::<i64>, why);
            return;
        }
        _ => {}
    }
    tolerations(new, old, errors);
    gates(new, old, errors);
    let back = allowed_back(new, old);
    if back != *old {
        errors.forbidden("spec", format!("{RULE}{}", differences(&back, old)));
    }
}

/// `new` with everything that may change set back to what it was.
fn allowed_back(new: &PodSpec, old: &PodSpec) -> PodSpec {
    let mut back = new.clone();
    let images = |new: &mut [Container], old: &[Container]| {
        for (new, old) in new.iter_mut().zip(old) {
            new.image.clone_from(&old.image);
        }
    };
    images(&mut back.containers, &old.containers);
    images(
        back.init_containers.as_deref_mut().unwrap_or_default(),
        old.init_containers.as_deref().unwrap_or_default(),
    );
    back.active_deadline_seconds = old.active_deadline_seconds;
    back.tolerations.clone_from(&old.tolerations);
    back.scheduling_gates.clone_from(&old.scheduling_gates);
    if old.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0)
        && new.termination_grace_period_seconds == Some(1)
    {
        back.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    if super::is_gated(old) {
        // A pod that cannot be scheduled yet may be narrowed down by whoever holds the gate.
        let kept = |(key, value): (&String, &String)| {
            new.node_selector.as_ref().is_some_and(|selector| selector.get(key) == Some(value))
        };
        if old.node_selector.iter().flatten().all(kept) {
            back.node_selector.clone_from(&old.node_selector);
        }
        if old.affinity.as_ref().is_none_or(|affinity| affinity.node_affinity.is_none()) {
            back.affinity.clone_from(&old.affinity);
        }
    }
    back
}

/// Old tolerations stay, except that their seconds may change.
fn tolerations(new: &PodSpec, old: &PodSpec, errors: &mut Errors) {
    let timeless = |toleration: &Toleration| Toleration { toleration_seconds: None, ..toleration.clone() };
    let new: Vec<Toleration> = new.tolerations.iter().flatten().map(timeless).collect();
    if old.tolerations.iter().flatten().any(|toleration| !new.contains(&timeless(toleration))) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden("spec.tolerations", why);
    }
}

fn gates(new: &PodSpec, old: &PodSpec, errors: &mut Errors) {
    let old = old.scheduling_gates.as_deref().unwrap_or_default();
    for (index, gate) in new.scheduling_gates.iter().flatten().enumerate() {
        if !old.contains(gate) {
            let field = format!("spec.schedulingGates[{index}]");
            errors.forbidden(&field, "only deletion is allowed, but found new scheduling gate");
        }
    }
}

/// The top fields of the spec that differ, each with both values.
fn differences(new: &PodSpec, old: &PodSpec) -> String {
    let value = |spec: &PodSpec| skiff_api::decode::tree(spec).unwrap_or_default();
    let (new, old) = (value(new), value(old));
    let empty = serde_json::Map::new();
    let (new, old) = (new.as_object().unwrap_or(&empty), old.as_object().unwrap_or(&empty));
    let mut text = String::new();
    let keys: std::collections::BTreeSet<&String> = new.keys().chain(old.keys()).collect();
    for key in keys.into_iter().filter(|key| new.get(*key) != old.get(*key)) {
        for (sign, side) in [('-', old), ('+', new)] {
            if let Some(value) = side.get(key) {
                text.push_str(&format!("{sign} {key}: {value}\n"));
            }
        }
    }
    text
}
