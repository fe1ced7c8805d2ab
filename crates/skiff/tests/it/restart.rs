//! Skiff is restarted under running pods: nothing of theirs restarts, and connections through a service stay.

use crate::support::Cluster;

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: echo}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: echo, image: busybox:1.35, imagePullPolicy: Never, command: [nc, -ll, -p, '7', -e, cat], ports: [{containerPort: 7}]}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {selector: {app: echo}, ports: [{port: 7}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: client
    image: busybox:1.35
    imagePullPolicy: Never
    # One connection for ever, once the service answers: lines go in from a pipe, echoes come out in a file.
    command: [sh, -c, 'mkfifo /in; exec 3<>/in; until nc -w 1 echo 7 </dev/null; do usleep 50000; done; exec nc echo 7 </in >/out']
";

#[test]
fn pods_and_their_connections_live_through_a_restart_of_skiff() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    cluster.import_images();
    cluster.kubectl_with(&["apply", "-f", "-"], PODS);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/server", "pod/client", "--timeout=120s"]);
    let echo = |word: &str| {
        let script = format!("echo {word} >/in; until grep -qs {word} /out; do usleep 10000; done");
        cluster.kubectl(&["exec", "client", "--", "timeout", "20", "sh", "-c", &script]);
    };
    let ids = || {
        let path = "jsonpath={.items[*].status.containerStatuses[*].containerID} {.items[*].status.containerStatuses[*].restartCount}";
        cluster.kubectl(&["get", "pods", "-o", path])
    };
    echo("before");
    let before = ids();
    cluster.stop_skiff();
    cluster.start();
    cluster.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "node/solo",
        "pod/server",
        "pod/client",
        "--timeout=60s",
    ]);
    assert_eq!(ids(), before, "containers changed");
    echo("after");
    // What was there before is still known well enough to be deleted in good order.
    cluster.kubectl(&["delete", "pod", "server", "client", "--timeout=60s"]);
}
