//! Which containers are to run now: init containers one after the other, sidecars alongside, then the rest.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::restart::should_run;
use super::state::{PodState, Slot};
use super::{ephemeral, is_sidecar};

/// What the pod's containers call for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Next<'a> {
    /// To be started, if they do not run.
    pub(crate) run: Vec<Cow<'a, Container>>,
    /// An init container failed for good, or all containers ended for good.
    pub(crate) over: bool,
}

/// Whether an init container lets the next one begin.
fn initialized(container: &Container, slot: Option<&Slot>) -> bool {
    let Some(slot) = slot else { return false };
    if is_sidecar(container) { slot.is_running() && slot.started } else { slot.succeeded() }
}

/// Once a main container was created, init containers are history: they are not looked at again.
pub(crate) fn mains_began(spec: &PodSpec, state: &PodState) -> bool {
    spec.containers
        .iter()
        .any(|container| state.slot(&container.name).is_some_and(|slot| !slot.history.is_empty()))
}

/// What the pod's containers call for now.
pub(crate) fn next<'a>(pod: &'a Pod, state: &PodState) -> Next<'a> {
    let Some(spec) = &pod.spec else { return Next::default() };
    // Whoever wants to look into the pod need not wait for its turn.
    let mut next = Next { run: ephemeral::to_start(spec, state).map(Cow::Owned).collect(), over: false };
    let init = spec.init_containers.iter().flatten();
    if mains_began(spec, state) {
        let mains_over = spec.containers.iter().all(|container| {
            let slot = state.slot(&container.name);
            slot.is_some_and(|slot| slot.exited().is_some()) && !should_run(spec, container, slot)
        });
        if mains_over {
            return Next { run: Vec::new(), over: true };
        }
        next.run.extend(init.filter(|container| is_sidecar(container)).map(Cow::Borrowed));
    } else {
        for container in init {
            let slot = state.slot(&container.name);
            if is_sidecar(container) {
                next.run.push(Cow::Borrowed(container));
            } else if slot.is_some_and(Slot::succeeded) {
                continue;
            } else if !should_run(spec, container, slot) {
                return Next { run: Vec::new(), over: true };
            } else {
                next.run.push(Cow::Borrowed(container));
            }
            if !initialized(container, slot) {
                return next;
            }
        }
    }
    let mains =
        spec.containers.iter().filter(|container| should_run(spec, container, state.slot(&container.name)));
    next.run.extend(mains.map(Cow::Borrowed));
    next
}

/// In which order containers of an ending pod are stopped: all main ones at once, then sidecars, the last
/// started first. Empty when nothing runs.
pub(crate) fn to_stop<'a>(spec: &'a PodSpec, state: &PodState) -> Vec<&'a str> {
    let alive = |name: &&str| state.slot(name).is_some_and(Slot::is_alive);
    let plain = super::all_containers(spec).filter(|container| !is_sidecar(container));
    let plain = plain.map(|container| container.name.as_str());
    let guests = spec.ephemeral_containers.iter().flatten().map(|container| container.name.as_str());
    let plain: Vec<&str> = plain.chain(guests).filter(alive).collect();
    if !plain.is_empty() {
        return plain;
    }
    let sidecars = spec.init_containers.iter().flatten().map(|container| container.name.as_str());
    let sidecars: Vec<&str> = sidecars.filter(alive).collect();
    sidecars.into_iter().next_back().into_iter().collect()
}
