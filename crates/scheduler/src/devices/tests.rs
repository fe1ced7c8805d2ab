//! Worlds given as YAML; expected: what the pod's claims get, or why it fits nowhere.

use std::sync::Arc;

use k8s_openapi::api::resource::v1::{AllocationResult, DeviceTaintRule, ResourceSlice};
use serde_json::{Value, json};
use skiff_api::Object;
use skiff_client::Delta;

use crate::cycle::{self, Search};
use crate::plugins::tests::{cluster, pending};
use crate::pod::Pending;
use crate::profile::Profile;
use crate::snapshot::Snapshot;

mod made_ready;
mod never_twice;
mod searches;
mod shares;

const CLASSES: &str = "[{metadata: {name: gpu}}, {metadata: {name: nic}, spec: {selectors: [{cel: {expression: \"device.driver == 'nic.example.com'\"}}]}}]";

fn read(yaml: &Value) -> Vec<Value> {
    yaml.as_array().cloned().unwrap_or_default()
}

fn whole(mut base: Value, given: &Value) -> Value {
    json_patch::merge(&mut base, given);
    base
}

fn object(value: &Value) -> Arc<Object> {
    Arc::new(Object::parse(value.to_string().into()).unwrap())
}

fn typed<K: serde::de::DeserializeOwned>(value: &Value) -> K {
    serde_json::from_value(value.clone()).unwrap()
}

/// A cluster with the nodes `a` and `b`, and its devices: slices are of the driver `gpu.example.com` and of one pool for each
/// of them, claims are `namespace: blue`, unless they say otherwise.
fn world(yaml: &str) -> Snapshot {
    let given: Value = serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}: {yaml}"));
    let nodes = given["nodes"]
        .as_array()
        .map_or_else(|| "[{metadata: {name: a}}]".to_owned(), |nodes| json!(nodes).to_string());
    let mut snapshot = cluster(&nodes, "[]");
    snapshot.devices.followed = true;
    for (n, slice) in read(&given["slices"]).iter().enumerate() {
        let pool = slice["nodeName"].as_str().map_or_else(|| format!("pool{n}"), str::to_owned);
        let base = json!({ "driver": "gpu.example.com",
            "pool": { "name": pool, "generation": 1, "resourceSliceCount": 1 } });
        let value = json!({ "metadata": { "name": format!("slice{n}") }, "spec": whole(base, slice) });
        snapshot.devices.inventory.put(&typed::<ResourceSlice>(&value));
    }
    let classes: Value = serde_saphyr::from_str(CLASSES).unwrap();
    for class in read(&classes).iter().chain(&read(&given["classes"])) {
        snapshot.devices.classes.apply(Delta::Put(object(class)));
    }
    for rule in read(&given["rules"]) {
        let rule: DeviceTaintRule = typed(&whole(json!({ "metadata": { "name": "r" } }), &rule));
        snapshot.devices.taints.put("r".into(), Some(rule.spec));
    }
    for claim in read(&given["claims"]) {
        let base = json!({ "metadata": { "namespace": "blue", "uid": format!("{}-uid", claim["metadata"]["name"]) } });
        put_claim(&mut snapshot, &whole(base, &claim));
    }
    snapshot
}

/// The server says so of a claim.
fn put_claim(snapshot: &mut Snapshot, claim: &Value) {
    let held = object(claim);
    let allocation = claim["status"].get("allocation").map(typed::<AllocationResult>);
    snapshot.devices.usage.seen(&held.meta().uid, held.meta().revision, allocation.as_ref());
    snapshot.devices.claims.apply(Delta::Put(held));
}

/// A claim by name, with one request `r` for a device of the class `gpu` that says this as well.
fn claim(name: &str, more: &str) -> String {
    format!(
        "{{metadata: {{name: {name}}}, spec: {{devices: {{requests: [{{name: r, exactly: {{deviceClassName: gpu, {more}}}}}]}}}}}}"
    )
}

/// A claim that has a device.
fn holder(device: &str) -> String {
    let (driver, rest) = device.split_once('/').unwrap();
    let (pool, device) = rest.split_once('/').unwrap();
    format!(
        "{{metadata: {{name: held-{device}}}, status: {{allocation: {{devices: {{results: [{{request: r, driver: {driver}, pool: {pool}, device: {device}}}]}}}}}}}}"
    )
}

/// A pod with these claims.
fn pod_with(claims: &[&str]) -> Pending {
    let named: Vec<Value> =
        claims.iter().map(|name| json!({ "name": name, "resourceClaimName": name })).collect();
    pending(&json!({ "spec": { "containers": [{ "name": "c" }], "resourceClaims": named } }).to_string())
}

/// What a pod's claims get where it is put.
fn given(snapshot: &mut Snapshot, claims: &[&str]) -> Result<(String, Vec<AllocationResult>), String> {
    let (pod, profile) = (pod_with(claims), Profile::default());
    match cycle::choose(&pod, snapshot, &profile, &mut Search::default()) {
        Ok(node) => {
            let needs = profile.needs(&pod, snapshot, &node).and_then(|needs| needs.devices);
            let all = needs.into_iter().flat_map(|needs| needs.claims);
            Ok((node.to_string(), all.filter_map(|needed| needed.allocation).collect()))
        }
        Err(mut unfit) => {
            unfit.relief = profile.relief(&pod, snapshot);
            Err(unfit.to_string())
        }
    }
}

/// The devices as `request=device`, with the node before them.
fn told(snapshot: &mut Snapshot, claims: &[&str]) -> String {
    let (node, allocations) = match given(snapshot, claims) {
        Ok(given) => given,
        Err(why) => return why,
    };
    let results =
        allocations.iter().flat_map(|given| given.devices.iter().flat_map(|it| it.results.iter().flatten()));
    let shown = results.map(|result| format!(" {}={}/{}", result.request, result.pool, result.device));
    format!("{node}:{}", shown.collect::<String>())
}

#[track_caller]
fn check(yaml: &str, claims: &[&str], expected: &str) {
    assert_eq!(told(&mut world(yaml), claims), expected);
}

/// The words for a pod that no node has the devices for.
fn refused(why: &str) -> String {
    format!(
        "0/1 nodes are available: 1 {why}. still not schedulable, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )
}
