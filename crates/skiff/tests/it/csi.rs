//! A driver of volumes on a real node: it registers, the API knows, and its volumes, attached by the test, reach a pod and are
//! taken back.

use crate::beside::Beside;
use crate::driver::Driver;

const GIVEN: &str = "
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: small.test}
spec: {podInfoOnMount: true, volumeLifecycleModes: [Persistent, Ephemeral]}
---
apiVersion: v1
kind: Namespace
metadata: {name: vault}
---
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: vault}
stringData: {key: open}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: kept}
spec:
  capacity: {storage: 1Mi}
  accessModes: [ReadWriteMany]
  claimRef: {namespace: default, name: kept}
  csi:
    driver: small.test
    volumeHandle: h
    volumeAttributes: {greeting: from the volume}
    nodeStageSecretRef: {namespace: vault, name: s}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: kept}
spec: {accessModes: [ReadWriteMany], storageClassName: '', volumeName: kept, resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: guest}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: c
      image: busybox
      imagePullPolicy: Never
      command: [sh, -c, 'cat /kept/greeting; echo; cat /own/greeting; echo; sleep 1000']
      volumeMounts: [{name: kept, mountPath: /kept}, {name: own, mountPath: /own}]
  volumes:
    - {name: kept, persistentVolumeClaim: {claimName: kept}}
    - {name: own, csi: {driver: small.test, volumeAttributes: {greeting: for this pod}}}
";

#[test]
fn a_driver_registers_and_its_volumes_reach_pods_and_are_taken_back() {
    let beside = Beside::up();
    let cluster = &beside.cluster;
    // The node's mounts are its own: what the driver mounted here it would not see.
    let driver = beside.run(async { Driver::start(&beside.node, &beside.registry(), false, &beside.tasks) });
    beside.run(driver.asked.until("registered true", 1));
    cluster
        .watch_until(&["csinodes", "--no-headers"], |line| line.split_whitespace().take(2).eq(["solo", "1"]));
    let told = |what: &str, path: &str| {
        cluster.kubectl(&["get", what, "solo", "-o", &format!("jsonpath={{{path}}}")])
    };
    assert_eq!(
        told("csinode", ".spec.drivers[0]"),
        r#"{"allocatable":{"count":5},"name":"small.test","nodeID":"node-7","topologyKeys":["topology.small.test/zone"]}"#
    );
    assert_eq!(told("csinode", ".metadata.ownerReferences[0].kind"), "Node");
    assert_eq!(
        told("node", r".metadata.annotations.csi\.volume\.kubernetes\.io/nodeid"),
        r#"{"small.test":"node-7"}"#
    );
    assert_eq!(told("node", r".metadata.labels.topology\.small\.test/zone"), "here");

    cluster.kubectl_with(&["apply", "-f", "-"], GIVEN);
    let attachments = ["volumeattachments", "--no-headers", "-o", "name"];
    let attachment = cluster.watch_until(&attachments, |line| line.contains("csi-"));
    let attached = r#"{"status":{"attached":true,"attachmentMetadata":{"disk":"/dev/x"}}}"#;
    cluster.kubectl(&["patch", &attachment, "--subresource=status", "--type=merge", "-p", attached]);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/guest", "--timeout=120s"]);
    assert_eq!(cluster.kubectl(&["exec", "guest", "--", "cat", "/kept/greeting"]), "from the volume");
    assert_eq!(cluster.kubectl(&["exec", "guest", "--", "cat", "/own/greeting"]), "for this pod");
    assert_eq!(told("node", ".status.volumesInUse"), r#"["kubernetes.io/csi/small.test^h"]"#);
    cluster.kubectl(&["delete", "pod", "guest", "--wait", "--timeout=60s"]);
    let asked = beside.run(driver.asked.until("unstage h", 1));
    for wanted in ["stage h open /dev/x", "publish h to guest", "unpublish h"] {
        assert!(asked.iter().any(|line| line == wanted), "{wanted:?} was not asked: {asked:#?}");
    }
    cluster.kubectl(&["wait", "--for=delete", &attachment, "--timeout=60s"]);
    assert_eq!(told("node", ".status.volumesInUse"), "");
}
