//! The next steps for a pod: from what is wanted, what was seen and what time it is.
//!
//! Level-triggered: a plan depends on nothing but its arguments, so that it may be made again at any time, after
//! a restart too. Steps that can go on at the same time are in one plan; the worker marks what it began, so the
//! next plan leaves it out.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use skiff_api::pod::claims;

use super::state::{DeviceState, PodState, Progress, SandboxWork, Slot, Verdict, VolumeState, Waiting, Work};
use super::{deadline, find_container, grace, is_static, name, namespace, order, resize, uid};
use crate::runtime::{ContainerState, SandboxState};

/// How long a failed pull is shown as such before it is shown as waiting.
const PULL_ERROR_SHOWN: Duration = Duration::from_secs(2);
/// Containers get at least this long to end.
const LEAST_GRACE: Duration = Duration::from_secs(2);
/// And this long where the node cannot wait.
const LEAST_HURRIED: Duration = Duration::from_secs(1);

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Bring the volumes in.
    Mount,
    /// Give the pod the devices that it counts on, and have those prepared that it claims.
    PrepareDevices,
    /// Make a sandbox, the pod's n-th.
    RunSandbox { attempt: u32 },
    /// A sandbox died under its containers: say so before a new one is made.
    SandboxChanged,
    /// Fetch a container's image and configuration.
    Prepare { name: String },
    /// Create and start a container.
    Start { name: String, attempt: u32 },
    /// Stop a container.
    Kill { name: String, id: String, message: String, grace: Duration },
    /// Give running containers what they may use now.
    Resize { names: Vec<String> },
    /// Forget a container that ended long ago.
    RemoveContainer { name: String, id: String },
    /// Stop a sandbox.
    StopSandbox { id: String },
    /// Take the volumes out, and the devices back.
    Unmount,
    /// Delete the object from the API, its last status being written.
    Delete,
    /// Remove all the runtime and the disk hold of the pod.
    Remove,
}

/// What comes next.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Plan {
    /// To be begun now, all at once.
    pub(crate) steps: Vec<Step>,
    /// Look again at this time at the latest.
    pub(crate) wake_at: Option<Timestamp>,
    /// Containers that have to wait, and why.
    pub(crate) waiting: Vec<(String, Waiting)>,
    /// The pod is over from now on.
    pub(crate) verdict: Option<Verdict>,
}

impl Plan {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |other| other.min(at)));
    }

    /// Whether something may be tried; if not yet, the plan looks again when it may.
    fn due(&mut self, pending: Option<Timestamp>) -> bool {
        if let Some(at) = pending {
            self.wake(at);
        }
        pending.is_none()
    }
}

/// What to do for `pod`.
pub(crate) fn plan(pod: &Pod, state: &PodState, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = &pod.spec else { return plan };
    let deadline = deadline::at(pod, state);
    let deleting = pod.metadata.deletion_timestamp.is_some() || state.gone;
    let mut over = state.verdict.is_some() || deleting || finished(pod);
    if !over && let Some(deadline) = deadline {
        if deadline <= now {
            plan.verdict = Some(deadline::verdict());
            over = true;
        } else {
            plan.wake(deadline);
        }
    }
    let next = order::next(pod, state);
    if over || next.over {
        end(pod, spec, state, deleting, now, &mut plan);
        return plan;
    }
    groundwork(pod, state, now, &mut plan);
    unhealthy(pod, state, now, &mut plan);
    changed(pod, spec, state, &mut plan);
    resized(pod, spec, state, now, &mut plan);
    for container in next.run {
        advance(pod, state, &container, now, &mut plan);
    }
    forget_old(state, &mut plan);
    plan
}

/// A pod that reported its end never runs again, whatever happened to its containers since.
pub(crate) fn finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether the pod claims devices, or asks for some that are counted.
pub(crate) fn wants_devices(pod: &Pod) -> bool {
    let containers = pod.spec.as_ref().into_iter().flat_map(super::all_containers);
    let counted = containers.into_iter().any(crate::device_plugins::asks);
    counted || !claims::of(pod).is_empty() || claims::extended(pod).is_some()
}

