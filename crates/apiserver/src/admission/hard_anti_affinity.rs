//! LimitPodHardAntiAffinityTopology: nobody keeps all others off a whole zone. Off unless asked for.

use k8s_openapi::api::core::v1::Pod;
use skiff_api::ApiError;

use super::{Attempt, Plugin};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { validate, ..Plugin::optional("LimitPodHardAntiAffinityTopology") };

const ALLOWED: &str = "kubernetes.io/hostname";

fn validate(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    let Some(pod) = draft.as_any().downcast_ref::<Pod>() else { return Ok(()) };
    if !attempt.scope.subresource.is_empty() {
        return Ok(());
    }
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let far = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let required = far
        .into_iter()
        .flat_map(|far| far.required_during_scheduling_ignored_during_execution.iter().flatten());
    for term in required {
        if term.topology_key != ALLOWED {
            let why = format!(
                "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {} but only key {ALLOWED} is allowed",
                term.topology_key
            );
            return Err(attempt.forbidden(pod.metadata.name.as_deref().unwrap_or_default(), why));
        }
    }
    Ok(())
}
