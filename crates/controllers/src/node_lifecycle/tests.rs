//! Nodes given as JSON; the clock is paused.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

fn node(ready: &str, spec: Value) -> Node {
    serde_json::from_value(json!({"metadata": {"name": "one"}, "spec": spec, "status": {"conditions": [
        {"type": "Ready", "status": ready, "lastHeartbeatTime": "2026-11-22T10:00:00Z"}]}}))
    .unwrap()
}

fn now() -> Timestamp {
    "2026-11-22T10:01:00Z".parse().unwrap()
}

/// The taints a node should have; `-` if they are so already.
fn tainted(node: &Node) -> Vec<String> {
    match plan::taints(node, now()) {
        None => vec!["-".to_owned()],
        Some(taints) => {
            taints.iter().map(|t| format!("{}:{}", t.key.rsplit('/').next().unwrap(), t.effect)).collect()
        }
    }
}

#[test]
fn taints_follow_conditions_and_leave_others_alone() {
    assert_eq!(tainted(&node("True", json!({}))), ["-"]);
    assert_eq!(tainted(&node("False", json!({}))), ["not-ready:NoSchedule", "not-ready:NoExecute"]);
    let spec = json!({"unschedulable": true, "taints": [{"key": "own/gpu", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]});
    assert_eq!(tainted(&node("True", spec)), ["gpu:NoSchedule", "unschedulable:NoSchedule"]);
    let unknown =
        node("Unknown", json!({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]}));
    assert_eq!(tainted(&unknown), ["unreachable:NoSchedule", "unreachable:NoExecute"]);
}

#[test]
fn a_silent_node_is_in_doubt_in_all_it_reported() {
    let conditions = plan::silenced(&node("True", json!({})), now()).unwrap();
    let shown: Vec<String> = conditions
        .iter()
        .map(|c| format!("{} {} {}", c.type_, c.status, c.reason.as_deref().unwrap()))
        .collect();
    assert_eq!(shown[0], "Ready Unknown NodeStatusUnknown");
    assert_eq!(shown[3], "PIDPressure Unknown NodeStatusNeverUpdated");
    let mut silent = node("True", json!({}));
    silent.status.as_mut().unwrap().conditions = Some(conditions);
    assert_eq!(plan::silenced(&silent, now()), None);
}

#[tokio::test(start_paused = true)]
async fn silence_is_counted_from_the_last_sign_that_was_seen() {
    let heartbeats = Heartbeats::default();
    let sign = |second| Sign { lease: Timestamp::from_second(second).ok(), status: None };
    let pause = || tokio::time::advance(Duration::from_secs(30));
    heartbeats.since("one", sign(1));
    pause().await;
    assert_eq!(heartbeats.since("one", sign(1)).elapsed().as_secs(), 30);
    assert_eq!(heartbeats.since("one", sign(2)).elapsed().as_secs(), 0);
    pause().await;
    pause().await;
    assert_eq!(heartbeats.since("one", sign(2)).elapsed().as_secs(), 60);
    heartbeats.forget("one");
    assert_eq!(heartbeats.since("one", sign(2)).elapsed().as_secs(), 0);
}
