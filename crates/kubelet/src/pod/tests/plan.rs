//! Which steps follow from what was seen, by table.

use super::super::plan::{Plan, Step, plan};
use super::{at, pod, state};

const ONE: &str = "{metadata: {}, spec: {containers: [{name: c}]}}";
const NEVER: &str = "{metadata: {}, spec: {restartPolicy: Never, containers: [{name: c}]}}";
const INIT: &str = "{metadata: {}, spec: {initContainers: [{name: i}], containers: [{name: c}]}}";
const SIDECAR: &str = "{metadata: {}, spec: {restartPolicy: Never, initContainers: [{name: s, restartPolicy: Always}], containers: [{name: c}]}}";
const GOING: &str = "{metadata: {deletionTimestamp: '1970-01-01T00:00:00Z', deletionGracePeriodSeconds: 7}, spec: {containers: [{name: c}]}}";
const UP: &str = "sandbox: ready, volumes: mounted";

fn short(step: &Step) -> String {
    match step {
        Step::Mount => "mount".to_owned(),
        Step::PrepareDevices => "devices".to_owned(),
        Step::RunSandbox { attempt } => format!("sandbox {attempt}"),
        Step::SandboxChanged => "changed".to_owned(),
        Step::Prepare { name } => format!("prepare {name}"),
        Step::Start { name, attempt } => format!("start {name} {attempt}"),
        Step::Kill { name, grace, .. } => format!("kill {name} {}s", grace.as_secs()),
        Step::Resize { names } => format!("resize {}", names.join(" ")),
        Step::RemoveContainer { id, .. } => format!("forget {id}"),
        Step::StopSandbox { .. } => "stop sandbox".to_owned(),
        Step::Unmount => "unmount".to_owned(),
        Step::Delete => "delete".to_owned(),
        Step::Remove => "remove".to_owned(),
    }
}

fn planned(given_pod: &str, given_state: &str) -> Plan {
    let given_state = given_state.replace("UP", UP);
    plan(&pod(given_pod), &state(&format!("{{{given_state}}}")), at(100))
}

#[track_caller]
fn check(given_pod: &str, given_state: &str, expected: &str) {
    let steps: Vec<String> = planned(given_pod, given_state).steps.iter().map(short).collect();
    assert_eq!(steps.join(", "), expected, "given {given_state}");
}

#[test]
fn groundwork_and_images_go_side_by_side() {
    check(ONE, "", "mount, sandbox 0, prepare c");
    check(ONE, "UP", "prepare c");
    check(ONE, "prepared: [c], sandbox: ready", "mount");
    check(ONE, "UP, prepared: [c]", "start c 0");
    check(ONE, "UP, containers: {c: [running]}", "");
}

#[test]
fn devices_are_prepared_before_the_sandbox_and_taken_back_after_it() {
    let claims = "resourceClaims: [{name: d, resourceClaimName: d}]";
    let with =
        |pod: &str| pod.replace("containers: [{name: c}]", &format!("containers: [{{name: c}}], {claims}"));
    check(&with(ONE), "", "mount, devices, prepare c");
    check(&with(ONE), "devices: preparing, volumes: mounted", "prepare c");
    check(&with(ONE), "devices: prepared, volumes: mounted", "sandbox 0, prepare c");
    // A kubelet that began anew finds the sandbox there.
    check(&with(ONE), "UP, containers: {c: [exited 1]}", "prepare c");
    check(&with(ONE), "sandbox: dead, volumes: mounted, containers: {c: [exited 1]}", "devices, prepare c");
    check(&with(GOING), "UP, devices: prepared, containers: {c: [exited 0]}", "stop sandbox");
    check(&with(GOING), "sandbox: dead, devices: prepared, containers: {c: [exited 0]}", "unmount");
    check(&with(GOING), "devices: preparing", "");
    check(&with(GOING), "volumes: removed", "delete, remove");
}

#[test]
fn devices_that_are_counted_come_first_too() {
    let counts = ONE.replace("{name: c}", "{name: c, resources: {limits: {x.test/card: 1}}}");
    check(&counts, "", "mount, devices, prepare c");
    check(&counts, "devices: prepared", "mount, sandbox 0, prepare c");
    let native = ONE.replace("{name: c}", "{name: c, resources: {limits: {cpu: 1, a.kubernetes.io/b: 1}}}");
    check(&native, "", "mount, sandbox 0, prepare c");
}

#[test]
fn init_containers_run_one_after_the_other() {
    check(INIT, "UP", "prepare i");
    check(INIT, "UP, containers: {i: [running]}", "");
    check(INIT, "UP, containers: {i: [exited 0]}", "prepare c");
    check(INIT, "UP, containers: {i: [exited 1]}", "prepare i");
    // Once a main container was there, they are history.
    check(INIT, "UP, containers: {c: [exited 1]}", "prepare c");
}

#[test]
fn sidecars_start_first_and_end_last() {
    check(SIDECAR, "UP", "prepare s");
    check(SIDECAR, "UP, containers: {s: [running]}, not_started: [s]", "");
    check(SIDECAR, "UP, containers: {s: [running]}", "prepare c");
    check(SIDECAR, "UP, containers: {s: [exited 1], c: [running]}", "prepare s");
    check(SIDECAR, "UP, containers: {s: [running], c: [exited 0]}", "kill s 30s");
    check(SIDECAR, "UP, containers: {s: [exited 0], c: [exited 0]}", "stop sandbox, unmount");
}

