//! Devices for pods that claim them, on a hollow node whose slices the test writes.

use crate::scheduling::Hollow;
use crate::support::Cluster;

const DEVICES: &str = "
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: gpu}
spec: {selectors: [{cel: {expression: \"device.driver == 'gpu.example.com'\"}}]}
---
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: hollow-0}
spec:
  driver: gpu.example.com
  nodeName: hollow-0
  pool: {name: hollow-0, generation: 1, resourceSliceCount: 1}
  devices: [{name: g0}, {name: g1}]
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: one}
spec: {spec: {devices: {requests: [{name: r, exactly: {deviceClassName: gpu}}]}}}
";

/// A pod that wants one device.
fn pod(name: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: c, image: busybox, resources: {{claims: [{{name: own}}]}}}}]
  resourceClaims: [{{name: own, resourceClaimTemplateName: one}}]
"
    )
}

#[test]
fn two_pods_get_a_device_each_and_the_third_waits_until_one_is_given_back() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    cluster.kubectl(&["cordon", "solo"]);
    let _hollow = Hollow::up(&cluster, "1");
    cluster.watch_until(&["nodes"], |line| line.starts_with("hollow-0 "));
    cluster.kubectl_with(&["apply", "-f", "-"], DEVICES);
    for name in ["a", "b"] {
        cluster.kubectl_with(&["apply", "-f", "-"], &pod(name));
    }
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/a", "pod/b", "--timeout=60s"]);
    let state = cluster.kubectl(&["get", "resourceclaims", "--no-headers"]);
    assert_eq!(state.matches("allocated,reserved").count(), 2, "{state}");

    cluster.kubectl_with(&["apply", "-f", "-"], &pod("c"));
    let message = "jsonpath={.status.conditions[?(@.type=='PodScheduled')].message}";
    cluster.kubectl(&["wait", "--for=condition=PodScheduled=false", "pod/c", "--timeout=60s"]);
    let why = cluster.kubectl(&["get", "pod", "c", "-o", message]);
    let expected = "0/2 nodes are available: 1 cannot allocate all claims, 1 node(s) were unschedulable. still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.";
    assert_eq!(why, expected);

    cluster.kubectl(&["delete", "pod", "a", "--timeout=60s"]);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/c", "--timeout=60s"]);
    let held = "jsonpath={.items[*].status.allocation.devices.results[*].device}";
    let devices = cluster.kubectl(&["get", "resourceclaims", "-o", held]);
    let mut devices: Vec<&str> = devices.split_whitespace().collect();
    devices.sort_unstable();
    assert_eq!(devices, ["g0", "g1"]);
}