/// Volumes and sandbox, at the same time; no sandbox before its devices.
fn groundwork(pod: &Pod, state: &PodState, now: Timestamp, plan: &mut Plan) {
    if state.volumes == VolumeState::Absent && plan.due(state.volume_retry.pending(now)) {
        plan.steps.push(Step::Mount);
    }
    if state.sandbox_work.is_some() {
        return;
    }
    if state.ready_sandbox().is_none() && state.devices != DeviceState::Prepared && wants_devices(pod) {
        if state.devices == DeviceState::Absent && plan.due(state.device_retry.pending(now)) {
            plan.steps.push(Step::PrepareDevices);
        }
        return;
    }
    match &state.sandbox {
        None => {
            if plan.due(state.sandbox_retry.pending(now)) {
                plan.steps.push(Step::RunSandbox { attempt: state.sandbox_failures });
            }
        }
        Some(status) if status.sandbox.state == SandboxState::NotReady => {
            // Containers of a dead sandbox are dead or about to be; only then a new one may come.
            if !state.any_alive() && plan.due(state.sandbox_retry.pending(now)) {
                plan.steps.push(Step::SandboxChanged);
                let attempt = status.sandbox.attempt + 1 + state.sandbox_failures;
                plan.steps.push(Step::RunSandbox { attempt });
            }
        }
        Some(_) => {}
    }
}

/// Running containers whose image was changed in the pod: they are made anew.
fn changed(pod: &Pod, spec: &PodSpec, state: &PodState, plan: &mut Plan) {
    for container in super::all_containers(spec) {
        let Some(slot) = state
            .slot(&container.name)
            .filter(|slot| slot.work.is_none() && slot.is_running() && slot.unhealthy.is_none())
        else {
            continue;
        };
        let Some(newest) = slot.newest() else { continue };
        let made_with = newest.annotations.get(super::config::HASH);
        if made_with.is_some_and(|made_with| *made_with != super::config::hash(container)) {
            plan.steps.push(Step::Kill {
                name: container.name.clone(),
                id: newest.id.clone(),
                message: format!("Container {} definition changed, will be restarted", container.name),
                grace: grace(pod).max(LEAST_GRACE),
            });
        }
    }
}

/// Running containers that may use more or less than when they were made: in place, or made anew where they ask for it.
fn resized(pod: &Pod, spec: &PodSpec, state: &PodState, now: Timestamp, plan: &mut Plan) {
    if state.resizing || state.deferred.is_some() || resize::too_much(spec, state.room).is_some() {
        return;
    }
    let (anew, in_place): (Vec<_>, Vec<_>) =
        resize::outstanding(spec, state).partition(|(container, given)| resize::restarts(container, given));
    for (container, _) in anew {
        let Some(newest) = state.slot(&container.name).and_then(Slot::newest) else { continue };
        plan.steps.push(Step::Kill {
            name: container.name.clone(),
            id: newest.id.clone(),
            message: format!("Container {} resize requires restart", container.name),
            grace: grace(pod).max(LEAST_GRACE),
        });
    }
    if !in_place.is_empty() && plan.due(state.resize_retry.pending(now)) {
        let names = in_place.into_iter().map(|(container, _)| container.name.clone()).collect();
        plan.steps.push(Step::Resize { names });
    }
}

/// Containers whose probes gave them up.
fn unhealthy(pod: &Pod, state: &PodState, now: Timestamp, plan: &mut Plan) {
    for (name, slot) in &state.slots {
        let (Some(message), Some(newest), None) = (&slot.unhealthy, slot.newest(), slot.work) else {
            continue;
        };
        if newest.state != ContainerState::Running || !plan.due(slot.retry.pending(now)) {
            continue;
        }
        let container = find_container(pod, name);
        let probe = container.as_deref().and_then(|container| {
            let startup = container.startup_probe.as_ref().filter(|_| !slot.started);
            startup.or(container.liveness_probe.as_ref())
        });
        let seconds = probe.and_then(|probe| probe.termination_grace_period_seconds);
        let grace =
            seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(grace(pod), Duration::from_secs);
        plan.steps.push(Step::Kill {
            name: name.clone(),
            id: newest.id.clone(),
            message: message.clone(),
            grace: grace.max(LEAST_GRACE),
        });
    }
}

/// One container a step further towards running.
fn advance(pod: &Pod, state: &PodState, container: &Container, now: Timestamp, plan: &mut Plan) {
    let empty = Slot::default();
    let slot = state.slot(&container.name).unwrap_or(&empty);
    if slot.work.is_some() || slot.is_alive() {
        return;
    }
    if let Some(exited) = slot.exited() {
        let finished = exited.finished_at.unwrap_or(exited.created_at);
        if let Some(until) = slot.restarts.until(finished).filter(|until| *until > now) {
            plan.wake(until);
            plan.waiting.push((container.name.clone(), crash_loop(pod, container, slot)));
            return;
        }
    }
    if !plan.due(slot.retry.pending(now)) {
        pull_back_off(container, slot, now, plan);
        return;
    }
    if !slot.prepared {
        plan.steps.push(Step::Prepare { name: container.name.clone() });
    } else if state.volumes == VolumeState::Mounted
        && state.ready_sandbox().is_some()
        && state.sandbox_work.is_none()
    {
        let attempt = attempt(pod, container, slot);
        plan.steps.push(Step::Start { name: container.name.clone(), attempt });
    }
}

