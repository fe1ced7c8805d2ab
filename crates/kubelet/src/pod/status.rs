//! A pod's status: what `kubectl get` and `describe` show of it.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus as ApiStatus, HostIP, Pod, PodIP, PodStatus, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use skiff_api::pod::qos::class;

use super::addresses::ordered;
use super::conditions::conditions;
use super::phase::phase;
use super::plan::wants_devices;
use super::restart::should_run;
use super::state::{PodState, Slot, VolumeState};
use super::{ephemeral, is_sidecar, order, resize};
use crate::runtime::{ContainerState, ContainerStatus};

/// What the node adds to a pod's status.
#[derive(Debug, Clone)]
pub(crate) struct NodeFacts {
    /// The node's addresses, the main one first.
    pub(crate) addresses: Vec<IpAddr>,
    /// The runtime's name, for container ids.
    pub(crate) runtime: String,
}

/// The status of `pod` as of `now`.
pub(crate) fn status(pod: &Pod, state: &PodState, node: &NodeFacts, now: Timestamp) -> PodStatus {
    let old = pod.status.clone().unwrap_or_default();
    let Some(spec) = &pod.spec else { return old };
    let over = is_over(pod, state);
    let show = |container: &Container| {
        remembered(&old, state, container)
            .unwrap_or_else(|| container_status(pod, container, state, node, over))
    };
    let mains: Vec<ApiStatus> = spec.containers.iter().map(show).collect();
    let init: Vec<ApiStatus> = spec.init_containers.iter().flatten().map(show).collect();

    let mut new = PodStatus {
        start_time: old.start_time.clone().or(Some(Time(state.accepted_at))),
        qos_class: Some(old.qos_class.clone().unwrap_or_else(|| class(pod).as_str().to_owned())),
        observed_generation: pod.metadata.generation,
        ..PodStatus::default()
    };
    let mut name = phase(pod, &init, &mains, over && !state.any_alive());
    // What is said once of an end stays said.
    if let Some(end @ ("Succeeded" | "Failed")) = old.phase.as_deref() {
        name = if end == "Failed" { "Failed" } else { "Succeeded" };
        new.reason.clone_from(&old.reason);
        new.message.clone_from(&old.message);
    }
    // An end is one when nothing runs any more: whoever waits for it may count on that.
    if let Some(verdict) = state.verdict.as_ref().filter(|_| !state.any_alive()) {
        name = "Failed";
        new.reason = Some(verdict.reason.clone());
        new.message = Some(verdict.message.clone());
    }
    // Its claims are given to others once it has ended: not before its devices were taken back.
    if matches!(name, "Succeeded" | "Failed") && holds_devices(pod, state, &old) {
        new.phase = Some(old.phase.clone().unwrap_or_else(|| "Pending".to_owned()));
        (new.reason, new.message) = (None, None);
    } else {
        new.phase = Some(name.to_owned());
    }
    if state.verdict.as_ref().is_none_or(|verdict| !verdict.rejected) {
        new.container_statuses = Some(mains);
        new.init_container_statuses = if init.is_empty() { None } else { Some(init) };
        new.ephemeral_container_statuses = guests(pod, state, node);
        addresses(pod, state, node, &old, &mut new);
    }
    new.conditions = Some(conditions(pod, &new, state, now));
    new.nominated_node_name = old.nominated_node_name;
    new
}

/// Whether the pod has devices that were not taken back yet, and has not ended already.
fn holds_devices(pod: &Pod, state: &PodState, old: &PodStatus) -> bool {
    let rejected = state.verdict.as_ref().is_some_and(|verdict| verdict.rejected);
    let ended = matches!(old.phase.as_deref(), Some("Succeeded" | "Failed"));
    wants_devices(pod) && state.volumes != VolumeState::Removed && !rejected && !ended
}

/// Whether no container will run again.
pub(crate) fn is_over(pod: &Pod, state: &PodState) -> bool {
    let ended = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let deleting = pod.metadata.deletion_timestamp.is_some() || state.gone;
    state.verdict.is_some()
        || deleting
        || matches!(ended, Some("Succeeded" | "Failed"))
        || order::next(pod, state).over
}

fn addresses(pod: &Pod, state: &PodState, node: &NodeFacts, old: &PodStatus, new: &mut PodStatus) {
    new.host_ip = node.addresses.first().map(ToString::to_string);
    let hosts = node.addresses.iter().map(|address| HostIP { ip: address.to_string() });
    new.host_ips = Some(hosts.collect());
    let host_network = pod.spec.as_ref().is_some_and(|spec| spec.host_network.unwrap_or(false));
    let ips: Vec<String> = match &state.sandbox {
        Some(_) if host_network => node.addresses.iter().map(ToString::to_string).collect(),
        Some(sandbox) => {
            ordered(&sandbox.addresses, &node.addresses).iter().map(ToString::to_string).collect()
        }
        None => Vec::new(),
    };
    if ips.is_empty() {
        // A stopped sandbox has no address; the last one stays visible, as upstream.
        new.pod_ip.clone_from(&old.pod_ip);
        new.pod_ips.clone_from(&old.pod_ips);
    } else {
        new.pod_ip = ips.first().cloned();
        new.pod_ips = Some(ips.into_iter().map(|ip| PodIP { ip }).collect());
    }
}

