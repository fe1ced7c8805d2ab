//! RuntimeClass: what a pod's runtime costs besides its containers, and where it runs.
//!
//! Follows upstream's `plugin/pkg/admission/runtimeclass/admission.go`.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::api::node::v1::RuntimeClass;
use skiff_api::ApiError;
use skiff_api::pod::totals::parsed;
use skiff_store::Key;

use super::{Attempt, Plugin};
use crate::kinds::{Draft, check};

pub(super) const PLUGIN: Plugin = Plugin { mutate, validate, ..Plugin::named("RuntimeClass") };

const TABLE: &str = "node.k8s.io/runtimeclasses";
const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

/// The class that a pod names.
fn class(attempt: &Attempt<'_>, spec: &PodSpec) -> Result<Option<Arc<RuntimeClass>>, String> {
    let Some(name) = check::given(spec.runtime_class_name.as_ref()) else { return Ok(None) };
    let found = attempt.scope.api.store.get(&Key::new(TABLE, name));
    let found = found.and_then(|stored| stored.object().decode().ok());
    found.map(Some).ok_or_else(|| format!("pod rejected: RuntimeClass \"{name}\" not found"))
}

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    if !attempt.creates() {
        return Ok(());
    }
    let Some(pod) = draft.as_any_mut().downcast_mut::<Pod>() else { return Ok(()) };
    let name = pod.metadata.name.clone().unwrap_or_default();
    let Some(spec) = pod.spec.as_mut() else { return Ok(()) };
    let completed =
        class(attempt, spec).and_then(|class| class.map_or(Ok(()), |class| complete(spec, &class)));
    completed.map_err(|why| attempt.forbidden(&name, why))
}

/// Sets overhead and place as the class has them.
fn complete(spec: &mut PodSpec, class: &RuntimeClass) -> Result<(), String> {
    let fixed = class.overhead.as_ref().and_then(|overhead| overhead.pod_fixed.clone());
    if let Some(fixed) = fixed {
        let own = spec.overhead.as_ref().filter(|own| !own.is_empty());
        if own.is_some_and(|own| parsed(Some(own)) != parsed(Some(&fixed))) {
            return Err(MISMATCH.to_owned());
        }
        spec.overhead = Some(fixed);
    }
    let Some(scheduling) = &class.scheduling else { return Ok(()) };
    let selector = scheduling.node_selector.iter().flatten();
    for (key, value) in selector {
        let own = spec.node_selector.get_or_insert_default();
        match own.get(key) {
            Some(other) if other != value => {
                return Err(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {other}"
                ));
            }
            _ => {
                own.insert(key.clone(), value.clone());
            }
        }
    }
    for toleration in scheduling.tolerations.iter().flatten() {
        let own = spec.tolerations.get_or_insert_default();
        if !own.contains(toleration) {
            own.push(toleration.clone());
        }
    }
    Ok(())
}

fn validate(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    let Some(pod) = draft.as_any().downcast_ref::<Pod>().filter(|_| attempt.creates()) else { return Ok(()) };
    let Some(spec) = &pod.spec else { return Ok(()) };
    let judged = class(attempt, spec).and_then(|class| {
        let fixed =
            class.and_then(|class| class.overhead.as_ref().and_then(|overhead| overhead.pod_fixed.clone()));
        match (&fixed, &spec.overhead) {
            (Some(fixed), own) if parsed(own.as_ref()) != parsed(Some(fixed)) => Err(MISMATCH.to_owned()),
            (None, Some(own)) if !own.is_empty() => {
                Err("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
                    .to_owned())
            }
            _ => Ok(()),
        }
    });
    judged.map_err(|why| attempt.forbidden(pod.metadata.name.as_deref().unwrap_or_default(), why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::given;

    #[test]
    fn a_class_says_what_it_costs_and_where_it_runs() {
        let class: RuntimeClass = given(
            "{metadata: {name: a}, handler: h, overhead: {podFixed: {cpu: 250m}}, scheduling: {nodeSelector: {sandbox: 'yes'}, \
             tolerations: [{key: sandbox, operator: Exists}]}}",
        );
        let mut spec: PodSpec = given("{containers: [], nodeSelector: {disk: ssd}}");
        complete(&mut spec, &class).unwrap();
        assert_eq!(spec.overhead.as_ref().unwrap()["cpu"].0, "250m");
        assert_eq!(spec.node_selector.as_ref().unwrap().len(), 2);
        assert_eq!(spec.tolerations.as_ref().unwrap().len(), 1);
        complete(&mut spec, &class).unwrap();
        assert_eq!(spec.tolerations.as_ref().unwrap().len(), 1);
        let mut other: PodSpec = given("{containers: [], nodeSelector: {sandbox: 'no'}}");
        assert_eq!(
            complete(&mut other, &class).unwrap_err(),
            "conflict: runtimeClass.scheduling.nodeSelector[sandbox] = yes; pod.spec.nodeSelector[sandbox] = no"
        );
        let mut dear: PodSpec = given("{containers: [], overhead: {cpu: 1}}");
        assert_eq!(complete(&mut dear, &class).unwrap_err(), MISMATCH);
    }
}
