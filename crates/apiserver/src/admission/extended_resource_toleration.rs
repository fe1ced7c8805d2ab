//! ExtendedResourceToleration: pods that ask for a device tolerate the taint that keeps others off its nodes. Off unless
//! asked for.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Pod, Toleration};
use skiff_api::ApiError;

use super::{Attempt, Plugin};
use crate::kinds::{Draft, amounts};

pub(super) const PLUGIN: Plugin = Plugin { mutate, ..Plugin::optional("ExtendedResourceToleration") };

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    if !attempt.scope.subresource.is_empty() {
        return Ok(());
    }
    let Some(pod) = draft.as_any_mut().downcast_mut::<Pod>() else { return Ok(()) };
    let Some(spec) = pod.spec.as_mut() else { return Ok(()) };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let requests = containers.filter_map(|container| container.resources.as_ref()?.requests.as_ref());
    let devices: BTreeSet<String> = requests
        .flat_map(|requests| requests.keys())
        .filter(|name| amounts::is_extended(name))
        .cloned()
        .collect();
    for device in devices {
        let toleration =
            Toleration { key: Some(device), operator: Some("Exists".to_owned()), ..Toleration::default() };
        let own = spec.tolerations.get_or_insert_default();
        if !own.contains(&toleration) {
            own.push(toleration);
        }
    }
    Ok(())
}