fn container_status(
    pod: &Pod,
    container: &Container,
    state: &PodState,
    node: &NodeFacts,
    over: bool,
) -> ApiStatus {
    let empty = Slot::default();
    let slot = state.slot(&container.name).unwrap_or(&empty);
    let newest = slot.newest();
    let is_init = is_init(pod, container);
    let mut shown = ApiStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: String::new(),
        restart_count: restart_count(pod, container, slot),
        volume_mounts: volume_mounts(container),
        ..ApiStatus::default()
    };
    if let Some(newest) = newest {
        shown.image.clone_from(&newest.image);
        shown.image_id.clone_from(&newest.image_ref);
        shown.container_id = Some(id(node, newest));
    }
    let previous = slot.history.get(1).filter(|status| status.state == ContainerState::Exited);
    shown.resources = Some(resize::shown(container, slot));
    shown.last_state = Some(previous.map(|status| ended(node, status)).unwrap_or_default());
    let will_run = !over && pod.spec.as_ref().is_some_and(|spec| should_run(spec, container, Some(slot)));
    shown.state = Some(match (newest, &slot.waiting) {
        (Some(newest), _) if newest.state == ContainerState::Running => ApiState {
            running: Some(ContainerStateRunning { started_at: newest.started_at.map(Time) }),
            ..ApiState::default()
        },
        (Some(newest), Some(wait)) if newest.state == ContainerState::Exited && will_run => {
            shown.last_state = Some(ended(node, newest));
            waiting(&wait.reason, &wait.message)
        }
        (Some(newest), _) if newest.state == ContainerState::Exited => ended(node, newest),
        (_, Some(wait)) => waiting(&wait.reason, &wait.message),
        _ if has_init(pod) => waiting("PodInitializing", ""),
        _ => waiting("ContainerCreating", ""),
    });
    let running = slot.is_running();
    let started = running && (slot.started || container.startup_probe.is_none());
    shown.started = Some(started);
    shown.ready = if is_init && !is_sidecar(container) {
        slot.succeeded()
    } else {
        started && (slot.ready || container.readiness_probe.is_none())
    };
    shown
}

/// How a container of an ended pod ended, where it was removed since.
fn remembered(old: &PodStatus, state: &PodState, container: &Container) -> Option<ApiStatus> {
    let ended = matches!(old.phase.as_deref(), Some("Succeeded" | "Failed"));
    if !ended || state.slot(&container.name).is_some_and(|slot| slot.newest().is_some()) {
        return None;
    }
    let mut told = old.container_statuses.iter().chain(&old.init_container_statuses).flatten();
    let told = told.find(|told| told.name == container.name)?;
    let ended = told.state.as_ref().is_some_and(|state| state.terminated.is_some());
    ended.then(|| told.clone())
}

/// Ephemeral containers are never ready, nor is anybody told that they started.
fn guests(pod: &Pod, state: &PodState, node: &NodeFacts) -> Option<Vec<ApiStatus>> {
    let all = pod.spec.as_ref()?.ephemeral_containers.as_ref().filter(|all| !all.is_empty())?;
    let shown = all.iter().map(|one| {
        let shown = container_status(pod, &ephemeral::as_container(one), state, node, true);
        ApiStatus { ready: false, started: None, ..shown }
    });
    Some(shown.collect())
}

fn is_init(pod: &Pod, container: &Container) -> bool {
    let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    init.into_iter().any(|one| one.name == container.name)
}

fn has_init(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.init_containers.iter().flatten().next().is_some())
}

fn waiting(reason: &str, message: &str) -> ApiState {
    let message = if message.is_empty() { None } else { Some(message.to_owned()) };
    ApiState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
        ..ApiState::default()
    }
}

fn id(node: &NodeFacts, status: &ContainerStatus) -> String {
    format!("{}://{}", node.runtime, status.id)
}

fn ended(node: &NodeFacts, status: &ContainerStatus) -> ApiState {
    let reason = match (status.reason.as_str(), status.exit_code) {
        ("", 0) => "Completed",
        ("", _) => "Error",
        (reason, _) => reason,
    };
    let message = if status.message.is_empty() { None } else { Some(status.message.clone()) };
    ApiState {
        terminated: Some(ContainerStateTerminated {
            container_id: Some(id(node, status)),
            exit_code: status.exit_code,
            reason: Some(reason.to_owned()),
            message,
            started_at: status.started_at.map(Time),
            finished_at: status.finished_at.map(Time),
            signal: None,
        }),
        ..ApiState::default()
    }
}

fn restart_count(pod: &Pod, container: &Container, slot: &Slot) -> i32 {
    if let Some(newest) = slot.newest() {
        return i32::try_from(newest.attempt).unwrap_or(i32::MAX);
    }
    let status = pod.status.as_ref();
    let lists = status.map(|status| [&status.container_statuses, &status.init_container_statuses]);
    let mut reported = lists.into_iter().flatten().flatten().flatten();
    reported.find(|reported| reported.name == container.name).map_or(0, |reported| reported.restart_count)
}

fn volume_mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref().filter(|mounts| !mounts.is_empty())?;
    let shown = mounts.iter().map(|mount| {
        let read_only = mount.read_only.unwrap_or(false);
        VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: read_only.then_some(true),
            recursive_read_only: read_only.then(|| "Disabled".to_owned()),
            ..VolumeMountStatus::default()
        }
    });
    Some(shown.collect())
}
