//! Sets simulated look by look: names are dense, order is kept, renewal goes from the end.

use serde_json::{Value, json};

use super::*;

fn set(replicas: i32, more: &Value) -> StatefulSet {
    let mut value = json!({"metadata": {"name": "db", "namespace": "blue", "uid": "s", "generation": 1},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "db"}}, "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c"}]}}}});
    json_patch::merge(&mut value["spec"], more);
    serde_json::from_value(value).unwrap()
}

fn pod(n: i32, revision: &str, ready: bool) -> Seen {
    let ready = if ready { "True" } else { "False" };
    let value = json!({"metadata": {"name": format!("db-{n}"), "labels": {"controller-revision-hash": revision}},
        "spec": {"containers": []}, "status": {"phase": "Running", "conditions":
        [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-11-22T10:00:00Z"}]}});
    Seen::of(&serde_json::from_value(value).unwrap())
}

/// Ordinals made, and names ended.
fn next(set: &StatefulSet, pods: &[Seen]) -> (Vec<i32>, Vec<String>) {
    let plan = plan(set, pods, "old", "new", "2026-11-22T10:05:00Z".parse().unwrap());
    let delete = plan.delete.iter().map(|pod| pod.name().to_owned()).collect();
    (plan.create.into_iter().map(|(n, _)| n).collect(), delete)
}

const NOBODY: [&str; 0] = [];

#[test]
fn one_after_the_other_each_once_the_one_before_is_well() {
    let three = set(3, &json!({}));
    assert_eq!(next(&three, &[]).0, [0]);
    assert!(next(&three, &[pod(0, "new", false)]).0.is_empty());
    assert_eq!(next(&three, &[pod(0, "new", true)]).0, [1]);
    assert_eq!(next(&three, &[pod(0, "new", true), pod(2, "new", true)]).0, [1]);
    let parallel = set(3, &json!({"podManagementPolicy": "Parallel", "ordinals": {"start": 5}}));
    assert_eq!(next(&parallel, &[]).0, [5, 6, 7]);
}

#[test]
fn the_last_goes_first_and_only_while_the_others_are_well() {
    let all: Vec<_> = (0..3).map(|n| pod(n, "new", true)).collect();
    assert_eq!(next(&set(1, &json!({})), &all).1, ["db-2"]);
    let ill = [pod(0, "new", false), pod(1, "new", true)];
    assert_eq!(next(&set(1, &json!({})), &ill).1, NOBODY);
    assert_eq!(next(&set(0, &json!({"podManagementPolicy": "Parallel"})), &all).1, ["db-2", "db-1", "db-0"]);
}

#[test]
fn several_ill_ones_stop_the_way_down() {
    let ill: Vec<_> = (0..3).map(|n| pod(n, "new", false)).collect();
    assert_eq!(next(&set(0, &json!({})), &ill).1, NOBODY);
    let only_the_last = [pod(0, "new", true), pod(1, "new", true), pod(2, "new", false)];
    assert_eq!(next(&set(0, &json!({})), &only_the_last).1, ["db-2"]);
    assert_eq!(next(&set(0, &json!({"podManagementPolicy": "Parallel"})), &ill).1, ["db-2", "db-1", "db-0"]);
}

#[test]
fn renewal_goes_down_to_the_partition() {
    let old: Vec<_> = (0..3).map(|n| pod(n, "old", true)).collect();
    assert_eq!(next(&set(3, &json!({})), &old).1, ["db-2"]);
    let half = [pod(0, "old", true), pod(1, "old", true), pod(2, "new", true)];
    assert_eq!(next(&set(3, &json!({})), &half).1, ["db-1"]);
    let cut = json!({"updateStrategy": {"rollingUpdate": {"partition": 2}}});
    assert_eq!(next(&set(3, &cut), &half).1, NOBODY);
    let made = plan(&set(3, &cut), &half[1..], "old", "new", "2026-11-22T10:05:00Z".parse().unwrap());
    assert_eq!(made.create, [(0, true)], "below the partition the old template counts");
    let two = json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}});
    assert_eq!(next(&set(3, &two), &old).1, ["db-2", "db-1"]);
    // A share is rounded down, but one may always be renewed.
    let share = |share: &str| json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": share}}});
    assert_eq!(next(&set(3, &share("50%")), &old).1, ["db-2"]);
    assert_eq!(next(&set(3, &share("1%")), &old).1, ["db-2"]);
    assert_eq!(next(&set(3, &share("70%")), &old).1, ["db-2", "db-1"]);
    assert_eq!(next(&set(3, &json!({"updateStrategy": {"type": "OnDelete"}})), &old).1, NOBODY);
    // The partition counts from the first ordinal, whatever its number.
    let late = json!({"ordinals": {"start": 5}, "updateStrategy": {"rollingUpdate": {"partition": 2}}});
    let old: Vec<_> = (5..8).map(|n| pod(n, "old", true)).collect();
    assert_eq!(next(&set(3, &late), &old).1, ["db-7"]);
    let all_but_last = [pod(5, "old", true), pod(6, "old", true), pod(7, "new", true)];
    assert_eq!(next(&set(3, &late), &all_but_last).1, NOBODY);
}

#[test]
fn the_status_turns_over_when_all_are_new() {
    let all: Vec<_> = (0..2).map(|n| pod(n, "new", true)).collect();
    let status =
        plan(&set(2, &json!({})), &all, "old", "new", "2026-11-22T10:05:00Z".parse().unwrap()).status;
    assert_eq!(status.current_revision.as_deref(), Some("new"));
    assert_eq!((status.ready_replicas, status.current_replicas), (Some(2), Some(2)));
}
