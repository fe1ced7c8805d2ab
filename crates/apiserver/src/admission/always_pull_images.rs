//! AlwaysPullImages: nobody runs an image that somebody else had the right to pull. Off unless asked for.

use k8s_openapi::api::core::v1::Pod;
use skiff_api::ApiError;

use super::{Attempt, Plugin};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { mutate, ..Plugin::optional("AlwaysPullImages") };

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    if !matches!(attempt.scope.subresource, "" | "ephemeralcontainers") {
        return Ok(());
    }
    let Some(pod) = draft.as_any_mut().downcast_mut::<Pod>() else { return Ok(()) };
    let Some(spec) = pod.spec.as_mut() else { return Ok(()) };
    let plain = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
    let policies = plain.map(|container| &mut container.image_pull_policy);
    let ephemeral = spec.ephemeral_containers.iter_mut().flatten();
    let policies = policies.chain(ephemeral.map(|container| &mut container.image_pull_policy));
    let volumes = spec.volumes.iter_mut().flatten().filter_map(|volume| volume.image.as_mut());
    policies
        .chain(volumes.map(|image| &mut image.pull_policy))
        .for_each(|policy| *policy = Some("Always".to_owned()));
    Ok(())
}
