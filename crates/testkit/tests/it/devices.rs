//! Claims for devices, from the pod that names them to the devices that they get.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim, ResourceSlice};
use serde_json::json;
use skiff_api::pod::conditions;
use skiff_client::write::{self, Patch, Place};
use skiff_testkit::{Cluster, given};

use crate::{cluster, is_bound};

fn class() -> DeviceClass {
    given::yaml(
        "{metadata: {name: gpu}, spec: {selectors: [{cel: {expression: \"device.driver == 'gpu.example.com'\"}}]}}",
    )
}

/// Two devices of a node.
fn slice(node: &str) -> ResourceSlice {
    given::yaml(&format!(
        "{{metadata: {{name: {node}}}, spec: {{driver: gpu.example.com, nodeName: {node}, pool: {{name: {node}, generation: 1,
        resourceSliceCount: 1}}, devices: [{{name: g0}}, {{name: g1}}]}}}}"
    ))
}

fn claim(name: &str) -> ResourceClaim {
    given::yaml(&format!(
        "{{metadata: {{name: {name}, namespace: default}}, spec: {{devices: {{requests: [{{name: r, exactly: {{deviceClassName: gpu}}}}]}}}}}}"
    ))
}

/// A pod with this claim.
fn pod(name: &str, claim: &str) -> Pod {
    given::yaml(&format!(
        "{{metadata: {{name: {name}, namespace: default}}, spec: {{containers: [{{name: c, image: app}}],
        resourceClaims: [{{name: own, resourceClaimName: {claim}}}]}}}}"
    ))
}

fn named<'a>(pods: &'a [Arc<Pod>], name: &str) -> &'a Arc<Pod> {
    pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(name)).unwrap()
}

/// The devices that claims have, with how many use each claim.
fn held(claims: &[Arc<ResourceClaim>]) -> Vec<(String, usize)> {
    let mut held: Vec<(String, usize)> = claims
        .iter()
        .flat_map(|claim| {
            let status = claim.status.clone().unwrap_or_default();
            let users = status.reserved_for.unwrap_or_default().len();
            let results = status.allocation.and_then(|given| given.devices?.results).unwrap_or_default();
            results.into_iter().map(move |result| (format!("{}/{}", result.pool, result.device), users))
        })
        .collect();
    held.sort();
    held
}

