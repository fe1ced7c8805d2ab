//! Requests and limits of running containers that change: which there are, and what they ask for.
//!
//! What a container was given is known by the text of its requests and limits: noted beside it when it was made, and
//! in its slot when it was changed since. Whether other pods leave room is known to `node::shares`. Follows upstream's
//! `pkg/kubelet/allocation` and `kuberuntime_manager.go`.

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};

use super::resources::request;
use super::state::{PodState, Room, Slot};
use super::{all_containers, config};

/// The text by which requests and limits are compared.
pub(crate) fn text(resources: Option<&ResourceRequirements>) -> String {
    resources.and_then(|resources| serde_json::to_string(resources).ok()).unwrap_or_else(|| "{}".to_owned())
}

/// What the container that runs was given last; nothing if nobody knows.
fn given(slot: &Slot) -> Option<&str> {
    let noted = slot.newest().and_then(|newest| newest.annotations.get(config::RESOURCES));
    slot.given.as_deref().or(noted.map(String::as_str))
}

/// The requests and limits that a container has now, to be shown.
pub(crate) fn shown(container: &Container, slot: &Slot) -> ResourceRequirements {
    let wanted = container.resources.as_ref();
    let other = given(slot).filter(|given| slot.is_running() && *given != text(wanted));
    let other = other.and_then(|given| serde_json::from_str(given).ok());
    other.unwrap_or_else(|| wanted.cloned().unwrap_or_default())
}

/// Running containers that were given something else than they are to have, with what that is.
pub(crate) fn outstanding<'a>(
    spec: &'a PodSpec,
    state: &'a PodState,
) -> impl Iterator<Item = (&'a Container, ResourceRequirements)> {
    all_containers(spec).filter_map(|container| {
        let slot = state.slot(&container.name).filter(|slot| slot.work.is_none() && slot.is_running())?;
        let given = given(slot).filter(|given| *given != text(container.resources.as_ref()))?;
        Some((container, serde_json::from_str(given).unwrap_or_default()))
    })
}

/// Whether the container wants to be made anew for such a change.
pub(crate) fn restarts(container: &Container, given: &ResourceRequirements) -> bool {
    let wanted = container.resources.clone().unwrap_or_default();
    container.resize_policy.iter().flatten().any(|policy| {
        let name = policy.resource_name.as_str();
        let of = |resources: &ResourceRequirements| {
            let get = |list: &Option<std::collections::BTreeMap<_, _>>| list.as_ref()?.get(name).cloned();
            (get(&resources.limits), get(&resources.requests))
        };
        policy.restart_policy == "RestartContainer" && of(&wanted) != of(given)
    })
}

/// Why the node can never have what the pod asks for, if so.
pub(crate) fn too_much(spec: &PodSpec, room: Room) -> Option<String> {
    let asked = |name: &str| spec.containers.iter().map(|container| request(container, name)).sum::<i64>();
    let (cpu, memory) = (asked("cpu"), asked("memory") / 1000);
    let words = |name: &str, asked: i64, has: i64| {
        format!("Node didn't have enough capacity: {name}, requested: {asked}, capacity: {has}")
    };
    if cpu > room.cpu_milli {
        Some(words("cpu", cpu, room.cpu_milli))
    } else if memory > room.memory {
        Some(words("memory", memory, room.memory))
    } else {
        None
    }
}

/// The spec as the containers have it now.
pub(crate) fn as_given(spec: &PodSpec, state: &PodState) -> PodSpec {
    let mut spec = spec.clone();
    let PodSpec { containers, init_containers, .. } = &mut spec;
    for container in containers.iter_mut().chain(init_containers.iter_mut().flatten()) {
        if let Some(slot) = state.slot(&container.name) {
            container.resources = Some(shown(container, slot));
        }
    }
    spec
}
