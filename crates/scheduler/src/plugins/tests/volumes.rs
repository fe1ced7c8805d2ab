//! Pods with claims.

use serde_json::json;
use skiff_client::Delta;

use super::{Snapshot, chosen, cluster, object, yaml};

const NODES: &str =
    "[{metadata: {name: a}}, {metadata: {name: b, labels: {topology.kubernetes.io/zone: east}}}]";
const CLASSES: &str = "[{metadata: {name: waits}, provisioner: example.com/p, volumeBindingMode: WaitForFirstConsumer},
    {metadata: {name: hand}, provisioner: kubernetes.io/no-provisioner, volumeBindingMode: WaitForFirstConsumer},
    {metadata: {name: now}, provisioner: example.com/p, volumeBindingMode: Immediate}]";
const POD: &str =
    "spec: {containers: [{name: c}], volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]}";

/// A cluster with one claim, named `c`, and these volumes.
fn given(claim: &str, volumes: &str) -> Snapshot {
    let snapshot = cluster(NODES, "[]");
    for class in yaml(CLASSES) {
        snapshot.storage.classes.apply(Delta::Put(object(&class)));
    }
    for volume in yaml(volumes) {
        let mut whole = json!({ "metadata": { "name": "v" }, "status": { "phase": "Available" },
            "spec": { "capacity": { "storage": "2Gi" }, "accessModes": ["ReadWriteOnce"] } });
        json_patch::merge(&mut whole, &volume);
        snapshot.storage.volumes.apply(Delta::Put(object(&whole)));
    }
    for claim in yaml(&format!("[{claim}]")) {
        let mut whole = json!({ "metadata": { "name": "c", "namespace": "blue", "uid": "cu" },
            "spec": { "resources": { "requests": { "storage": "1Gi" } }, "accessModes": ["ReadWriteOnce"] } });
        json_patch::merge(&mut whole, &claim);
        snapshot.storage.claims.apply(Delta::Put(object(&whole)));
    }
    snapshot
}

fn on(node: &str) -> String {
    format!(
        "nodeAffinity: {{required: {{nodeSelectorTerms: [{{matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [{node}]}}]}}]}}}}"
    )
}

const BOUND: &str =
    "{metadata: {annotations: {pv.kubernetes.io/bind-completed: 'yes'}}, spec: {volumeName: v}}";

#[test]
fn a_pod_goes_where_its_volume_is() {
    let volume = format!("[{{spec: {{{}}}}}]", on("b"));
    assert_eq!(chosen(&mut given(BOUND, &volume), POD), "b");
    let elsewhere = format!("[{{spec: {{{}}}}}]", on("c"));
    assert_eq!(
        chosen(&mut given(BOUND, &elsewhere), POD),
        "0/2 nodes are available: 2 node(s) had volume node affinity conflict. preemption: 0/2 nodes are available: \
         2 Preemption is not helpful for scheduling."
    );
    let zoned = "[{metadata: {labels: {topology.kubernetes.io/zone: west}}}]";
    assert!(chosen(&mut given(BOUND, zoned), POD).contains("a"));
}

#[test]
fn a_claim_that_does_not_wait_must_be_bound_first() {
    let expected = |why: &str| {
        format!(
            "0/2 nodes are available: {why}. preemption: 0/2 nodes are available: \
             2 Preemption is not helpful for scheduling."
        )
    };
    let unbound = chosen(&mut given("{spec: {storageClassName: now}}", "[]"), POD);
    assert_eq!(unbound, expected("pod has unbound immediate PersistentVolumeClaims"));
    let missing = chosen(&mut given("{metadata: {name: other}}", "[]"), POD);
    assert_eq!(missing, expected("persistentvolumeclaim \"c\" not found"));
    let own =
        "spec: {containers: [{name: c}], volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {}}}}]}";
    let waiting = chosen(&mut given("{metadata: {name: other}}", "[]"), own);
    let why = "waiting for ephemeral volume controller to create the persistentvolumeclaim \"pod1000-v\"";
    assert_eq!(waiting, expected(why));
}

#[test]
fn a_claim_that_waits_takes_a_volume_of_the_node_or_has_one_made() {
    let by_hand = "{spec: {storageClassName: hand}}";
    let volume = format!("[{{spec: {{storageClassName: hand, {}}}}}]", on("b"));
    assert_eq!(chosen(&mut given(by_hand, &volume), POD), "b");
    assert_eq!(
        chosen(&mut given(by_hand, "[]"), POD),
        "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. \
         preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    );
    let chosen_before =
        "{metadata: {annotations: {volume.kubernetes.io/selected-node: a}}, spec: {storageClassName: waits}}";
    assert_eq!(chosen(&mut given(chosen_before, "[]"), POD), "a");
}

#[test]
fn a_claim_for_one_pod_is_not_shared() {
    let alone = "{metadata: {annotations: {pv.kubernetes.io/bind-completed: 'yes'}}, spec: {volumeName: v, accessModes: [ReadWriteOncePod]}}";
    let mut given = given(alone, "[{}]");
    let other = format!(
        "[{{spec: {{nodeName: a, containers: [], {}}}]",
        &POD["spec: {containers: [{name: c}], ".len()..]
    );
    let held = yaml(&other).remove(0);
    let value = super::named(held, 3);
    let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(value.clone()).unwrap();
    given.place(std::sync::Arc::new(crate::pod::PodInfo::new(object(&value), &pod)), "a", false);
    let refused = chosen(&mut given, POD);
    assert!(refused.starts_with(
        "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode."
    ), "{refused}");
    given.displace("uid3");
    assert!(["a", "b"].contains(&chosen(&mut given, POD).as_str()));
}

#[test]
fn a_node_takes_as_many_volumes_as_its_driver_says() {
    let mut given = given(BOUND, "[{spec: {csi: {driver: d, volumeHandle: h}}}]");
    for node in ["a", "b"] {
        let count = if node == "a" { 0 } else { 1 };
        let limits = json!({ "metadata": { "name": node },
            "spec": { "drivers": [{ "name": "d", "nodeID": node, "allocatable": { "count": count } }] } });
        given.storage.csi_nodes.apply(Delta::Put(object(&limits)));
    }
    assert_eq!(chosen(&mut given, POD), "b");
}
