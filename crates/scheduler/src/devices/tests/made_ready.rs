//! Devices that must be made ready before a pod that has them is bound.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::resource::v1::ResourceClaim;
use serde_json::{Value, json};

use super::{claim, given, put_claim, told, typed, world};
use crate::devices::binding::{Readiness, readiness};
use crate::devices::is_hopeless;

const SLICES: &str = "nodes: [{metadata: {name: a}}], slices: [{allNodes: true, pool: {name: fabric}, devices: [{name: f0, \
    bindsToNode: true, bindingConditions: [attached], bindingFailureConditions: [broken]}]}, {nodeName: a, devices: [{name: g0}]}]";

#[test]
fn what_must_be_made_ready_is_the_last_choice_and_says_what_it_waits_for() {
    let claims = format!("claims: [{}, {}]", claim("c", ""), claim("d", "count: 2"));
    let mut both = world(&format!("{{{SLICES}, {claims}}}"));
    assert_eq!(told(&mut both, &["c"]), "a: r=a/g0");
    let allocation = given(&mut both, &["d"]).unwrap().1.remove(0);
    let selector = json!(allocation.node_selector);
    assert_eq!(selector["nodeSelectorTerms"][0]["matchFields"][0]["values"], json!(["a"]));
    let results = json!(allocation.devices.unwrap().results);
    assert_eq!(results[1]["device"], "f0");
    assert_eq!(results[1]["bindingConditions"], json!(["attached"]));
    assert_eq!(results[1]["bindingFailureConditions"], json!(["broken"]));
}

/// A claim with such a device, allocated at the dawn of time, that says this of it.
fn held(conditions: &Value) -> Value {
    let device = json!({ "driver": "gpu.example.com", "pool": "fabric", "device": "f0" });
    let mut result = device.clone();
    result["request"] = json!("r");
    result["bindingConditions"] = json!(["attached"]);
    result["bindingFailureConditions"] = json!(["broken"]);
    let mut said = device;
    said["conditions"] = conditions.clone();
    json!({ "metadata": { "name": "c", "namespace": "blue", "uid": "c" }, "status": { "devices": [said],
        "allocation": { "allocationTimestamp": "1970-01-01T00:00:00Z", "devices": { "results": [result] } } } })
}

fn condition(kind: &str, status: &str) -> Value {
    json!([{ "type": kind, "status": status, "reason": "R", "message": "m", "lastTransitionTime": "1970-01-01T00:00:00Z" }])
}

#[test]
fn a_claim_is_ready_when_its_conditions_are_true_and_lost_when_one_failed_or_time_is_up() {
    let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
    let failed = Readiness::Failed("claim c binding failed: reason=R, message=\"m\"".to_owned());
    for (conditions, expected, lost_at_once, lost_later) in [
        (json!([]), Readiness::Waiting, false, true),
        (condition("attached", "False"), Readiness::Waiting, false, true),
        (condition("attached", "True"), Readiness::Ready, false, false),
        (condition("broken", "True"), failed, true, true),
    ] {
        let claim: ResourceClaim = typed(&held(&conditions));
        assert_eq!(readiness(&claim), expected);
        assert_eq!([is_hopeless(&claim, at(599)), is_hopeless(&claim, at(600))], [lost_at_once, lost_later]);
    }
}

#[test]
fn an_idle_claim_whose_device_failed_loses_it() {
    let mut lost = world(&format!("{{{SLICES}}}"));
    put_claim(&mut lost, &held(&condition("broken", "True")));
    assert!(told(&mut lost, &["c"]).contains(
        "1 resourceclaim not available on the node. deallocation of ResourceClaim completed, preemption:"
    ));
}
