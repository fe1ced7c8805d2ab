//! A pod's phase, from its containers' statuses.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec};

use super::is_sidecar;

/// How many containers are in which situation.
#[derive(Default)]
struct Count {
    pending_init: usize,
    failed_init: usize,
    unknown: usize,
    running: usize,
    waiting: usize,
    stopped: usize,
    succeeded: usize,
}

/// The phase of a pod with these statuses. `over` says that no container will run again.
pub(crate) fn phase(
    pod: &Pod,
    init: &[ContainerStatus],
    mains: &[ContainerStatus],
    over: bool,
) -> &'static str {
    let Some(spec) = &pod.spec else { return "Pending" };
    let count = count(spec, init, mains);
    let policy = spec.restart_policy.as_deref().unwrap_or("Always");
    if count.failed_init > 0 && policy == "Never" {
        return "Failed";
    }
    if count.pending_init > 0 || count.waiting > 0 {
        return "Pending";
    }
    if count.unknown > 0 {
        return "Pending";
    }
    if count.running > 0 {
        return "Running";
    }
    if count.stopped == 0 {
        return "Pending";
    }
    if over {
        return if count.stopped == count.succeeded { "Succeeded" } else { "Failed" };
    }
    match policy {
        "Always" => "Running",
        _ if count.stopped == count.succeeded => "Succeeded",
        "Never" => "Failed",
        _ => "Running",
    }
}

fn count(spec: &PodSpec, init: &[ContainerStatus], mains: &[ContainerStatus]) -> Count {
    let mut count = Count::default();
    let begun = mains.iter().any(|status| {
        let state = status.state.as_ref();
        state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
            || last(status).is_some()
    });
    for container in spec.init_containers.iter().flatten() {
        let status = init.iter().find(|status| status.name == container.name);
        if !begun {
            count_init(container, status, &mut count);
        }
    }
    for container in &spec.containers {
        let Some(status) = mains.iter().find(|status| status.name == container.name) else {
            count.unknown += 1;
            continue;
        };
        let state = status.state.clone().unwrap_or_default();
        if state.running.is_some() {
            count.running += 1;
        } else if let Some(ended) = &state.terminated {
            count.stopped += 1;
            count.succeeded += usize::from(ended.exit_code == 0);
        } else if last(status).is_some() {
            count.stopped += 1;
        } else {
            count.waiting += 1;
        }
    }
    count
}

fn count_init(container: &Container, status: Option<&ContainerStatus>, count: &mut Count) {
    let Some(status) = status else {
        count.pending_init += 1;
        return;
    };
    let state = status.state.clone().unwrap_or_default();
    if is_sidecar(container) {
        count.pending_init += usize::from(!status.started.unwrap_or(false));
        return;
    }
    let exit_code = state.terminated.as_ref().map(|ended| ended.exit_code);
    match exit_code.or_else(|| last(status).filter(|_| state.waiting.is_some())) {
        Some(0) if state.terminated.is_some() => {}
        Some(code) if code != 0 => count.failed_init += 1,
        _ => count.pending_init += 1,
    }
    // A failed init container that will run again keeps the pod pending.
    if exit_code.is_some_and(|code| code != 0) || (state.waiting.is_some() && last(status).is_some()) {
        count.pending_init += 1;
    }
}

/// The exit code of the attempt before.
fn last(status: &ContainerStatus) -> Option<i32> {
    status.last_state.as_ref()?.terminated.as_ref().map(|ended| ended.exit_code)
}
