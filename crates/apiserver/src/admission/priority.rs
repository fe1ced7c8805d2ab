//! Priority: the number behind a pod's priority class. Until PriorityClass is a kind, only the two of the system exist.

use k8s_openapi::api::core::v1::Pod;
use skiff_api::ApiError;

use super::{Attempt, Plugin};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { mutate, ..Plugin::named("Priority") };

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    if !attempt.creates() {
        return Ok(());
    }
    let Some(pod) = draft.as_any_mut().downcast_mut::<Pod>() else { return Ok(()) };
    let name = pod.metadata.name.clone().unwrap_or_default();
    let Some(spec) = pod.spec.as_mut() else { return Ok(()) };
    let priority = match spec.priority_class_name.as_deref().unwrap_or_default() {
        "" => 0,
        "system-cluster-critical" => 2_000_000_000,
        "system-node-critical" => 2_000_001_000,
        class => {
            return Err(attempt.forbidden(&name, format!("no PriorityClass with name {class} was found")));
        }
    };
    if spec.priority.is_some_and(|own| own != priority) {
        let own = spec.priority.unwrap_or_default();
        let why = format!(
            "the integer value of priority ({own}) must not be provided in pod spec; priority admission controller computed {priority} from the given PriorityClass name"
        );
        return Err(attempt.forbidden(&name, why));
    }
    spec.priority = Some(priority);
    if spec.preemption_policy.is_none() {
        spec.preemption_policy = Some("PreemptLowerPriority".to_owned());
    }
    Ok(())
}
