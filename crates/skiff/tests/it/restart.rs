//! Skiff is restarted under running pods: nothing of theirs restarts, and connections through a service stay.

use crate::support::{Cluster, words};

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

/// A map that the store's file has no room for as it is.
fn large(name: &str) -> String {
    let text = "x".repeat(900_000);
    format!("---\n{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {{text: {text}}}}}")
}

#[test]
fn a_server_whose_disk_is_full_says_so_and_recovers() {
    let cluster = Cluster::up_on("64m", &["--node-name", "solo"]);
    cluster.kubectl(&["create", "configmap", "before"]);
    let filler = cluster.dir().join("filler");
    // Its log is on this disk as well.
    let full =
        std::io::copy(&mut std::io::repeat(1), &mut std::fs::File::create(&filler).unwrap()).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    for _ in 0..3 {
        let refused = cluster.try_kubectl_with(&["create", "-f", "-"], &large("big"));
        assert!(words(&refused).contains("No space left on device"), "{}", words(&refused));
        assert_eq!(cluster.kubectl(&["get", "configmap", "before", "-o", "name"]).trim(), "configmap/before");
    }
    std::fs::remove_file(&filler).unwrap();
    cluster.kubectl_with(&["create", "-f", "-"], &large("big"));
    cluster.kubectl(&["wait", "--for=condition=Ready", "node/solo", "--timeout=60s"]);
    cluster.kill_skiff();
    cluster.start();
    assert_eq!(cluster.kubectl(&["get", "configmap", "big", "-o", "name"]).trim(), "configmap/big");
}
