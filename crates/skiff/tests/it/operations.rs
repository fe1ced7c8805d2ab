//! What operators do with kubectl on a real node: autoscale under load, taint and drain, change what runs.

use crate::support::{Cluster, sleepers, words};

const BUSY: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: busy}
spec:
  selector: {matchLabels: {app: busy}}
  template:
    metadata: {labels: {app: busy}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: c
          image: busybox
          imagePullPolicy: Never
          command: [sh, -c, 'while :; do :; done']
          resources: {requests: {cpu: 20m}, limits: {cpu: 60m}}
";

#[test]
fn an_autoscaler_follows_real_load() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    cluster.import_images();
    cluster.kubectl_with(&["apply", "-f", "-"], BUSY);
    let made = cluster.kubectl(&["autoscale", "deployment/busy", "--cpu-percent=50", "--min=1", "--max=3"]);
    assert_eq!(made.trim(), "horizontalpodautoscaler.autoscaling/busy autoscaled");
    cluster.kubectl(&["wait", "--for=jsonpath={.status.replicas}=3", "deployment/busy", "--timeout=180s"]);
    let told = cluster.kubectl(&["describe", "hpa", "busy"]);
    for wanted in [
        "resource cpu on pods  (as a percentage of request):",
        "ValidMetricFound",
        "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)",
        "New size: 3; reason: cpu resource utilization (percentage of request) above target",
    ] {
        assert!(told.contains(wanted), "{wanted:?} is missing in:\n{told}");
    }
    let row = cluster.kubectl(&["get", "hpa", "busy", "--no-headers"]);
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!((cells[1], cells[2], cells[4], cells[5]), ("Deployment/busy", "cpu:", "1", "3"), "{row}");
    cluster.kubectl(&["delete", "hpa", "busy"]);
}

/// A deployment that runs from the taint `evil` after two seconds, and a daemon that tolerates everything.
fn web() -> String {
    let fearful = "tolerations: [{key: evil, operator: Exists, effect: NoExecute, tolerationSeconds: 2}]";
    let web = sleepers("Deployment", "web", "replicas: 2", fearful);
    let agent = sleepers("DaemonSet", "agent", "", "tolerations: [{operator: Exists}]");
    format!("{web}---{agent}")
}

#[test]
fn taints_and_drains_clear_a_node_and_daemons_stay() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    cluster.import_images();
    cluster.kubectl_with(&["apply", "-f", "-"], &web());
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    cluster.kubectl(&["rollout", "status", "daemonset/agent", "--timeout=60s"]);
    let pods = |app: &str| cluster.kubectl(&["get", "pods", "-l", &format!("app={app}"), "-o", "name"]);
    let (before, agent) = (pods("web"), pods("agent"));

    assert_eq!(cluster.kubectl(&["taint", "node", "solo", "evil=yes:NoExecute"]).trim(), "node/solo tainted");
    for pod in before.lines() {
        cluster.kubectl(&["wait", "--for=delete", pod, "--timeout=60s"]);
    }
    assert!(cluster.kubectl(&["events"]).contains("TaintManagerEviction"));
    assert_eq!(cluster.kubectl(&["taint", "node", "solo", "evil-"]).trim(), "node/solo untainted");
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);

    let refused = words(&cluster.try_kubectl(&["drain", "solo", "--timeout=30s"]));
    assert!(refused.contains("cannot delete DaemonSet-managed Pods"), "{refused}");
    let drained = cluster.kubectl(&["drain", "solo", "--ignore-daemonsets", "--timeout=60s"]);
    assert!(
        drained.contains("evicting pod default/web-") && drained.contains("node/solo drained"),
        "{drained}"
    );
    let row = cluster.kubectl(&["get", "node", "solo", "--no-headers"]);
    assert!(row.contains("Ready,SchedulingDisabled"), "{row}");
    assert_eq!(pods("agent"), agent, "the daemon was left alone");
    assert_eq!(cluster.kubectl(&["uncordon", "solo"]).trim(), "node/solo uncordoned");
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
}

#[test]
fn what_runs_is_changed_by_words() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    cluster.import_images();
    cluster.kubectl_with(&["apply", "-f", "-"], &web());
    let status = || cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let get =
        |path: &str| cluster.kubectl(&["get", "deployment", "web", "-o", &format!("jsonpath={{{path}}}")]);
    status();
    assert_eq!(
        cluster.kubectl(&["set", "image", "deployment/web", "c=busybox:1.35"]).trim(),
        "deployment.apps/web image updated"
    );
    status();
    cluster.kubectl(&["set", "resources", "deployment/web", "--requests=cpu=5m"]);
    status();
    assert_eq!(
        cluster.kubectl(&["rollout", "restart", "deployment/web"]).trim(),
        "deployment.apps/web restarted"
    );
    status();
    let history = cluster.kubectl(&["rollout", "history", "deployment/web", "--revision=2"]);
    assert!(history.contains("revision #2") && history.contains("busybox:1.35"), "{history}");
    cluster.kubectl(&["rollout", "undo", "deployment/web", "--to-revision=2"]);
    status();
    assert_eq!(get(".spec.template.spec.containers[0].resources"), "{}");
    assert_eq!(get(".metadata.annotations.deployment\\.kubernetes\\.io/revision"), "5");
    cluster.kubectl(&[
        "wait",
        "--for=jsonpath={.status.terminatingReplicas}=0",
        "deployment/web",
        "--timeout=60s",
    ]);

    let exposed = cluster.kubectl(&["expose", "deployment/web", "--port=80", "--target-port=8080"]);
    assert_eq!(exposed.trim(), "service/web exposed");
    let port = cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.ports[0].targetPort}"]);
    assert_eq!(port, "8080");
    let token = cluster.kubectl(&["create", "token", "default", "--duration=10m"]);
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
    cluster.kubectl(&["label", "deployment", "web", "tier=front"]);
    cluster.kubectl(&["annotate", "deployment", "web", "kubernetes.io/change-cause=words"]);
    let history = cluster.kubectl(&["rollout", "history", "deployment/web"]);
    assert!(history.contains("5         words"), "{history}");
    let events = cluster.kubectl(&["events", "--for", "deployment/web"]);
    assert!(events.contains("ScalingReplicaSet"), "{events}");
    let scaled = cluster.try_kubectl(&["scale", "deployment/web", "--current-replicas=7", "--replicas=1"]);
    assert!(words(&scaled).contains("Expected replicas to be 7, was 2"), "{}", words(&scaled));
}
