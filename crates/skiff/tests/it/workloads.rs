//! Workloads with kubectl on a real node: roll-outs, back and forth, by hand.

use crate::support::{Cluster, sleepers};

#[test]
fn deployments_roll_forward_and_back() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    cluster.import_images();
    let status = || cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    cluster.kubectl_with(&["apply", "-f", "-"], &sleepers("Deployment", "web", "replicas: 3", ""));
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

const BUDGET: &str = "
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 3, selector: {matchLabels: {app: web}}}
";

#[test]
fn a_drain_stops_at_the_disruption_budget() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    cluster.import_images();
    cluster.kubectl_with(&["apply", "-f", "-"], &sleepers("Deployment", "web", "replicas: 3", ""));
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    cluster.kubectl_with(&["apply", "-f", "-"], BUDGET);
    cluster.watch_until(&["poddisruptionbudget", "web", "--no-headers"], |line| {
        line.split_whitespace().collect::<Vec<_>>()[..4] == ["web", "3", "N/A", "0"]
    });
    let refused = cluster.try_kubectl(&["drain", "solo", "--timeout=2s"]);
    assert!(!refused.status.success());
    let said = crate::support::words(&refused);
    assert!(said.contains("Cannot evict pod as it would violate the pod's disruption budget."), "{said}");

    // Without a promise all pods go; their successors wait for the node to be of use again.
    cluster.kubectl(&["patch", "pdb", "web", "--type=merge", "--patch={\"spec\":{\"minAvailable\":0}}"]);
    cluster.kubectl(&["drain", "solo", "--timeout=60s"]);
    let waiting = cluster.kubectl(&["get", "pods", "--no-headers"]);
    assert_eq!(waiting.lines().filter(|line| line.contains("Pending")).count(), 3, "{waiting}");
    cluster.kubectl(&["uncordon", "solo"]);
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
}

const JOBS: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: squares}
spec:
  completions: 3
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers:
        - {name: c, image: busybox, imagePullPolicy: Never,
           command: [sh, -c, 'echo $((JOB_COMPLETION_INDEX * JOB_COMPLETION_INDEX)) on $(hostname)']}
---
apiVersion: batch/v1
kind: Job
metadata: {name: hopeless}
spec:
  backoffLimit: 0
  ttlSecondsAfterFinished: 3
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: busybox, imagePullPolicy: Never, command: ['false']}]
";

#[test]
fn jobs_end_well_or_badly_and_leave_nothing() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    cluster.import_images();
    cluster.kubectl_with(&["apply", "-f", "-"], JOBS);
    cluster.kubectl(&["wait", "--for=condition=Failed", "job/hopeless", "--timeout=60s"]);
    cluster.kubectl(&["wait", "--for=condition=Complete", "job/squares", "--timeout=60s"]);
    let row = cluster.kubectl(&["get", "job", "squares", "--no-headers"]);
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[..3], ["squares", "Complete", "3/3"], "{row}");
    let selector = "batch.kubernetes.io/job-completion-index=2";
    let log = cluster.kubectl(&["logs", "--selector", selector]);
    assert_eq!(log.trim(), "4 on squares-2");
    let events = cluster.kubectl(&["describe", "job", "squares"]);
    assert!(events.contains("Job completed") && events.contains("Created pod: squares-0-"), "{events}");

    cluster.kubectl(&["wait", "--for=delete", "job/hopeless", "--timeout=60s"]);
    cluster.kubectl(&["delete", "job", "squares", "--timeout=60s"]);
    cluster.kubectl(&["wait", "--for=delete", "pods", "--all", "--timeout=60s"]);
    assert_eq!(cluster.kubectl(&["get", "jobs,pods", "-o", "name"]).trim(), "");
}

