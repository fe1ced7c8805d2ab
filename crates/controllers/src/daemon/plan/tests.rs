//! Sets, nodes and pods in JSON, and what is to be done.

use serde_json::{Value, json};

use super::*;

fn set(more: &Value) -> DaemonSet {
    let mut value = json!({"metadata": {"name": "agent", "namespace": "blue", "uid": "d", "generation": 2},
        "spec": {"selector": {"matchLabels": {"app": "agent"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "c"}]}}}});
    json_patch::merge(&mut value["spec"], more);
    serde_json::from_value(value).unwrap()
}

fn node(name: &str, taint: Option<(&str, &str)>) -> Arc<Object> {
    let taints: Vec<Value> =
        taint.iter().map(|(key, effect)| json!({"key": key, "effect": effect})).collect();
    let value = json!({"metadata": {"name": name, "labels": {"disk": name}}, "spec": {"taints": taints}});
    Arc::new(Object::parse(value.to_string().into()).unwrap())
}

fn pod(name: &str, node: &str, hash: &str, ready: bool) -> Seen {
    let ready = if ready { "True" } else { "False" };
    let value = json!({"metadata": {"name": name, "labels": {"controller-revision-hash": hash}},
        "spec": {"nodeName": node, "containers": []}, "status": {"phase": "Running", "conditions":
        [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-11-22T10:00:00Z"}]}});
    Seen::of(&serde_json::from_value(value).unwrap())
}

fn planned(set: &DaemonSet, pods: &[Seen], nodes: &[Arc<Object>]) -> (String, String, Plan) {
    let plan = plan(set, pods, nodes, "new", &|_| None, "2026-11-22T10:05:00Z".parse().unwrap());
    let gone: Vec<String> = plan.delete.iter().map(|pod| pod.name().to_owned()).collect();
    (plan.create.join(" "), gone.join(" "), plan)
}

#[test]
fn every_node_that_suits_gets_one() {
    let nodes = [
        node("a", None),
        node("cordoned", Some(("node.kubernetes.io/unschedulable", "NoSchedule"))),
        node("gpu", Some(("gpu", "NoSchedule"))),
        node("evil", Some(("evil", "NoExecute"))),
    ];
    let pods = [pod("p1", "gpu", "new", true), pod("p2", "evil", "new", true)];
    let (create, delete, plan) = planned(&set(&json!({})), &pods, &nodes);
    assert_eq!((create.as_str(), delete.as_str()), ("a cordoned", "p2"));
    assert_eq!((plan.status.desired_number_scheduled, plan.status.number_misscheduled), (2, 2));
    let picky = set(&json!({"template": {"spec": {"nodeSelector": {"disk": "a"}}}}));
    assert_eq!(planned(&picky, &[], &nodes).0, "a");
}

#[test]
fn a_pod_that_ended_goes_before_the_next_comes_and_failed_ones_not_too_fast() {
    let mut failed = Pod::clone(&pod("p1", "a", "new", true).decode().unwrap());
    failed.status = serde_json::from_value(json!({"phase": "Failed"})).unwrap();
    let (nodes, pods) = ([node("a", None)], [Seen::of(&failed)]);
    let (create, delete, now) = planned(&set(&json!({})), &pods, &nodes);
    assert_eq!((create.as_str(), delete.as_str()), ("", "p1"));
    assert_eq!((now.ended[0].node.as_str(), now.ended[0].failed), ("a", true));
    let wait = SignedDuration::from_secs(4);
    let held = plan(&set(&json!({})), &pods, &nodes, "new", &|_| Some(wait), Timestamp::UNIX_EPOCH);
    assert!(held.delete.is_empty() && held.create.is_empty());
    assert_eq!(held.wait, Some(wait));
}

#[test]
fn a_pod_that_was_meant_for_a_node_that_is_gone_goes() {
    let mut meant = Pod::clone(&pod("p1", "", "new", false).decode().unwrap());
    bind_to(&mut meant, "gone");
    let (nodes, pods) = ([node("a", None)], [pod("p0", "a", "new", true), Seen::of(&meant)]);
    let (create, delete, _) = planned(&set(&json!({})), &pods, &nodes);
    assert_eq!((create.as_str(), delete.as_str()), ("", "p1"));
}

#[test]
fn old_pods_go_one_by_one_and_idle_ones_at_once() {
    let nodes = [node("a", None), node("b", None), node("c", None)];
    let all = [pod("p1", "a", "old", true), pod("p2", "b", "old", true), pod("p3", "c", "new", true)];
    assert_eq!(planned(&set(&json!({})), &all, &nodes).1, "p1");
    let idle = [pod("p1", "a", "old", true), pod("p2", "b", "old", false), pod("p3", "c", "new", true)];
    assert_eq!(planned(&set(&json!({})), &idle, &nodes).1, "p2");
    let manual = set(&json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}));
    assert_eq!(planned(&manual, &all, &nodes).1, "");
}

#[test]
fn with_surge_an_old_pod_goes_when_the_new_one_beside_it_is_well() {
    let nodes = [node("a", None), node("b", None)];
    let surge = json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}});
    let surge = set(&surge);
    let old = [pod("p1", "a", "old", true), pod("p2", "b", "old", true)];
    let (create, delete, _) = planned(&surge, &old, &nodes);
    assert_eq!((create.as_str(), delete.as_str()), ("a", ""));
    let beside = [old[0].clone(), old[1].clone(), pod("p3", "a", "new", false)];
    let (create, delete, _) = planned(&surge, &beside, &nodes);
    assert_eq!((create.as_str(), delete.as_str()), ("", ""));
    let well = [old[0].clone(), old[1].clone(), pod("p3", "a", "new", true)];
    let (create, delete, _) = planned(&surge, &well, &nodes);
    assert_eq!((create.as_str(), delete.as_str()), ("b", "p1"));
}

#[test]
fn a_pod_is_pinned_to_its_node_and_bears_its_troubles() {
    let mut given: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {"containers": []}})).unwrap();
    bind_to(&mut given, "a");
    assert_eq!(node_of(&Seen::of(&given)), Some("a"));
    assert_eq!(given.spec.unwrap().tolerations.unwrap().len(), 6);
}
