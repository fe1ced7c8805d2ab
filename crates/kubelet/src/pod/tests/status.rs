//! What is reported of what was seen, by table.

use k8s_openapi::api::core::v1::PodStatus;

use super::super::status::{NodeFacts, status};
use super::{at, pod, state};

fn told(given_pod: &str, given_state: &str) -> PodStatus {
    let node = NodeFacts { addresses: vec!["192.0.2.1".parse().unwrap()], runtime: "containerd".to_owned() };
    status(&pod(given_pod), &state(&format!("{{{given_state}}}")), &node, at(100))
}

/// Phase, then each container as `name state ready restarts`, then the conditions that do not hold.
fn short(status: &PodStatus) -> String {
    let mut words = vec![status.phase.clone().unwrap()];
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    for container in containers {
        let state = container.state.clone().unwrap();
        let text = match (state.waiting, state.running, state.terminated) {
            (Some(waiting), _, _) => waiting.reason.unwrap(),
            (_, Some(_), _) => "Running".to_owned(),
            (_, _, Some(ended)) => format!("{}({})", ended.reason.unwrap(), ended.exit_code),
            _ => "?".to_owned(),
        };
        let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
        let last = last.map(|last| format!(" last({})", last.exit_code)).unwrap_or_default();
        let ready = if container.ready { "ready" } else { "unready" };
        words.push(format!("{}: {text}{last} {ready} {}", container.name, container.restart_count));
    }
    let failing = status.conditions.iter().flatten().filter(|condition| condition.status != "True");
    words.extend(failing.map(|condition| format!("!{}", condition.type_)));
    words.join("; ")
}

#[track_caller]
fn check(spec: &str, given_state: &str, expected: &str) {
    let given = format!("{{metadata: {{}}, spec: {{{spec}}}}}");
    assert_eq!(short(&told(&given, given_state)), expected, "given {given_state}");
}

const C: &str = "containers: [{name: c, image: i}]";
const NEVER: &str = "restartPolicy: Never, containers: [{name: c, image: i}]";
const INIT: &str = "initContainers: [{name: i, image: i}], containers: [{name: c, image: i}]";

#[test]
fn a_pod_comes_up() {
    let pending = "!Ready; !ContainersReady";
    check(C, "", &format!("Pending; c: ContainerCreating unready 0; !PodReadyToStartContainers; {pending}"));
    check(C, "sandbox: ready", &format!("Pending; c: ContainerCreating unready 0; {pending}"));
    check(C, "sandbox: ready, containers: {c: [running]}", "Running; c: Running ready 0");
    check(
        INIT,
        "sandbox: ready, containers: {i: [running]}",
        &format!("Pending; i: Running unready 0; c: PodInitializing unready 0; !Initialized; {pending}"),
    );
    check(
        INIT,
        "sandbox: ready, containers: {i: [exited 0], c: [running]}",
        "Running; i: Completed(0) ready 0; c: Running ready 0",
    );
}

#[test]
fn a_pod_ends() {
    let ended = "!PodReadyToStartContainers; !Ready; !ContainersReady";
    check(NEVER, "containers: {c: [exited 0]}", &format!("Succeeded; c: Completed(0) unready 0; {ended}"));
    check(NEVER, "containers: {c: [exited 2]}", &format!("Failed; c: Error(2) unready 0; {ended}"));
}

#[test]
fn a_crashing_container_waits_with_its_last_end_beside_it() {
    let state = "sandbox: ready, containers: {c: [exited 1, exited 2]}, waiting: {c: CrashLoopBackOff}";
    check(C, state, "Running; c: CrashLoopBackOff last(2) unready 1; !Ready; !ContainersReady");
}

#[test]
fn a_failed_init_container_keeps_the_pod_pending_or_fails_it() {
    let pending = "!Initialized; !Ready; !ContainersReady";
    check(
        INIT,
        "sandbox: ready, containers: {i: [exited 1]}",
        &format!("Pending; i: Error(1) unready 0; c: PodInitializing unready 0; {pending}"),
    );
    check(
        &format!("restartPolicy: Never, {INIT}"),
        "sandbox: ready, containers: {i: [exited 1]}",
        &format!("Failed; i: Error(1) unready 0; c: PodInitializing unready 0; {pending}"),
    );
}

#[test]
fn probes_decide_what_is_ready() {
    let probed = "containers: [{name: c, image: i, readinessProbe: {exec: {command: [a]}}}]";
    let state = "sandbox: ready, containers: {c: [running]}";
    check(probed, state, "Running; c: Running ready 0");
    check(
        probed,
        &format!("{state}, not_ready: [c]"),
        "Running; c: Running unready 0; !Ready; !ContainersReady",
    );
}

#[test]
fn conditions_say_why_in_upstreams_words() {
    let status = told(
        "{metadata: {}, spec: {readinessGates: [{conditionType: example.com/gate}], containers: [{name: c, image: i}]}}",
        "sandbox: ready, containers: {c: [running]}",
    );
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(ready.reason.as_deref(), Some("ReadinessGatesNotReady"));
    let expected = "corresponding condition of pod readiness gate \"example.com/gate\" does not exist.";
    assert_eq!(ready.message.as_deref(), Some(expected));
    let status = told("{metadata: {}, spec: {containers: [{name: c, image: i}]}}", "");
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(ready.reason.as_deref(), Some("ContainersNotReady"));
    assert_eq!(ready.message.as_deref(), Some("containers with unready status: [c]"));
}

