//! Plans for pods given as JSON.

use k8s_openapi::api::core::v1::ReplicationController;
use serde_json::{Value, json};
use skiff_api::LabelSelector;
use skiff_client::{Cache, Delta};

use super::flock::Flock;
use super::plan::{self, Failure, Plan};
use super::*;

fn controller(replicas: i32) -> ReplicationController {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "blue", "uid": "u", "generation": 4},
        "spec": {"replicas": replicas, "selector": {"app": "web"},
            "template": {"metadata": {"labels": {"app": "web", "tier": "front"}}}}}))
    .unwrap()
}

fn pod(name: &str, change: Value) -> Seen {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "blue", "uid": name, "labels": {"app": "web"},
            "creationTimestamp": "2026-11-22T10:00:00Z"},
        "spec": {"nodeName": name, "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True",
            "lastTransitionTime": "2026-11-22T10:01:00Z"}]}});
    json_patch::merge(&mut pod, &change);
    Seen::of(&serde_json::from_value(pod).unwrap())
}

fn flock(pods: &[Seen]) -> Flock {
    let mut flock = Flock::default();
    for pod in pods {
        flock.put(pod.name().into(), pod);
    }
    flock
}

/// The order in which pods are given up.
fn order(pods: &[Seen]) -> Vec<String> {
    match plan::plan(&controller(0), &flock(pods)) {
        Plan::Delete(pods) => pods.iter().map(|pod| pod.to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn missing_pods_are_made_and_a_controller_that_goes_makes_none() {
    assert!(matches!(plan::plan(&controller(3), &flock(&[pod("a", json!({}))])), Plan::Create(2)));
    assert!(matches!(plan::plan(&controller(1), &flock(&[pod("a", json!({}))])), Plan::Rest));
    let mut leaving = controller(3);
    leaving.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2026-11-22T10:00:00Z".parse().unwrap()));
    assert!(matches!(plan::plan(&leaving, &Flock::default()), Plan::Rest));
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
        pod("leaving", json!({"metadata": {"deletionTimestamp": "2026-11-22T10:00:00Z"}})),
        pod("done", json!({"status": {"phase": "Succeeded"}})),
    ];
    let mut web = controller(3);
    web.report(plan::tally(&web, &flock(&pods), now), None);
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
fn availability_comes_with_time() {
    let at = |time: &str| -> jiff::Timestamp { format!("2026-11-22T{time}Z").parse().unwrap() };
    let since = |time: &str| {
        let time = format!("2026-11-22T{time}Z");
        json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time}]}})
    };
    let flock =
        flock(&[pod("a", since("10:01:00")), pod("b", since("10:01:20")), pod("c", since("10:01:30"))]);
    let seconds = |wait: Option<jiff::SignedDuration>| wait.map(|wait| wait.as_secs());
    for (min_ready, now, available, wait) in [
        (0, "10:01:30", 3, None),
        (30, "10:01:30", 1, Some(20)),
        (30, "10:01:55", 2, Some(5)),
        (30, "10:02:00", 3, None),
    ] {
        let (count, next) = flock.available(min_ready, at(now));
        assert_eq!((count, seconds(next)), (available, wait), "at {now}");
    }
}

/// Pods that come, change and go one by one amount to the same as if all were counted anew.
#[test]
fn sums_carried_along_are_those_of_a_fresh_count() {
    let state = |n: u64| match n % 6 {
        0 => json!({}),
        1 => json!({"status": {"conditions": []}}),
        2 => json!({"metadata": {"deletionTimestamp": "2026-11-22T10:00:00Z"}}),
        3 => json!({"status": {"phase": "Failed"}}),
        4 => json!({"metadata": {"labels": {"tier": "front"}}}),
        _ => json!({"metadata": {"labels": {"app": "other"}}}),
    };
    let object = |name: &str, owner: &str, n: u64| {
        let mut pod = serde_json::to_value(&*pod(name, state(n)).decode().unwrap()).unwrap();
        pod["metadata"]["resourceVersion"] = n.to_string().into();
        pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ReplicationController",
            "name": "web", "uid": owner, "controller": true}]);
        Arc::new(skiff_api::Object::parse(pod.to_string().into()).unwrap())
    };
    let (flocks, cache) = (Arc::new(Flocks::default()), Cache::new(&[]));
    let noted = Arc::clone(&flocks);
    cache.subscribe(move |change| noted.note::<ReplicationController>(change));
    let web = controller(3);
    let selector = LabelSelector::of_map(&web.spec.as_ref().unwrap().selector.clone().unwrap());
    let now = "2026-11-22T10:02:00Z".parse().unwrap();
    let mut dice: u64 = 7;
    for n in 1..600 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (name, owner) = (format!("p{}", dice >> 33 & 15), ["u", "v"][(dice >> 40 & 1) as usize]);
        let held = cache.get(&format!("blue/{name}"));
        match held {
            Some(held) if dice >> 50 & 3 == 0 => cache.apply(Delta::Gone(held)),
            _ => cache.apply(Delta::Put(object(&name, owner, n * 6 + (dice >> 44 & 7)))),
        }
        if dice >> 55 & 3 != 0 {
            continue;
        }
        for uid in ["u", "v"] {
            let mut fresh = Flock::default();
            let own = cache.list().into_iter().filter(|it| &*it.meta().controller().unwrap().uid == uid);
            for object in own {
                fresh.put(object.meta().key(), &object.into());
            }
            let strays = |flock: &Flock| flock.strays(&selector).len();
            let sums = |flock: &Flock| (plan::tally(&web, flock, now), strays(flock));
            assert_eq!(flocks.look(uid, &cache, sums), sums(&fresh), "after {n} changes");
        }
    }
}
