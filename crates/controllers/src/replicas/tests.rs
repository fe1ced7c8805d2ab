//! Plans for pods given as JSON.

use k8s_openapi::api::core::v1::ReplicationController;
use serde_json::{Value, json};
use skiff_api::LabelSelector;

use super::plan::{self, Failure, Plan};
use super::*;

fn controller(replicas: i32) -> ReplicationController {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "blue", "uid": "u", "generation": 4},
        "spec": {"replicas": replicas, "selector": {"app": "web"},
            "template": {"metadata": {"labels": {"app": "web", "tier": "front"}}}}}))
    .unwrap()
}

fn pod(name: &str, change: Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "blue", "uid": name, "labels": {"app": "web"},
            "creationTimestamp": "2026-11-22T10:00:00Z"},
        "spec": {"nodeName": name, "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True",
            "lastTransitionTime": "2026-11-22T10:01:00Z"}]}});
    json_patch::merge(&mut pod, &change);
    Arc::new(serde_json::from_value(pod).unwrap())
}

/// The order in which pods are given up.
fn order(pods: &[Arc<Pod>]) -> Vec<String> {
    match plan::plan(&controller(0), pods) {
        Plan::Delete(pods) => pods.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn missing_pods_are_made_and_a_controller_that_goes_makes_none() {
    assert!(matches!(plan::plan(&controller(3), &[pod("a", json!({}))]), Plan::Create(2)));
    assert!(matches!(plan::plan(&controller(1), &[pod("a", json!({}))]), Plan::Rest));
    let mut leaving = controller(3);
    leaving.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2026-11-22T10:00:00Z".parse().unwrap()));
    assert!(matches!(plan::plan(&leaving, &[]), Plan::Rest));
}

#[test]
fn the_least_useful_pods_go_first() {
    let pods = [
        pod("good", json!({})),
        pod(
            "cheap",
            json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}}),
        ),
        pod("unready", json!({"status": {"conditions": []}})),
        pod("pending", json!({"status": {"phase": "Pending", "conditions": []}})),
        pod("unplaced", json!({"spec": {"nodeName": null}, "status": {"phase": "Pending"}})),
    ];
    assert_eq!(order(&pods), ["unplaced", "pending", "unready", "cheap", "good"]);
}

#[test]
fn among_equals_the_crowded_the_youngest_and_the_restless_go_first() {
    let since = |time: &str| json!([{"type": "Ready", "status": "True", "lastTransitionTime": time}]);
    let crowded = json!({"spec": {"nodeName": "full"}});
    assert_eq!(order(&[pod("alone", json!({})), pod("x", crowded.clone()), pod("y", crowded)])[2], "alone");
    let late = json!({"status": {"conditions": since("2026-11-22T10:09:00Z")}});
    assert_eq!(order(&[pod("old", json!({})), pod("late", late)]), ["late", "old"]);
    let restless = json!({"status": {"containerStatuses": [{"name": "c", "restartCount": 3, "ready": true,
        "image": "", "imageID": ""}]}});
    assert_eq!(order(&[pod("calm", json!({})), pod("restless", restless)]), ["restless", "calm"]);
}

#[test]
fn the_status_counts_labels_readiness_and_failures() {
    let now = "2026-11-22T10:02:00Z".parse().unwrap();
    let pods = [
        pod("a", json!({"metadata": {"labels": {"tier": "front"}}})),
        pod("b", json!({"status": {"conditions": []}})),
    ];
    let mut web = controller(3);
    web.report(plan::tally(&web, &pods, 1, now), None);
    assert_eq!(
        serde_json::to_value(&web.status).unwrap(),
        json!({"replicas": 2, "fullyLabeledReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
            "observedGeneration": 4})
    );
    let failure = Failure { reason: "FailedCreate", message: "no".into() };
    let conditions = plan::conditions(web.conditions(), Some(&failure), now).unwrap();
    assert_eq!(
        (conditions[0].type_.as_str(), conditions[0].reason.as_deref()),
        ("ReplicaFailure", Some("FailedCreate"))
    );
}

#[test]
fn orphans_that_match_are_adopted_and_strangers_released() {
    let selector = LabelSelector::of_map(&controller(1).spec.unwrap().selector.unwrap());
    let owned = vec![pod("kept", json!({})), pod("stray", json!({"metadata": {"labels": {"app": "other"}}}))];
    let orphans = vec![pod("found", json!({})), pod("done", json!({"status": {"phase": "Succeeded"}}))];
    let names = |pods: &[Arc<Pod>]| pods.iter().map(|p| p.metadata.name.clone().unwrap()).collect::<Vec<_>>();
    let claims = adopt::claims(owned.clone(), orphans.clone(), &selector, false);
    assert_eq!(names(&claims.keep), ["kept"]);
    assert_eq!(names(&claims.adopt), ["found"]);
    assert_eq!(names(&claims.release), ["stray"]);
    let claims = adopt::claims(owned, orphans, &selector, true);
    assert!(claims.adopt.is_empty() && claims.release.is_empty());
}