#[test]
fn a_daemon_runs_on_every_minion_and_is_renewed_one_by_one() {
    let cluster = Cluster::up(&["--nodes", "2"]);
    cluster.import_images();
    let status = || cluster.kubectl(&["rollout", "status", "daemonset/agent", "--timeout=60s"]);
    cluster.kubectl_with(&["apply", "-f", "-"], &sleepers("DaemonSet", "agent", "", ""));
    status();
    let where_ = "--output=jsonpath={.items[*].spec.nodeName}";
    let nodes = cluster.kubectl(&["get", "pods", "--selector=app=agent", where_]);
    let mut nodes: Vec<&str> = nodes.split(' ').collect();
    nodes.sort_unstable();
    assert_eq!(nodes.len(), 2);
    assert_ne!(nodes[0], nodes[1]);

    cluster.kubectl(&["set", "env", "daemonset/agent", "ROUND=2"]);
    status();
    let history = cluster.kubectl(&["rollout", "history", "daemonset/agent"]);
    assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
    cluster.kubectl(&["rollout", "undo", "daemonset/agent"]);
    status();
    let env = cluster.kubectl(&["set", "env", "daemonset/agent", "--list"]);
    assert!(!env.contains("ROUND"), "{env}");
    let row = cluster.kubectl(&["get", "daemonset", "agent", "--no-headers"]);
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[..6], ["agent", "2", "2", "2", "2", "2"], "{row}");
    cluster.kubectl(&["delete", "daemonset", "agent", "--cascade=foreground", "--timeout=60s"]);
    assert_eq!(cluster.kubectl(&["get", "pods,controllerrevisions", "-o", "name"]).trim(), "");
}

const DB: &str = "
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: busybox, imagePullPolicy: Never, command: [sleep, '1000']}]
";

#[test]
fn members_of_a_stateful_set_keep_their_names() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    cluster.import_images();
    let status = || cluster.kubectl(&["rollout", "status", "statefulset/db", "--timeout=60s"]);
    let names = || cluster.kubectl(&["get", "pods", "-o", "name"]).replace('\n', " ");
    cluster.kubectl_with(&["apply", "-f", "-"], DB);
    status();
    assert_eq!(names(), "pod/db-0 pod/db-1 ");
    let found = cluster.kubectl(&["exec", "db-0", "--", "nslookup", "db-1.db.default.svc.cluster.local"]);
    let ip = cluster.kubectl(&["get", "pod", "db-1", "--output=jsonpath={.status.podIP}"]);
    assert!(found.contains(ip.trim()), "{ip} is not in:\n{found}");

    let uid = cluster.kubectl(&["get", "pod", "db-1", "--output=jsonpath={.metadata.uid}"]);
    cluster.kubectl(&["delete", "pod", "db-1"]);
    cluster.watch_until(&["statefulset", "db", "--no-headers"], |line| line.contains("2/2"));
    let again = cluster.kubectl(&["get", "pod", "db-1", "--output=jsonpath={.metadata.uid}"]);
    assert_ne!(uid, again, "another pod under the same name");

    cluster.kubectl(&["set", "env", "statefulset/db", "ROUND=2"]);
    status();
    cluster.kubectl(&["rollout", "undo", "statefulset/db"]);
    status();
    cluster.kubectl(&["scale", "statefulset/db", "--replicas=1"]);
    cluster.kubectl(&["wait", "--for=delete", "pod/db-1", "--timeout=60s"]);
    assert_eq!(names(), "pod/db-0 ");
    let events = cluster.kubectl(&["describe", "statefulset", "db"]);
    assert!(events.contains("create Pod db-0 in StatefulSet db successful"), "{events}");
}

#[test]
fn cron_jobs_make_jobs_by_the_clock_and_by_hand() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    cluster.import_images();
    let every = "--schedule=@every 2s";
    cluster.kubectl(&["create", "cronjob", "tick", "--image=busybox:1.35", every, "--", "true"]);
    cluster.watch_until(&["jobs", "--no-headers"], |line| {
        line.contains("Complete") && line.starts_with("tick-")
    });
    cluster.kubectl(&["patch", "cronjob", "tick", "--patch={\"spec\":{\"suspend\":true}}"]);
    cluster.kubectl(&["create", "job", "once", "--from=cronjob/tick"]);
    cluster.kubectl(&["wait", "--for=condition=Complete", "job/once", "--timeout=60s"]);
    let events = cluster.kubectl(&["describe", "cronjob", "tick"]);
    assert!(events.contains("Created job tick-"), "{events}");
    let refused = cluster.try_kubectl(&["create", "cronjob", "bad", "--image=a", "--schedule=61 * * * *"]);
    let said = crate::support::words(&refused);
    assert!(
        said.contains(
            "spec.schedule: Invalid value: \"61 * * * *\": end of range (61) above maximum (59): 61"
        ),
        "{said}"
    );
    cluster.kubectl(&["delete", "cronjob", "tick", "--timeout=60s"]);
}