/// A failed pull is first said to have failed, then to wait: as with upstream both can be seen.
fn pull_back_off(container: &Container, slot: &Slot, now: Timestamp, plan: &mut Plan) {
    let (Some(waiting), Some(since)) = (&slot.waiting, slot.retry.since()) else { return };
    if waiting.reason != "ErrImagePull" {
        return;
    }
    let Ok(shown_until) = since.checked_add(PULL_ERROR_SHOWN) else { return };
    if shown_until > now {
        plan.wake(shown_until);
        return;
    }
    let image = container.image.as_deref().unwrap_or_default();
    let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {}", waiting.message);
    plan.waiting.push((container.name.clone(), Waiting { reason: "ImagePullBackOff".to_owned(), message }));
}

/// The runtime's memory counts, or the API's where the runtime forgot.
fn attempt(pod: &Pod, container: &Container, slot: &Slot) -> u32 {
    if let Some(newest) = slot.newest() {
        return newest.attempt + 1;
    }
    let status = pod.status.as_ref();
    let lists = status.map(|status| [&status.container_statuses, &status.init_container_statuses]);
    let reported =
        lists.into_iter().flatten().flatten().flatten().find(|reported| reported.name == container.name);
    match reported {
        Some(reported) if reported.container_id.as_deref().is_some_and(|id| !id.is_empty()) => {
            u32::try_from(reported.restart_count).unwrap_or(0) + 1
        }
        _ => 0,
    }
}

fn crash_loop(pod: &Pod, container: &Container, slot: &Slot) -> Waiting {
    let delay = skiff_base::duration::go_seconds(slot.restarts.delay());
    let message = format!(
        "back-off {delay} restarting failed container={} pod={}_{}({})",
        container.name,
        name(pod),
        namespace(pod),
        uid(pod)
    );
    Waiting { reason: "CrashLoopBackOff".to_owned(), message }
}

/// Of each container the newest attempt stays, and one before it for its logs.
fn forget_old(state: &PodState, plan: &mut Plan) {
    for (name, slot) in &state.slots {
        if slot.work.is_some() {
            continue;
        }
        let old = slot.history.iter().skip(2).filter(|status| status.state != ContainerState::Running);
        plan.steps
            .extend(old.map(|status| Step::RemoveContainer { name: name.clone(), id: status.id.clone() }));
    }
}

/// How long containers get once the pod is over: what the pod says, but no longer than the node can wait.
pub(crate) fn last_grace(pod: &Pod, state: &PodState) -> Duration {
    match state.verdict.as_ref().and_then(|verdict| verdict.grace) {
        Some(most) => grace(pod).min(most).max(LEAST_HURRIED),
        None => grace(pod).max(LEAST_GRACE),
    }
}

/// The way out: containers, then sandbox and volumes, then the object and what is left.
fn end(pod: &Pod, spec: &PodSpec, state: &PodState, deleting: bool, now: Timestamp, plan: &mut Plan) {
    let grace = last_grace(pod, state);
    for name in order::to_stop(spec, state) {
        let Some(slot) = state.slot(name) else { continue };
        if let (Some(newest), None) = (slot.newest(), slot.work)
            && plan.due(slot.retry.pending(now))
        {
            plan.steps.push(Step::Kill {
                name: name.to_owned(),
                id: newest.id.clone(),
                message: format!("Stopping container {name}"),
                grace,
            });
        }
    }
    let preparing = state.slots.values().any(|slot| slot.work == Some(Work::Preparing));
    let preparing = preparing || state.devices == DeviceState::Preparing;
    if state.any_alive() || state.sandbox_work == Some(SandboxWork::Running) || preparing {
        return;
    }
    if let (Some(sandbox), None) = (state.ready_sandbox(), state.sandbox_work)
        && plan.due(state.sandbox_retry.pending(now))
    {
        plan.steps.push(Step::StopSandbox { id: sandbox.sandbox.id.clone() });
    }
    let ended = state.ready_sandbox().is_none() && state.sandbox_work.is_none();
    // A rejected pod never had any, a restarted kubelet cannot know: taking out nothing is harmless. Devices may be the
    // sandbox's, such as those of a network.
    if matches!(state.volumes, VolumeState::Absent | VolumeState::Mounted)
        && (ended || !wants_devices(pod))
        && plan.due(state.volume_retry.pending(now))
    {
        plan.steps.push(Step::Unmount);
    }
    if !deleting || !ended || state.volumes != VolumeState::Removed || !plan.due(state.end_retry.pending(now))
    {
        return;
    }
    if state.delete == Progress::Open && !state.gone && !is_static(pod) {
        plan.steps.push(Step::Delete);
    }
    if state.removal == Progress::Open {
        plan.steps.push(Step::Remove);
    }
}