#[test]
fn times_of_conditions_change_only_with_their_status() {
    let old =
        "status: {conditions: [{type: Ready, status: 'True', lastTransitionTime: '1970-01-01T00:00:05Z'}]}";
    let given = format!("{{metadata: {{}}, spec: {{{C}}}, {old}}}");
    let since = |given_state: &str| {
        let status = told(&given, given_state);
        let ready = status.conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
        ready.unwrap().last_transition_time.unwrap().0
    };
    assert_eq!(since("sandbox: ready, containers: {c: [running]}"), at(5));
    assert_eq!(since("sandbox: ready"), at(100));
}

#[test]
fn what_containers_were_given_is_told_until_they_have_what_they_ask_for() {
    let told = |cpu: &str, more: &str| {
        let pod = format!(
            "{{metadata: {{}}, spec: {{containers: [{{name: c, resources: {{requests: {{cpu: {cpu}}}}}}}]}}}}"
        );
        let status = told(
            &pod,
            &format!(
                r#"sandbox: ready, containers: {{c: [running]}}, given: {{c: '{{"requests":{{"cpu":"1"}}}}'}}{more}"#
            ),
        );
        let shown = status.container_statuses.unwrap().remove(0).resources.unwrap().requests.unwrap();
        let passing = status.conditions.unwrap().into_iter().find(|one| one.type_.starts_with("PodResize"));
        let passing = passing.map(|one| (one.type_, one.reason.unwrap_or_default()));
        (shown["cpu"].0.clone(), passing)
    };
    let passing = |kind: &str, reason: &str| Some((kind.to_owned(), reason.to_owned()));
    assert_eq!(told("'1'", ""), ("1".to_owned(), None));
    assert_eq!(told("500m", ""), ("1".to_owned(), passing("PodResizeInProgress", "")));
    assert_eq!(told("'3'", ""), ("1".to_owned(), passing("PodResizePending", "Infeasible")));
    let waits = ", deferred: no room";
    assert_eq!(told("'2'", waits), ("1".to_owned(), passing("PodResizePending", "Deferred")));
    assert_eq!(told("'3'", waits), ("1".to_owned(), passing("PodResizePending", "Infeasible")));
}

#[test]
fn ephemeral_containers_are_told_of_and_change_nothing() {
    let spec = "{metadata: {}, spec: {containers: [{name: c, image: i}], ephemeralContainers: [{name: e, image: i}]}}";
    let status = told(spec, "sandbox: ready, containers: {c: [running], e: [exited 3]}");
    assert_eq!(short(&status), "Running; c: Running ready 0");
    let guest = status.ephemeral_container_statuses.unwrap().remove(0);
    assert_eq!((guest.name.as_str(), guest.ready, guest.started), ("e", false, None));
    assert_eq!(guest.state.unwrap().terminated.unwrap().exit_code, 3);
}

#[test]
fn a_pod_that_is_put_out_says_why_at_once_and_that_it_failed_when_nothing_runs_any_more() {
    let given = format!("{{metadata: {{}}, spec: {{{C}}}}}");
    let target = |status: &PodStatus| {
        let found =
            status.conditions.iter().flatten().find(|condition| condition.type_ == "DisruptionTarget");
        found.map(|condition| (condition.reason.clone().unwrap(), condition.message.clone().unwrap()))
    };
    let why = Some(("TerminationByKubelet".to_owned(), "The node was low. ".to_owned()));
    let ending = told(&given, "sandbox: ready, containers: {c: [running]}, evicted: 0");
    assert_eq!((ending.phase.as_deref(), ending.reason.as_deref()), (Some("Running"), None));
    assert_eq!(target(&ending), why);
    let ended = told(&given, "containers: {c: [exited 0]}, evicted: 0");
    assert_eq!((ended.phase.as_deref(), ended.reason.as_deref()), (Some("Failed"), Some("Evicted")));
    assert_eq!((ended.message.as_deref(), target(&ended)), (Some("The node was low. "), why));
}

#[test]
fn a_pod_has_not_ended_before_its_devices_were_taken_back() {
    let pod = "{metadata: {}, spec: {restartPolicy: Never, containers: [{name: c, image: i}], \
               resourceClaims: [{name: d, resourceClaimName: d}]}, status: {phase: Running}}";
    let phase = |pod: &str, given: &str| told(pod, given).phase.unwrap();
    let exited = "containers: {c: [exited 0]}";
    assert_eq!(phase(pod, &format!("volumes: mounted, {exited}")), "Running");
    assert_eq!(phase(pod, &format!("volumes: removed, {exited}")), "Succeeded");
    assert_eq!(phase(&pod.replace("Running", "Failed"), &format!("volumes: mounted, {exited}")), "Failed");
    let evicted = told(pod, &format!("volumes: mounted, {exited}, evicted: 0"));
    assert_eq!((evicted.phase.as_deref(), evicted.reason), (Some("Running"), None));
}

#[test]
fn how_removed_containers_of_an_ended_pod_ended_is_remembered() {
    let ended = "{name: c, image: i, imageID: '', ready: false, restartCount: 3, state: {terminated: {exitCode: 7, reason: Error}}}";
    let given =
        format!("{{metadata: {{}}, spec: {{{C}}}, status: {{phase: Failed, containerStatuses: [{ended}]}}}}");
    let ended = "!PodReadyToStartContainers; !Ready; !ContainersReady";
    assert_eq!(short(&told(&given, "")), format!("Failed; c: Error(7) unready 3; {ended}"));
}
