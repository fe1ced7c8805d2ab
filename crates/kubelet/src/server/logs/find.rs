//! Which container's log is meant, as upstream decides it from the pod's status; and its words where there is none. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::handle::{ContainerView, PodView};

/// The container whose log answers the request, or the text of a 400.
pub(crate) fn find<'a>(view: &'a PodView, name: &str, previous: bool) -> Result<&'a ContainerView, String> {
    let pod = view.pod.metadata.name.as_deref().unwrap_or_default();
    let status = status_of(&view.pod, name)
        .ok_or_else(|| format!("container {name:?} in pod {pod:?} is not available"))?;
    let id = container_id(status, name, pod, previous)?;
    let id = id.split_once("://").map_or(id, |(_, id)| id);
    let kept = view.containers.iter().find(|container| container.id == id);
    kept.ok_or_else(|| {
        if previous {
            format!("previous terminated container {name:?} in pod {pod:?} not found")
        } else {
            format!("container {name:?} in pod {pod:?} is not available")
        }
    })
}

fn status_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let lists =
        [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|status| status.name == name)
}

fn container_id<'a>(
    status: &'a ContainerStatus,
    name: &str,
    pod: &str,
    previous: bool,
) -> Result<&'a str, String> {
    let state = status.state.as_ref();
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let last_id = last.and_then(|last| last.container_id.as_deref()).filter(|id| !id.is_empty());
    if previous {
        return last_id
            .ok_or_else(|| format!("previous terminated container {name:?} in pod {pod:?} not found"));
    }
    if state.is_some_and(|state| state.running.is_some()) {
        return status
            .container_id
            .as_deref()
            .ok_or_else(|| format!("container {name:?} in pod {pod:?} is not available"));
    }
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
        // If the next one never started, the state has no id and the one before is meant.
        let id = ended.container_id.as_deref().filter(|id| !id.is_empty()).or(last_id);
        return id.ok_or_else(|| format!("container {name:?} in pod {pod:?} is terminated"));
    }
    if let Some(id) = last_id {
        return Ok(id);
    }
    let waiting = state.and_then(|state| state.waiting.as_ref());
    Err(match waiting.map(|waiting| waiting.reason.as_deref().unwrap_or_default()) {
        Some("ErrImagePull") => {
            format!("container {name:?} in pod {pod:?} is waiting to start: image can't be pulled")
        }
        Some("ImagePullBackOff") => {
            format!("container {name:?} in pod {pod:?} is waiting to start: trying and failing to pull image")
        }
        Some(reason) => format!("container {name:?} in pod {pod:?} is waiting to start: {reason}"),
        None => format!("container {name:?} in pod {pod:?} is waiting to start - no logs yet"),
    })
}