/// Plays the controller and the node: the pod is gone, and its claim has no devices any more.
async fn ends(cluster: &Cluster, pod: &Pod, claim: &str) {
    let at_once = k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions {
        grace_period_seconds: Some(0),
        ..Default::default()
    };
    write::delete(&cluster.link(), &Place::of(pod), &at_once).await.unwrap();
    let claim = Place::of(&self::claim(claim));
    let free = json!({ "status": { "allocation": null, "reservedFor": null } });
    write::patch::<ResourceClaim>(&cluster.link(), &claim.part("status"), Patch::Merge, &free).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_claim_gets_a_device_of_its_own_and_who_finds_none_waits_until_one_is_free() {
    let cluster = cluster(&["one"]).await;
    cluster.create(class()).await;
    cluster.create(slice("one")).await;
    for name in ["a", "b"] {
        cluster.create(claim(name)).await;
        cluster.create(pod(name, name)).await;
    }
    let pods = cluster.until::<Pod>(|pods| pods.iter().filter(|pod| is_bound(pod)).count() == 2).await;
    let claims = cluster.until::<ResourceClaim>(|claims| held(claims).len() == 2).await;
    assert_eq!(held(&claims), [("one/g0".to_owned(), 1), ("one/g1".to_owned(), 1)]);
    for claim in &claims {
        let finalizers = claim.metadata.finalizers.clone().unwrap_or_default();
        assert_eq!(finalizers, ["resource.kubernetes.io/delete-protection"]);
        let allocation = claim.status.as_ref().unwrap().allocation.as_ref().unwrap();
        assert!(allocation.allocation_timestamp.is_some() && allocation.node_selector.is_some());
    }
    cluster.create(claim("c")).await;
    cluster.create(pod("c", "c")).await;
    let why = "0/1 nodes are available: 1 cannot allocate all claims. still not schedulable, \
        preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    let refused = |pod: &Pod| {
        conditions::find(pod, conditions::SCHEDULED).is_some_and(|it| it.message.as_deref() == Some(why))
    };
    cluster.until::<Pod>(|pods| pods.iter().any(|pod| refused(pod))).await;
    cluster.until::<Event>(|events| events.iter().any(|event| event.message.as_deref() == Some(why))).await;
    ends(&cluster, named(&pods, "a"), "a").await;
    cluster.until::<Pod>(|pods| pods.len() == 2 && pods.iter().all(|pod| is_bound(pod))).await;
    let claims = cluster.until::<ResourceClaim>(|claims| held(claims).len() == 2).await;
    assert_eq!(held(&claims), [("one/g0".to_owned(), 1), ("one/g1".to_owned(), 1)]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_waits_quietly_for_its_claim_and_pods_may_share_one() {
    let cluster = cluster(&["one", "two"]).await;
    cluster.create(class()).await;
    cluster.create(slice("two")).await;
    for name in ["a", "b"] {
        cluster.create(pod(name, "shared")).await;
    }
    // Whoever comes after them is placed, and they were not even tried.
    cluster.create(given::pod("default", "other")).await;
    let pods = cluster.until::<Pod>(|pods| pods.iter().any(|pod| is_bound(pod))).await;
    assert!(is_bound(named(&pods, "other")));
    assert!(conditions::find(named(&pods, "a"), conditions::SCHEDULED).is_none());
    cluster.create(claim("shared")).await;
    let pods = cluster.until::<Pod>(|pods| pods.len() == 3 && pods.iter().all(|pod| is_bound(pod))).await;
    let node = |name: &str| skiff_api::pod::node_name(named(&pods, name)).unwrap().to_owned();
    assert_eq!([node("a"), node("b")], ["two", "two"]);
    let claims =
        cluster.until::<ResourceClaim>(|claims| held(claims).iter().any(|(_, users)| *users == 2)).await;
    assert_eq!(held(&claims), [("two/g0".to_owned(), 2)]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_come_later_are_found() {
    let cluster = cluster(&["one"]).await;
    cluster.create(claim("a")).await;
    cluster.create(pod("a", "a")).await;
    let refused = |pod: &Pod, why: &str| {
        let found = conditions::find(pod, conditions::SCHEDULED);
        found.and_then(|it| it.message.as_deref()).is_some_and(|message| message.contains(why))
    };
    cluster
        .until::<Pod>(|pods| {
            pods.iter().any(|pod| refused(pod, "request r: device class gpu does not exist."))
        })
        .await;
    cluster.create(class()).await;
    cluster.until::<Pod>(|pods| pods.iter().any(|pod| refused(pod, "1 cannot allocate all claims."))).await;
    cluster.create(slice("one")).await;
    cluster.until::<Pod>(|pods| pods.iter().all(|pod| is_bound(pod))).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_bound_when_its_device_is_ready() {
    let cluster = cluster(&["one"]).await;
    cluster.create(class()).await;
    let mut slice = slice("one");
    for device in slice.spec.devices.iter_mut().flatten() {
        device.binding_conditions = Some(vec!["attached".to_owned()]);
        device.binding_failure_conditions = Some(vec!["broken".to_owned()]);
    }
    cluster.create(slice).await;
    cluster.create(claim("a")).await;
    cluster.create(pod("a", "a")).await;
    cluster
        .until::<Event>(|events| {
            events.iter().any(|event| {
                event.message.as_deref() == Some("waiting for binding conditions for device on node one")
            })
        })
        .await;
    let pods = cluster.until::<Pod>(|pods| pods.len() == 1).await;
    assert!(!is_bound(&pods[0]));
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "reason": "Made", "message": "", "lastTransitionTime": "2026-11-22T10:00:00Z" });
    let said = json!({ "status": { "devices": [{ "driver": "gpu.example.com", "pool": "one", "device": "g0",
        "conditions": [condition("attached")] }] } });
    let place = Place::of(&claim("a")).part("status");
    write::patch::<ResourceClaim>(&cluster.link(), &place, Patch::Merge, &said).await.unwrap();
    cluster.until::<Pod>(|pods| pods.iter().all(|pod| is_bound(pod))).await;
    cluster.stop().await;
}
