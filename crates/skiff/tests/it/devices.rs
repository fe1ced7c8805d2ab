//! Devices of a driver on a real node, from a pod's wish to their return: a claim is made from a template, allocated, prepared,
//! seen in the container, also by one that begins after the kubelet was killed, and taken back when the pod goes.

use skiff_base::Tasks;

use crate::device_driver::{DEVICES, DeviceDriver};
use crate::support::Cluster;

const GIVEN: &str = "
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: solo-devices}
spec:
  driver: devices.test
  nodeName: solo
  pool: {name: pool, generation: 1, resourceSliceCount: 1}
  devices: [{name: '0'}]
---
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: cards}
spec: {selectors: [{cel: {expression: device.driver == 'devices.test'}}]}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: card}
spec: {spec: {devices: {requests: [{name: card, exactly: {deviceClassName: cards}}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: guest}
spec:
  nodeName: solo
  terminationGracePeriodSeconds: 0
  resourceClaims: [{name: card, resourceClaimTemplateName: card}]
  containers:
    - name: with
      image: busybox
      imagePullPolicy: Never
      command: [sh, -c, 'trap exit TERM; sleep 1000 & wait']
      resources: {claims: [{name: card, request: card}]}
    - name: without
      image: busybox
      imagePullPolicy: Never
      command: [sleep, '1000']
";

#[test]
fn a_pod_gets_the_devices_it_claims_and_they_are_taken_back_whatever_happens_to_the_kubelet() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    cluster.import_images();
    let node = cluster.dir().join("nodes/solo");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let tasks = Tasks::new();
    cluster.kubectl_with(&["apply", "-f", "-"], GIVEN);
    let template = "jsonpath={.status.resourceClaimStatuses[0].resourceClaimName}";
    let claim = cluster.watch_until(&["pod", "guest", "-o", &format!("{template}{{\"\\n\"}}")], |line| {
        line.starts_with("guest-card-")
    });
    let events = ["events", "-o", "jsonpath={.reason}: {.message}{\"\\n\"}"];
    cluster.watch_until(&events, |line| {
        line.starts_with("FailedPrepareDynamicResources: Failed to prepare dynamic resources: prepare dynamic resources: pod guest (")
            && line.contains("is not allowed to use ResourceClaim guest-card-")
    });

    // As the scheduler would; the claim is reserved by the controller, since the pod has its node already.
    let result = format!(r#"{{"driver":"{DEVICES}","pool":"pool","device":"0","request":"card"}}"#);
    let status = format!(r#"{{"status":{{"allocation":{{"devices":{{"results":[{result}]}}}}}}}}"#);
    let protect = r#"{"metadata":{"finalizers":["resource.kubernetes.io/delete-protection"]}}"#;
    cluster.kubectl(&["patch", "resourceclaim", &claim, "--type=merge", "-p", protect]);
    let patch = ["patch", "resourceclaim", &claim, "--subresource=status", "--type=merge", "-p", &status];
    cluster.kubectl(&patch);
    cluster.watch_until(&events, |line| line.ends_with("DRA driver devices.test is not registered"));
    let driver = DeviceDriver::start(&node, &node.join("plugins_registry"), &tasks);
    runtime.block_on(driver.asked("registered true", 1));
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/guest", "--timeout=120s"]);
    let seen = |container: &str| {
        let look = "echo $CARD; cat /greeting; echo; head -c 2 /dev/card0 | od -An -tx1; ls /dev/card0";
        cluster.kubectl(&["exec", "guest", "-c", container, "--", "sh", "-c", &format!("{look} 2>&1; true")])
    };
    assert_eq!(seen("with"), "zero\nfrom the device\n 00 00\n/dev/card0\n");
    assert!(seen("without").contains("No such file"), "{}", seen("without"));
    assert_eq!(
        cluster.kubectl(&["get", "resourceclaims", "--no-headers"]).split_whitespace().nth(1),
        Some("allocated,reserved")
    );

    // Killed, and begun again: what it knew is on disk, and the slices are for the driver to tell anew.
    cluster.kill_skiff();
    cluster.start();
    runtime.block_on(driver.asked("registered true", 2));
    cluster.kubectl(&["wait", "--for=delete", "resourceslice/solo-devices", "--timeout=60s"]);
    // The one who asks for the end goes with it.
    let _killed = cluster.try_kubectl(&["exec", "guest", "-c", "with", "--", "kill", "1"]);
    cluster.watch_until(
        &[
            "pod",
            "guest",
            "-o",
            "jsonpath={.status.containerStatuses[?(@.name=='with')]['restartCount','ready']}{\"\\n\"}",
        ],
        |line| line == "1 true",
    );
    assert_eq!(seen("with"), "zero\nfrom the device\n 00 00\n/dev/card0\n");

    cluster.kubectl(&["delete", "pod", "guest", "--wait", "--timeout=60s"]);
    let asked = runtime.block_on(driver.asked(&format!("unprepare default/{claim}"), 1));
    let prepared = asked.iter().filter(|line| line.starts_with("prepare ")).count();
    assert_eq!(prepared, 1, "{asked:#?}");
    cluster.kubectl(&["wait", "--for=delete", &format!("resourceclaim/{claim}"), "--timeout=60s"]);
    tasks.stop();
    runtime.shutdown_background();
}
