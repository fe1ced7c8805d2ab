//! Persistent storage with kubectl on real nodes: a stateful set's data survives its pods, and goes with its claims.

use crate::support::Cluster;

const DB: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  persistentVolumeClaimRetentionPolicy: {whenScaled: Delete}
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      securityContext: {runAsUser: 1000}
      containers:
        - name: c
          image: busybox
          imagePullPolicy: Never
          command: [sh, -c, 'hostname >> /data/log; sleep 1000']
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
";

#[test]
fn a_stateful_sets_data_survives_its_pods_and_goes_with_its_claims() {
    let cluster = Cluster::up(&["--nodes", "2"]);
    cluster.import_images();
    let classes = cluster.kubectl(&["get", "storageclass"]);
    assert!(
        classes.contains("local-path (default)") && classes.contains("WaitForFirstConsumer"),
        "{classes}"
    );
    cluster.kubectl_with(&["apply", "-f", "-"], DB);
    let status = || cluster.kubectl(&["rollout", "status", "statefulset/db", "--timeout=60s"]);
    status();
    let node = |pod: &str| cluster.kubectl(&["get", "pod", pod, "-o", "jsonpath={.spec.nodeName}"]);
    let before = node("db-0");
    cluster.kubectl(&["delete", "pod", "db-0", "--wait"]);
    status();
    assert_eq!(node("db-0"), before, "the pod comes back to its data");
    assert_eq!(cluster.kubectl(&["exec", "db-0", "--", "cat", "/data/log"]), "db-0\ndb-0\n");

    // It grows while it is used.
    let more = "{\"spec\":{\"resources\":{\"requests\":{\"storage\":\"20Mi\"}}}}";
    cluster.kubectl(&["patch", "pvc", "data-db-0", "--patch", more]);
    cluster.watch_until(&["pvc", "data-db-0", "--no-headers"], |line| line.contains("20Mi"));

    // Scaled down, the second claim goes with its pod, and the folder with it.
    let volume = cluster.kubectl(&["get", "pvc", "data-db-1", "-o", "jsonpath={.spec.volumeName}"]);
    let folder = cluster.kubectl(&["get", "pv", &volume, "-o", "jsonpath={.spec.hostPath.path}"]);
    assert!(std::path::Path::new(&folder).join("log").exists(), "{folder}");
    cluster.kubectl(&["scale", "statefulset", "db", "--replicas=1"]);
    cluster.kubectl(&["wait", "--for=delete", &format!("pv/{volume}"), "--timeout=60s"]);
    assert!(!std::path::Path::new(&folder).exists(), "{folder}");
    let claims = cluster.kubectl(&["get", "pvc", "-o", "name"]);
    assert_eq!(claims.trim(), "persistentvolumeclaim/data-db-0");
    let said = cluster.kubectl(&["describe", "pvc", "data-db-0"]);
    assert!(said.contains("ProvisioningSucceeded") && said.contains("Used By:       db-0"), "{said}");
}
