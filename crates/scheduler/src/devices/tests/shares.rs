//! Devices of which several have a part: shared counters, and capacity that is consumed.

use serde_json::json;

use super::{check, claim, given, put_claim, refused, told, world};

#[test]
fn partitions_of_one_card_share_its_counters() {
    let part = |name: &str, memory: u32| {
        format!(
            "{{name: {name}, consumesCounters: [{{counterSet: card, counters: {{memory: {{value: {memory}Gi}}}}}}]}}"
        )
    };
    let slice = format!(
        "slices: [{{nodeName: a, sharedCounters: [{{name: card, counters: {{memory: {{value: 40Gi}}}}}}], devices: [{}, {}, {}]}}]",
        part("half", 20),
        part("most", 30),
        part("quarter", 10)
    );
    check(&format!("{{{slice}, claims: [{}]}}", claim("c", "count: 2")), &["c"], "a: r=a/half r=a/quarter");
    check(
        &format!("{{{slice}, claims: [{}]}}", claim("c", "count: 3")),
        &["c"],
        &refused("cannot allocate all claims"),
    );
    let held = super::holder("gpu.example.com/a/most");
    check(&format!("{{{slice}, claims: [{}, {held}]}}", claim("c", "")), &["c"], "a: r=a/quarter");
}

const SHARED: &str = "slices: [{nodeName: a, devices: [{name: g0, allowMultipleAllocations: true, capacity: {memory: {value: 10Gi, \
    requestPolicy: {default: 1Gi, validRange: {min: 1Gi, max: 8Gi, step: 1Gi}}}}}]}]";

fn memory(amount: &str) -> String {
    format!("capacity: {{requests: {{memory: {amount}}}}}")
}

#[test]
fn requests_take_parts_of_a_device_that_may_be_shared() {
    let mut shared = world(&format!(
        "{{{SHARED}, claims: [{}, {}, {}]}}",
        claim("c", &memory("3500Mi")),
        claim("d", ""),
        claim("e", &format!("{}, count: 2", memory("4Gi")))
    ));
    let mut first = given(&mut shared, &["c"]).unwrap().1.remove(0);
    let result = first.devices.as_mut().unwrap().results.as_mut().unwrap().remove(0);
    assert_eq!(json!(result.consumed_capacity), json!({ "memory": "4Gi" }), "rounded up to a whole step");
    assert_eq!(result.share_id.unwrap().len(), 36);
    assert_eq!(told(&mut shared, &["c", "d", "e"]), refused("cannot allocate all claims"));
    assert_eq!(told(&mut shared, &["d", "e"]), "a: r=a/g0 r=a/g0 r=a/g0");
}

#[test]
fn what_others_have_of_a_device_is_gone() {
    let mut shared = world(&format!("{{{SHARED}, claims: [{}]}}", claim("c", &memory("4Gi"))));
    let held = |amount: &str| {
        json!({ "metadata": { "name": "h", "namespace": "blue", "uid": "h" }, "status": { "allocation": { "devices": { "results": [
            { "request": "r", "driver": "gpu.example.com", "pool": "a", "device": "g0", "shareID": "x",
              "consumedCapacity": { "memory": amount } }] } } } })
    };
    put_claim(&mut shared, &held("7Gi"));
    assert_eq!(told(&mut shared, &["c"]), refused("cannot allocate all claims"));
    put_claim(&mut shared, &held("6Gi"));
    assert_eq!(told(&mut shared, &["c"]), "a: r=a/g0");
}

#[test]
fn a_device_for_one_must_have_what_is_asked_for() {
    let slices = "slices: [{nodeName: a, devices: [{name: g0, capacity: {memory: {value: 10Gi}}}, {name: g1, capacity: {gpu.example.com/memory: {value: 40Gi}}}, {name: g2}]}]";
    check(&format!("{{{slices}, claims: [{}]}}", claim("c", &memory("20Gi"))), &["c"], "a: r=a/g1");
    check(&format!("{{{slices}, claims: [{}]}}", claim("c", &memory("5Gi"))), &["c"], "a: r=a/g0");
    let too_much = format!("{{{slices}, claims: [{}]}}", claim("c", &memory("50Gi")));
    check(&too_much, &["c"], &refused("cannot allocate all claims"));
}
