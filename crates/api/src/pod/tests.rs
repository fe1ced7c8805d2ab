//! Pods given as JSON.

use serde_json::json;

use super::*;

fn ready(status: &str, since: &str) -> Pod {
    serde_json::from_value(json!({"status": {"phase": "Running", "conditions": [
        {"type": "Ready", "status": status, "lastTransitionTime": since}]}}))
    .unwrap()
}

#[test]
fn a_pod_is_available_once_it_was_ready_for_long_enough() {
    let now: Timestamp = "2026-11-22T10:00:30Z".parse().unwrap();
    let pod = ready("True", "2026-11-22T10:00:20Z");
    assert_eq!(is_available(&pod, 0, now), Ok(()));
    assert_eq!(is_available(&pod, 10, now), Ok(()));
    assert_eq!(is_available(&pod, 15, now), Err(SignedDuration::from_secs(5)));
    assert_eq!(is_available(&ready("False", "2026-11-22T10:00:20Z"), 0, now), Err(SignedDuration::ZERO));
}

#[test]
fn a_pod_being_deleted_or_finished_is_not_active() {
    let mut pod = ready("True", "2026-11-22T10:00:20Z");
    assert!(is_active(&pod));
    pod.status.as_mut().unwrap().phase = Some("Failed".into());
    assert!(!is_active(&pod) && is_finished(&pod));
}

#[test]
fn addresses_come_from_the_list_or_else_the_single_field() {
    let of = |status| {
        let pod: Pod = serde_json::from_value(json!({ "status": status })).unwrap();
        addresses(&pod).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of(json!({"podIP": "10.0.0.1"})), ["10.0.0.1"]);
    assert_eq!(
        of(json!({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]})),
        ["10.0.0.1", "fd00::1"]
    );
    assert!(of(json!({"podIPs": []})).is_empty());
}