#[test]
fn restart_policy_says_who_runs_again() {
    check(ONE, "UP, containers: {c: [exited 0]}", "prepare c");
    check(NEVER, "UP, containers: {c: [exited 1]}", "stop sandbox, unmount");
    let on_failure = NEVER.replace("Never", "OnFailure");
    check(&on_failure, "UP, containers: {c: [exited 1]}", "prepare c");
    check(&on_failure, "UP, containers: {c: [exited 0]}", "stop sandbox, unmount");
}

#[test]
fn a_pod_that_the_node_puts_out_ends_no_later_than_it_says() {
    check(ONE, "UP, containers: {c: [running]}, evicted: 0", "kill c 1s");
    check(ONE, "UP, containers: {c: [running]}, evicted: 7", "kill c 7s");
    check(ONE, "UP, containers: {c: [running]}, evicted: 90", "kill c 30s");
    check(ONE, "UP, containers: {c: [exited 137]}, evicted: 0", "stop sandbox, unmount");
    check(ONE, "evicted: 0", "unmount");
}

#[test]
fn restarts_wait_ten_seconds_doubling_to_five_minutes() {
    for (times, waits) in
        [("[90]", Some(10)), ("[80, 90]", Some(20)), ("[50, 60, 70, 80, 90, 95]", Some(300)), ("[]", None)]
    {
        let plan = planned(ONE, &format!("UP, containers: {{c: [exited 1 @95]}}, restarted: {{c: {times}}}"));
        assert_eq!(plan.wake_at, waits.map(|seconds| at(95 + seconds)), "{times}");
        let reason = plan.waiting.first().map(|(_, waiting)| waiting.reason.as_str());
        assert_eq!(reason, waits.map(|_| "CrashLoopBackOff"));
    }
    let plan = planned(ONE, "UP, containers: {c: [exited 1 @95]}, restarted: {c: [60, 70, 80, 90]}");
    let expected = "back-off 1m20s restarting failed container=c pod=p_default(u)";
    assert_eq!(plan.waiting[0].1.message, expected);
    // It ran for ten minutes since: the count starts over.
    let calm = "UP, containers: {c: [exited 1 @99]}, restarted: {c: [-900, -800]}";
    check(ONE, calm, "prepare c");
}

#[test]
fn a_dead_sandbox_is_replaced_when_its_containers_are_dead_too() {
    check(ONE, "sandbox: dead, volumes: mounted, containers: {c: [running]}", "");
    check(
        ONE,
        "sandbox: dead, volumes: mounted, containers: {c: [exited 137]}",
        "changed, sandbox 1, prepare c",
    );
}

#[test]
fn a_deleted_pod_ends_in_order() {
    check(GOING, "UP, containers: {c: [running]}", "kill c 7s");
    check(GOING, "UP, containers: {c: [exited 0]}", "stop sandbox, unmount");
    check(GOING, "sandbox: dead, containers: {c: [exited 0]}", "unmount");
    check(GOING, "sandbox: dead, volumes: removed, containers: {c: [exited 0]}", "delete, remove");
    check(GOING, "volumes: removed, gone: true", "remove");
    check(GOING, "", "unmount");
}

#[test]
fn old_attempts_are_forgotten_and_unhealthy_ones_killed() {
    check(ONE, "UP, containers: {c: [exited 1, exited 1, exited 1, running]}", "forget c1, forget c0");
    check(ONE, "UP, containers: {c: [running]}, unhealthy: {c: why}", "kill c 30s");
}

#[test]
fn a_pod_that_outlives_its_deadline_is_over() {
    let limited = "{metadata: {}, spec: {activeDeadlineSeconds: 60, containers: [{name: c}]}}";
    let plan = planned(limited, "UP, containers: {c: [running]}");
    assert_eq!(plan.verdict.map(|verdict| verdict.reason).as_deref(), Some("DeadlineExceeded"));
    assert_eq!(plan.steps.iter().map(short).collect::<Vec<_>>(), ["kill c 30s"]);
    let later = planned(&limited.replace("60", "160"), "UP, containers: {c: [running]}");
    assert_eq!((later.wake_at, later.steps.len()), (Some(at(160)), 0));
}

#[test]
fn an_ephemeral_container_starts_once_beside_whatever_goes_on() {
    let guest = "{metadata: {}, spec: {initContainers: [{name: i}], containers: [{name: c}], ephemeralContainers: [{name: e}]}}";
    check(guest, "UP", "prepare e, prepare i");
    check(guest, "UP, prepared: [e], containers: {i: [running]}", "start e 0");
    check(guest, "UP, containers: {c: [running], e: [exited 1]}", "");
    let gone = guest.replace("{metadata: {}", "{metadata: {deletionTimestamp: '1970-01-01T00:00:00Z'}");
    check(&gone, "UP, containers: {c: [running], e: [running]}", "kill c 30s, kill e 30s");
}

#[test]
fn running_containers_get_what_they_may_use_now() {
    let wants = |policy: &str, cpu: &str| {
        format!(
            "{{metadata: {{}}, spec: {{containers: [{{name: c, resources: {{requests: {{cpu: {cpu}}}}}{policy}}}]}}}}"
        )
    };
    let (plain, anew) = ("", ", resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]");
    let given = r#"UP, containers: {c: [running]}, given: {c: '{"requests":{"cpu":"1"}}'}"#;
    check(&wants(plain, "'1'"), given, "");
    check(&wants(plain, "500m"), given, "resize c");
    check(&wants(plain, "'2'"), &given.replace("given:", "deferred: no room, given:"), "");
    check(&wants(anew, "500m"), given, "kill c 30s");
    // More than the node has.
    check(&wants(plain, "'3'"), given, "");
    check(&wants(plain, "500m"), &given.replace("[running]", "[exited 1]"), "prepare c");
}
