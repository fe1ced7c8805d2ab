//! A node with a small disk that fills: the pod that fills it goes, its Job is not blamed, and the node is well again.

use crate::support::Cluster;

/// Fills its volume once; with the mark of that it is done at once.
fn greedy(mark: &str) -> String {
    format!(
        "
apiVersion: batch/v1
kind: Job
metadata: {{name: greedy}}
spec:
  backoffLimit: 0
  podFailurePolicy:
    rules: [{{action: Ignore, onPodConditions: [{{type: DisruptionTarget}}]}}]
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: c
          image: busybox
          imagePullPolicy: Never
          command: [sh, -c, 'test -e /mark/been && exit; touch /mark/been; dd if=/dev/zero of=/data/file bs=1M count=450; sleep 1000']
          volumeMounts: [{{name: data, mountPath: /data}}, {{name: mark, mountPath: /mark}}]
      volumes:
        - {{name: data, emptyDir: {{}}}}
        - {{name: mark, hostPath: {{path: {mark}, type: DirectoryOrCreate}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: bystander}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: c, image: busybox, imagePullPolicy: Never, command: [sleep, '10000']}}]
"
    )
}

#[test]
fn a_full_disk_costs_the_pod_that_filled_it_and_its_job_starts_it_again() {
    let flags = ["--eviction-hard", "nodefs.available<300Mi", "--eviction-pressure-transition-period", "1s"];
    let cluster = Cluster::up_on("768m", &[["--node-name", "solo"].as_slice(), &flags].concat());
    cluster.import_images();
    let mark = cluster.dir().join("mark");
    cluster.kubectl_with(&["apply", "-f", "-"], &greedy(mark.to_str().unwrap()));
    cluster.kubectl(&["wait", "--for=condition=DiskPressure", "node/solo", "--timeout=120s"]);
    let failed = ["pods", "-l", "job-name=greedy", "--field-selector", "status.phase=Failed", "-o"];
    cluster.watch_until(&[failed.as_slice(), &["name"]].concat(), |line| line.contains("greedy"));
    cluster.kubectl(&["wait", "--for=condition=DiskPressure=False", "node/solo", "--timeout=120s"]);
    cluster.kubectl(&["wait", "--for=condition=Complete", "job/greedy", "--timeout=120s"]);

    let job =
        cluster.kubectl(&["get", "job", "greedy", "-o", "jsonpath={.status.failed}/{.status.succeeded}"]);
    assert_eq!(job, "/1", "a disruption is no failure");
    let bystander = cluster.kubectl(&["get", "pod", "bystander", "-o", "jsonpath={.status.phase}"]);
    assert_eq!(bystander, "Running");
    let events = cluster.kubectl(&["get", "events", "-A"]);
    for wanted in [
        "The node was low on resource: ephemeral-storage. Threshold quantity: 300Mi, available: ",
        "Attempting to reclaim ephemeral-storage",
    ] {
        assert!(events.contains(wanted), "{wanted:?} is missing in:\n{events}");
    }
}
