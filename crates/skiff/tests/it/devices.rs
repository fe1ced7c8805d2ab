//! Devices on a real node. Those of a driver, from a pod's wish to their return: a claim is made from a template, allocated, prepared,
//! seen in the container, also by one that begins after the kubelet was killed, and taken back when the pod goes.

use crate::beside::Beside;
use crate::device_driver::{DEVICES, DeviceDriver};
use crate::device_plugin::{CARD, DevicePlugin};

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
    let beside = Beside::up();
    let cluster = &beside.cluster;
    cluster.kubectl_with(&["apply", "-f", "-"], GIVEN);
    let template = "jsonpath={.status.resourceClaimStatuses[0].resourceClaimName}";
    let claim = cluster.watch_until(&["pod", "guest", "-o", &format!("{template}{{\"\\n\"}}")], |line| {
        line.starts_with("guest-card-")
    });
    let events = ["events", "-o", "jsonpath={.reason}: {.message}{\"\\n\"}"];
    let waits = format!(
        "FailedPrepareDynamicResources: Failed to prepare dynamic resources: prepare dynamic resources: DRA driver {DEVICES} is not registered"
    );
    cluster.watch_until(&events, |line| line == waits);
    let driver = beside.run(async { DeviceDriver::start(&beside.node, &beside.registry(), &beside.tasks) });
    beside.run(driver.asked.until("registered true", 1));
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
    beside.run(driver.asked.until("registered true", 2));
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
    let asked = beside.run(driver.asked.until(&format!("unprepare default/{claim}"), 1));
    let prepared = asked.iter().filter(|line| line.starts_with("prepare ")).count();
    assert_eq!(prepared, 1, "{asked:#?}");
    cluster.kubectl(&["wait", "--for=delete", &format!("resourceclaim/{claim}"), "--timeout=60s"]);
}

/// A pod on the node whose container asks for one device.
fn counting(name: &str, init: &str) -> String {
    let one = "resources: {limits: {devices.test/card: 1}}";
    let image = "image: busybox, imagePullPolicy: Never";
    let init = if init.is_empty() {
        String::new()
    } else {
        format!("initContainers: [{{name: first, {image}, command: [sh, -c, '{init}'], {one}}}], ")
    };
    format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{nodeName: solo, terminationGracePeriodSeconds: 1, \
         {init}containers: [{{name: c, {image}, command: [sleep, '1000'], {one}}}]}}}}"
    )
}

#[test]
fn a_plugin_s_devices_are_counted_given_once_and_taken_back() {
    let beside = Beside::up();
    let cluster = &beside.cluster;
    let plugin = beside.run(DevicePlugin::start(&beside.node, &beside.tasks));
    let amounts = format!(
        "jsonpath={{.status.capacity.{0}}} {{.status.allocatable.{0}}}{{\"\\n\"}}",
        CARD.replace('.', "\\.")
    );
    cluster.watch_until(&["node", "solo", "-o", &amounts], |line| line == "3 2");

    // What an init container had its pod goes on with.
    cluster.kubectl_with(&["apply", "-f", "-"], &counting("one", "echo $CARD >/dev/termination-log"));
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/one", "--timeout=120s"]);
    let look = "echo $CARD; cat /greeting; echo; head -c 2 /dev/card0 | od -An -tx1";
    let seen = |pod: &str| cluster.kubectl(&["exec", pod, "--", "sh", "-c", look]);
    assert_eq!(seen("one"), "c\nfrom the plugin\n 00 00\n");
    let first = "jsonpath={.status.initContainerStatuses[0].state.terminated.message}";
    assert_eq!(cluster.kubectl(&["get", "pod", "one", "-o", first]).trim(), "c");
    cluster.kubectl_with(&["apply", "-f", "-"], &counting("two", ""));
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/two", "--timeout=120s"]);
    assert_eq!(seen("two"), "a\nfrom the plugin\n 00 00\n");
    assert_eq!(
        plugin.asked.so_far(),
        ["prefer 1 of ac", "allocate c", "allocate c", "begin c", "begin c", "allocate a", "begin a"]
    );

    let refused = |name: &str, why: &str| {
        cluster.kubectl_with(&["apply", "-f", "-"], &counting(name, ""));
        let told = "jsonpath={.status.reason}: {.status.message}{\"\\n\"}";
        let told = cluster.watch_until(&["pod", name, "-o", told], |line| line != ": ");
        let why = format!(
            "UnexpectedAdmissionError: Pod was rejected: Allocate failed due to {why}, which is unexpected"
        );
        assert_eq!(told, why);
        cluster.kubectl(&["delete", "pod", name, "--wait", "--timeout=60s"]);
    };
    let full = format!("requested number of devices unavailable for {CARD}. Requested: 1, Available: 0");
    refused("three", &full);

    // Killed, and begun again: the plugin has to come again, and what was given stays so.
    cluster.kill_skiff();
    cluster.start();
    cluster.watch_until(&["node", "solo", "-o", &amounts], |line| line == "0 0");
    refused("early", &format!("cannot allocate unregistered device {CARD}"));
    beside.run(plugin.register(&beside.tasks));
    cluster.watch_until(&["node", "solo", "-o", &amounts], |line| line == "3 2");
    refused("four", &full);
    cluster.kubectl(&["delete", "pod", "one", "--wait", "--timeout=60s"]);
    cluster.kubectl_with(&["apply", "-f", "-"], &counting("five", ""));
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/five", "--timeout=120s"]);
    assert_eq!(seen("five"), "c\nfrom the plugin\n 00 00\n");
}
