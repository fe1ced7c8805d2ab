//! What a hollow kubelet does about a pod: a pure plan from the pod and the time to one step.

use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// How long the pod's containers run before they succeed, in seconds; without it they run for ever.
pub const RUN_FOR: &str = "hollow.skiff.dev/run-for-seconds";

/// What is next for a pod.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing, until it changes.
    Rest,
    /// Write this status.
    Report(Value),
    /// Look again after so long.
    Later(Duration),
    /// Its containers are gone: let it go.
    LetGo,
}

/// Where a pod is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) host: Ipv4Addr,
    pub(crate) pod: Ipv4Addr,
}

/// The next step for a pod that is bound to one of our nodes.
pub(crate) fn plan(pod: &Pod, addresses: impl FnOnce() -> Addresses, now: Timestamp) -> Step {
    if pod.metadata.deletion_timestamp.is_some() {
        return Step::LetGo;
    }
    let status = pod.status.as_ref();
    match status.and_then(|status| status.phase.as_deref()).unwrap_or("Pending") {
        "Pending" => Step::Report(running(pod, addresses(), now)),
        "Running" => {
            let started = status.and_then(|status| status.start_time.as_ref()).map_or(now, |time| time.0);
            match run_for(pod) {
                None => Step::Rest,
                Some(length) => match Duration::try_from(started + length - now) {
                    Ok(left) if !left.is_zero() => Step::Later(left),
                    // Over, or over for longer than a duration can say.
                    _ => Step::Report(finished(pod, started, now)),
                },
            }
        }
        _ => Step::Rest,
    }
}

fn run_for(pod: &Pod) -> Option<jiff::SignedDuration> {
    let seconds = pod.metadata.annotations.as_ref()?.get(RUN_FOR)?.parse().ok()?;
    Some(jiff::SignedDuration::from_secs(seconds))
}

fn condition(kind: &str, holds: bool, reason: Option<&str>, now: Timestamp) -> Value {
    let status = if holds { "True" } else { "False" };
    json!({ "type": kind, "status": status, "reason": reason, "lastTransitionTime": now })
}

fn running(pod: &Pod, addresses: Addresses, now: Timestamp) -> Value {
    let kinds = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];
    let ip = addresses.pod.to_string();
    json!({
        "phase": "Running",
        "startTime": now,
        "hostIP": addresses.host,
        "hostIPs": [{ "ip": addresses.host }],
        "podIP": ip,
        "podIPs": [{ "ip": ip }],
        "conditions": kinds.map(|kind| condition(kind, true, None, now)),
        "containerStatuses": containers(pod, &json!({ "running": { "startedAt": now } }), true),
    })
}

fn finished(pod: &Pod, started: Timestamp, now: Timestamp) -> Value {
    let done = Some("PodCompleted");
    let ended = json!({ "terminated": {
        "exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": now,
    }});
    json!({
        "phase": "Succeeded",
        "conditions": [condition("Ready", false, done, now), condition("ContainersReady", false, done, now)],
        "containerStatuses": containers(pod, &ended, false),
    })
}

fn containers(pod: &Pod, state: &Value, up: bool) -> Vec<Value> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let status = |container: &k8s_openapi::api::core::v1::Container| {
        let image = container.image.as_deref().unwrap_or_default();
        json!({
            "name": container.name,
            "image": image,
            "imageID": format!("hollow://{image}"),
            "containerID": format!("hollow://{uid}/{}", container.name),
            "ready": up,
            "started": up,
            "restartCount": 0,
            "state": state,
        })
    };
    pod.spec.iter().flat_map(|spec| &spec.containers).map(status).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn step(extra: Value, now: i64) -> Step {
        let mut pod = json!({
            "metadata": { "name": "a", "uid": "u", "annotations": { RUN_FOR: "10" } },
            "spec": { "containers": [{ "name": "c", "image": "i" }] },
        });
        json_patch(&mut pod, extra);
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let addresses = Addresses { host: Ipv4Addr::new(198, 18, 0, 1), pod: Ipv4Addr::new(100, 64, 0, 1) };
        plan(&pod, || addresses, at(now))
    }

    fn json_patch(base: &mut Value, extra: Value) {
        for (field, value) in extra.as_object().unwrap() {
            match value {
                Value::Object(_) if base.get(field).is_some() => json_patch(&mut base[field], value.clone()),
                _ => base[field] = value.clone(),
            }
        }
    }

    #[test]
    fn a_bound_pod_runs_with_an_address() {
        let Step::Report(status) = step(json!({}), 5) else { panic!("no report") };
        assert_eq!((&status["phase"], &status["podIP"]), (&json!("Running"), &json!("100.64.0.1")));
        assert_eq!(status["containerStatuses"][0]["ready"], true);
    }

    #[test]
    fn a_pod_with_a_length_succeeds_when_it_is_over() {
        let running = json!({ "status": { "phase": "Running", "startTime": at(100) } });
        assert_eq!(step(running.clone(), 103), Step::Later(Duration::from_secs(7)));
        let Step::Report(status) = step(running, 110) else { panic!("no report") };
        assert_eq!(status["phase"], "Succeeded");
        assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["exitCode"], 0);
    }

    #[test]
    fn what_is_over_rests_and_what_is_deleted_goes() {
        assert_eq!(step(json!({ "status": { "phase": "Succeeded" } }), 0), Step::Rest);
        let deleted = json!({ "metadata": { "deletionTimestamp": at(1) }, "status": { "phase": "Running" } });
        assert_eq!(step(deleted, 2), Step::LetGo);
    }
}
