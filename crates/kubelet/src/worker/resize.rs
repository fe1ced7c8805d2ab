//! Giving running containers what they may use now.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::Context;
use super::steps::{Done, blocking};
use crate::pod::state::PodState;
use crate::pod::{find_container, resize, resources};
use crate::runtime::{ContainerId, Resources};

/// What the pod as a whole may use as its containers are now.
pub(super) fn given(pod: &Pod, state: &PodState) -> Resources {
    let spec = pod.spec.as_ref().map(|spec| resize::as_given(spec, state));
    resources::of_pod(&Pod { spec, ..Pod::default() })
}

/// First the pod gets room for the larger of what it had and what it is to have, then each container its own, then the
/// pod what it is to have: the kernel refuses a group that may use more than the group around it.
pub(super) async fn resize(
    ctx: Context,
    pod: Arc<Pod>,
    given: Resources,
    ids: Vec<(String, ContainerId)>,
) -> Done {
    let wanted = resources::of_pod(&pod);
    let group = async |limits: Resources| {
        let (cgroups, pod) = (ctx.cgroups.clone(), Arc::clone(&pod));
        let work = move || {
            cgroups.limit(&pod, &limits);
            Ok(())
        };
        blocking(work).await
    };
    let mut done = Vec::new();
    let mut error = group(resources::larger(&given, &wanted)).await.err();
    for (name, id) in ids {
        let Some(container) = find_container(&pod, &name) else { continue };
        let limits = resources::of_container(&pod, &container, ctx.node.memory);
        match ctx.runtime.update_container(&id, &limits).await {
            Ok(()) => done.push((name, resize::text(container.resources.as_ref()))),
            Err(fault) => error = error.or(Some(format!("container {name}: {}", fault.message()))),
        }
    }
    if error.is_none() {
        error = group(wanted).await.err();
    }
    Done::Resized { given: done, error }
}
