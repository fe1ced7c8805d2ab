//! A driver of volumes on a real node: it registers, the API knows, and its volumes, attached by the test, reach a pod and are
//! taken back; devices as well, and what becomes of a volume meanwhile.

use std::io::Read;

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

const LIVELY: &str = "
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: small.test}
spec:
  attachRequired: false
  podInfoOnMount: true
  requiresRepublish: true
  tokenRequests: [{audience: vault}]
  serviceAccountTokenInSecrets: true
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: grows}
provisioner: small.test
allowVolumeExpansion: true
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: kept}
spec:
  capacity: {storage: 1Mi}
  accessModes: [ReadWriteOnce]
  storageClassName: grows
  claimRef: {namespace: default, name: kept}
  csi: {driver: small.test, volumeHandle: h, volumeAttributes: {greeting: from the volume}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: kept}
spec: {accessModes: [ReadWriteOnce], storageClassName: grows, volumeName: kept, resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec:
  capacity: {storage: 1Mi}
  accessModes: [ReadWriteOnce]
  volumeMode: Block
  claimRef: {namespace: default, name: disk}
  csi: {driver: small.test, volumeHandle: d, volumeAttributes: {greeting: from the disk}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: disk}
spec: {accessModes: [ReadWriteOnce], storageClassName: '', volumeMode: Block, volumeName: disk, resources: {requests: {storage: 1Mi}}}
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
      command: [sleep, '1000']
      volumeMounts: [{name: kept, mountPath: /kept}]
      volumeDevices: [{name: disk, devicePath: /dev/disk}]
  volumes:
    - {name: kept, persistentVolumeClaim: {claimName: kept}}
    - {name: disk, persistentVolumeClaim: {claimName: disk}}
";

#[test]
fn a_pod_has_a_device_and_a_volume_that_grows_while_it_runs() {
    let beside = Beside::up();
    let cluster = &beside.cluster;
    let driver = beside.run(async { Driver::start(&beside.node, &beside.registry(), false, &beside.tasks) });
    cluster.kubectl_with(&["apply", "-f", "-"], LIVELY);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/guest", "--timeout=120s"]);
    beside.run(driver.asked.until("publish h to guest with vault in secrets", 1));

    // What is written to the device is on the disk behind it.
    let inside = |script: &str| cluster.kubectl(&["exec", "guest", "--", "sh", "-c", script]);
    assert_eq!(inside("test -b /dev/disk && head -c 13 /dev/disk"), "from the disk");
    inside("printf 'to' | dd of=/dev/disk conv=notrunc,fsync 2>/dev/null");
    let image = beside.node.join("plugins/kubernetes.io/csi/volumeDevices/staging/disk/image");
    let mut start = [0; 13];
    std::fs::File::open(&image).unwrap().read_exact(&mut start).unwrap();
    assert_eq!(&start, b"toom the disk");

    // The test is the driver's resizer.
    let more = r#"{"spec":{"resources":{"requests":{"storage":"2Mi"}}}}"#;
    cluster.kubectl(&["patch", "pvc", "kept", "--patch", more]);
    let pending = r#"{"status":{"allocatedResources":{"storage":"2Mi"},"allocatedResourceStatuses":{"storage":"NodeResizePending"},"conditions":[{"type":"FileSystemResizePending","status":"True"}]}}"#;
    cluster.kubectl(&["patch", "pvc", "kept", "--subresource=status", "--type=merge", "-p", pending]);
    cluster.kubectl(&["patch", "pv", "kept", "--patch", r#"{"spec":{"capacity":{"storage":"2Mi"}}}"#]);
    beside.run(driver.asked.until("expand h to 2097152", 1));
    cluster.watch_until(&["pvc", "kept", "--no-headers"], |line| line.contains(" 2Mi "));
    let status = cluster.kubectl(&["get", "pvc", "kept", "-o", "jsonpath={.status}"]);
    assert!(!status.contains("ResizePending"), "{status}");
    let events = ["events", "-o", "jsonpath={.reason} {.involvedObject.kind}{\"\\n\"}"];
    cluster.watch_until(&events, |line| line == "FileSystemResizeSuccessful PersistentVolumeClaim");
    let told = |path: &str| cluster.kubectl(&["get", "--raw", &format!("/api/v1/nodes/solo/proxy/{path}")]);
    let summary: serde_json::Value = serde_json::from_str(&told("stats/summary")).unwrap();
    let pods = summary["pods"].as_array().unwrap();
    let guest = pods.iter().find(|pod| pod["podRef"]["name"] == "guest").unwrap();
    let volumes = guest["volume"].as_array().unwrap();
    let kept = volumes.iter().find(|volume| volume["pvcRef"]["name"] == "kept").unwrap();
    assert_eq!((&kept["usedBytes"], &kept["volumeHealthStats"]["abnormal"]), (&2.into(), &true.into()));
    let used = "kubelet_volume_stats_used_bytes{namespace=\"default\",persistentvolumeclaim=\"kept\"} 2";
    let metrics = told("metrics");
    assert!(metrics.lines().any(|line| line == used) && metrics.ends_with("# EOF\n"), "{metrics}");

    // A kubelet that begins anew asks for what it finds, and what it finds stays staged.
    cluster.kill_skiff();
    cluster.start();
    let asked = beside.run(driver.asked.until("publish d to guest", 2));
    assert_eq!(asked.iter().filter(|line| *line == "stage d").count(), 1, "{asked:#?}");
    assert_eq!(inside("head -c 13 /dev/disk"), "toom the disk");
    cluster.kubectl(&["delete", "pod", "guest", "--wait", "--timeout=60s"]);
    beside.run(driver.asked.until("unstage d", 1));
    assert!(!image.exists());
}
