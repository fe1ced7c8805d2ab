//! A pod's conditions, with upstream's reasons and messages.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::state::PodState;
use super::text::go_list;
use super::{is_sidecar, is_static, resize};

/// Conditions this kubelet owns; all others belong to their writers.
pub(crate) const OWNED: [&str; 6] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodResizePending",
    "PodResizeInProgress",
];
/// Says that a pod goes for others' sake, whoever sends it; and the reason if that is the kubelet.
const DISRUPTION_TARGET: &str = "DisruptionTarget";
const BY_KUBELET: &str = "TerminationByKubelet";
/// Those of them that are there only while they hold.
pub(crate) const PASSING: [&str; 2] = ["PodResizePending", "PodResizeInProgress"];

/// Whether this kubelet wrote a condition: one it owns, or that it puts the pod out for the node's sake.
pub(crate) fn is_ours(kind: &str, reason: Option<&str>) -> bool {
    OWNED.contains(&kind) || (kind == DISRUPTION_TARGET && reason == Some(BY_KUBELET))
}

/// One condition before it is compared with the last one.
#[derive(Debug, PartialEq)]
struct Verdict {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

fn verdict(kind: &'static str, holds: bool, reason: &'static str, message: String) -> Verdict {
    Verdict { kind, holds, reason, message }
}

/// All conditions of the pod: ours anew, others' as they were.
pub(crate) fn conditions(pod: &Pod, new: &PodStatus, state: &PodState, now: Timestamp) -> Vec<PodCondition> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let old: &[PodCondition] =
        pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let phase = new.phase.as_deref().unwrap_or_default();
    let init = new.init_container_statuses.as_deref().unwrap_or_default();
    let mains = new.container_statuses.as_deref().unwrap_or_default();
    let containers = containers_ready(spec, init, mains, phase);
    let mut verdicts = vec![
        verdict("PodReadyToStartContainers", state.ready_sandbox().is_some(), "", String::new()),
        initialized(spec, init, mains, phase),
        ready(spec, old, &containers),
        containers,
    ];
    verdicts.extend(resizing(spec, state));
    if let Some(why) = state.verdict.as_ref().filter(|verdict| verdict.disruption) {
        verdicts.push(verdict(DISRUPTION_TARGET, true, BY_KUBELET, why.message.clone()));
    }
    let scheduled = old.iter().any(|condition| condition.type_ == "PodScheduled");
    if is_static(pod) || !scheduled {
        // No scheduler ever saw a pod from a file.
        verdicts.push(verdict("PodScheduled", true, "", String::new()));
    }
    let generation = pod.metadata.generation;
    let mut all: Vec<PodCondition> = verdicts
        .into_iter()
        .map(|verdict| {
            let before = old.iter().find(|condition| condition.type_ == verdict.kind);
            finish(verdict, before, generation, now)
        })
        .collect();
    let foreign = old.iter().filter(|condition| {
        !OWNED.contains(&&*condition.type_) && all.iter().all(|ours| ours.type_ != condition.type_)
    });
    let foreign: Vec<PodCondition> = foreign.cloned().collect();
    all.extend(foreign);
    all
}

/// What keeps containers from what they are to have, if anything.
fn resizing(spec: &PodSpec, state: &PodState) -> Option<Verdict> {
    if !state.resizing && resize::outstanding(spec, state).next().is_none() {
        return None;
    }
    Some(match (resize::too_much(spec, state.room), &state.deferred) {
        (Some(why), _) => verdict("PodResizePending", true, "Infeasible", why),
        (None, Some(why)) => verdict("PodResizePending", true, "Deferred", why.clone()),
        (None, None) => verdict("PodResizeInProgress", true, "", String::new()),
    })
}

fn finish(
    verdict: Verdict,
    before: Option<&PodCondition>,
    generation: Option<i64>,
    now: Timestamp,
) -> PodCondition {
    let status = if verdict.holds { "True" } else { "False" };
    let since = before
        .filter(|before| before.status == status)
        .and_then(|before| before.last_transition_time.clone());
    let some = |text: String| if text.is_empty() { None } else { Some(text) };
    PodCondition {
        type_: verdict.kind.to_owned(),
        status: status.to_owned(),
        reason: some(verdict.reason.to_owned()),
        message: some(verdict.message),
        last_transition_time: since.or(Some(Time(now))),
        last_probe_time: None,
        observed_generation: generation,
    }
}

fn find<'a>(statuses: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    statuses.iter().find(|status| status.name == name)
}

fn explain(unknown: &[&str], other: &[&str], word: &str) -> Option<String> {
    let mut parts = Vec::new();
    if !unknown.is_empty() {
        parts.push(format!("containers with unknown status: {}", go_list(unknown)));
    }
    if !other.is_empty() {
        parts.push(format!("containers with {word} status: {}", go_list(other)));
    }
    if parts.is_empty() { None } else { Some(parts.join(", ")) }
}

fn containers_ready(
    spec: &PodSpec,
    init: &[ContainerStatus],
    mains: &[ContainerStatus],
    phase: &str,
) -> Verdict {
    let kind = "ContainersReady";
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let all =
        sidecars.map(|container| (container, init)).chain(spec.containers.iter().map(|one| (one, mains)));
    for (container, statuses) in all {
        match find(statuses, &container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) if !status.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    match phase {
        "Succeeded" if unknown.is_empty() => return verdict(kind, false, "PodCompleted", String::new()),
        "Failed" => return verdict(kind, false, "PodFailed", String::new()),
        _ => {}
    }
    match explain(&unknown, &unready, "unready") {
        Some(message) => verdict(kind, false, "ContainersNotReady", message),
        None => verdict(kind, true, "", String::new()),
    }
}

fn ready(spec: &PodSpec, old: &[PodCondition], containers: &Verdict) -> Verdict {
    if !containers.holds {
        return verdict("Ready", false, containers.reason, containers.message.clone());
    }
    let gates = spec.readiness_gates.iter().flatten().filter_map(|gate| {
        let kind = &gate.condition_type;
        match old.iter().find(|condition| condition.type_ == *kind) {
            None => Some(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist.")),
            Some(condition) if condition.status != "True" => {
                let status = &condition.status;
                Some(format!("the status of pod readiness gate \"{kind}\" is not \"True\", but {status}"))
            }
            Some(_) => None,
        }
    });
    let gates: Vec<String> = gates.collect();
    if gates.is_empty() {
        verdict("Ready", true, "", String::new())
    } else {
        verdict("Ready", false, "ReadinessGatesNotReady", gates.join(", "))
    }
}

fn initialized(spec: &PodSpec, init: &[ContainerStatus], mains: &[ContainerStatus], phase: &str) -> Verdict {
    let kind = "Initialized";
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for container in spec.init_containers.iter().flatten() {
        match find(init, &container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) => {
                let done = if is_sidecar(container) { status.started.unwrap_or(false) } else { status.ready };
                if !done {
                    incomplete.push(container.name.as_str());
                }
            }
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return verdict(kind, true, "PodCompleted", String::new());
    }
    let begun = mains.iter().any(|status| {
        let state = status.state.as_ref();
        let here = state.is_some_and(|state| state.running.is_some() || state.terminated.is_some());
        here || status.last_state.as_ref().is_some_and(|last| last.terminated.is_some())
    });
    match explain(&unknown, &incomplete, "incomplete") {
        Some(message) if !begun => verdict(kind, false, "ContainersNotInitialized", message),
        _ => verdict(kind, true, "", String::new()),
    }
}
