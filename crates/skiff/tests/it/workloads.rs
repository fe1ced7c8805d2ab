//! Workloads with kubectl on a real node: roll-outs, back and forth, by hand.

use crate::support::Cluster;

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: busybox, imagePullPolicy: Never, command: [sleep, '1000']}]
";

#[test]
fn deployments_roll_forward_and_back() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    cluster.import_images();
    let status = || cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    cluster.kubectl_with(&["apply", "-f", "-"], WEB);
    assert!(status().contains("successfully rolled out"));
    let row = cluster.kubectl(&["get", "deployment", "web", "--no-headers"]);
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[..4], ["web", "3/3", "3", "3"], "{row}");

    cluster.kubectl(&["set", "env", "deployment/web", "ROUND=2"]);
    status();
    let history = cluster.kubectl(&["rollout", "history", "deployment/web"]);
    assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
    cluster.kubectl(&["rollout", "undo", "deployment/web"]);
    status();
    let env = cluster.kubectl(&["set", "env", "deployment/web", "--list"]);
    assert!(!env.contains("ROUND"), "{env}");

    // Paused, a new template waits; scaling does not.
    cluster.kubectl(&["rollout", "pause", "deployment/web"]);
    cluster.kubectl(&["set", "env", "deployment/web", "ROUND=3"]);
    cluster.kubectl(&["scale", "deployment/web", "--replicas=4"]);
    cluster.watch_until(&["deployment", "web", "--no-headers"], |line| line.contains("4/4"));
    cluster.kubectl(&["rollout", "resume", "deployment/web"]);
    status();

    let said = cluster.kubectl(&["describe", "deployment", "web"]);
    for wanted in ["NewReplicaSetAvailable", "MinimumReplicasAvailable", "Scaled up replica set web-"] {
        assert!(said.contains(wanted), "{wanted} is missing in:\n{said}");
    }
    let made = cluster.kubectl(&["create", "deployment", "other", "--image=busybox", "--replicas=0"]);
    assert_eq!(made.trim(), "deployment.apps/other created");

    cluster.kubectl(&["delete", "deployment", "web", "other", "--cascade=foreground", "--timeout=60s"]);
    assert_eq!(cluster.kubectl(&["get", "replicasets,pods", "-o", "name"]).trim(), "");
}
