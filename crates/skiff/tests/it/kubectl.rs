//! What people do with kubectl, on a real node.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::{Cluster, words};

const WEB: &str = "
apiVersion: v1
kind: ReplicationController
metadata: {name: web}
spec:
  replicas: 1
  selector: {app: web}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: httpd
        image: busybox:1.35
        imagePullPolicy: Never
        command: [sh, -c, 'echo started; mkdir /www; echo hello >/www/index.html; exec httpd -f -p 8080 -h /www']
        ports: [{containerPort: 8080, name: http}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
        resources: {requests: {cpu: 10m, memory: 8Mi}, limits: {memory: 32Mi}}
";

#[test]
fn a_day_with_kubectl() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    cluster.import_images();

    // apply, unchanged and changed; wait; get in its forms; describe.
    assert_eq!(cluster.kubectl_with(&["apply", "-f", "-"], WEB), "replicationcontroller/web created\n");
    assert_eq!(cluster.kubectl_with(&["apply", "-f", "-"], WEB), "replicationcontroller/web unchanged\n");
    cluster.kubectl(&["wait", "rc/web", "--for=jsonpath={.status.readyReplicas}=1", "--timeout=120s"]);
    let pod = cluster.kubectl(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}"]);
    let wide = cluster.kubectl(&["get", "pod", &pod, "-o", "wide", "--no-headers"]);
    assert!(wide.contains("1/1") && wide.contains("Running") && wide.contains("solo"), "{wide}");
    assert!(cluster.kubectl(&["get", "pod", &pod, "-o", "yaml"]).contains("qosClass: Burstable"));
    let described = cluster.kubectl(&["describe", "pod", &pod]);
    for wanted in ["Successfully assigned", "Container started", "Controlled By:  ReplicationController/web"]
    {
        assert!(described.contains(wanted), "no {wanted:?} in {described}");
    }

    // logs, followed to a line; exec, its exit code and its input; cp both ways.
    assert_eq!(cluster.kubectl(&["logs", &pod]), "started\n");
    let mut follow =
        cluster.kubectl_command().args(["logs", "-f", &pod]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(follow.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "started\n");
    follow.kill().unwrap();
    follow.wait().unwrap();
    let failed = cluster.try_kubectl(&["exec", &pod, "--", "sh", "-c", "exit 3"]);
    assert_eq!(failed.status.code(), Some(3), "{}", words(&failed));
    assert_eq!(cluster.kubectl_with(&["exec", "-i", &pod, "--", "tr", "a-z", "A-Z"], "loud\n"), "LOUD\n");
    let local = cluster.dir().join("note.txt");
    std::fs::write(&local, "a note").unwrap();
    cluster.kubectl(&["cp", local.to_str().unwrap(), &format!("{pod}:/www/note.txt")]);
    let back = cluster.dir().join("back.txt");
    cluster.kubectl(&["cp", &format!("{pod}:/www/note.txt"), back.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&back).unwrap(), "a note");

    port_forward(&cluster, &pod);

    // scale, label, annotate, patch, edit, events, delete.
    cluster.kubectl(&["scale", "rc/web", "--replicas=3"]);
    cluster.kubectl(&["wait", "rc/web", "--for=jsonpath={.status.readyReplicas}=3", "--timeout=120s"]);
    cluster.kubectl(&["label", "pod", &pod, "tier=front"]);
    assert!(cluster.kubectl(&["get", "pods", "-l", "tier=front", "-o", "name"]).contains(&pod));
    cluster.kubectl(&["annotate", "pod", &pod, "note=seen"]);
    cluster.kubectl(&[
        "patch",
        "rc",
        "web",
        "--type=json",
        "-p",
        r#"[{"op":"replace","path":"/spec/replicas","value":2}]"#,
    ]);
    cluster.kubectl(&["wait", "rc/web", "--for=jsonpath={.status.replicas}=2", "--timeout=60s"]);
    let mut edit = cluster.kubectl_command();
    edit.env("EDITOR", "sed -i 's/replicas: 2/replicas: 1/'").args(["edit", "rc", "web"]);
    assert!(edit.output().unwrap().status.success());
    cluster.kubectl(&["wait", "rc/web", "--for=jsonpath={.status.replicas}=1", "--timeout=60s"]);
    assert!(cluster.kubectl(&["events"]).contains("SuccessfulCreate"));

    // What there is, and what it means.
    let resources = cluster.kubectl(&["api-resources"]);
    assert!(
        resources.contains("replicationcontrollers") && resources.contains("endpointslices"),
        "{resources}"
    );
    assert!(cluster.kubectl(&["explain", "pod.spec"]).contains("containers\t<[]Container> -required-"));

    cluster.kubectl(&["delete", "rc", "web", "--timeout=60s"]);
    cluster.kubectl(&["wait", "--for=delete", "pods", "-l", "app=web", "--timeout=60s"]);
    assert_eq!(cluster.kubectl(&["get", "pods", "--no-headers"]), "");
}

/// A request through `kubectl port-forward`, made inside the cluster's network namespace.
fn port_forward(cluster: &Cluster, pod: &str) {
    let mut forward = cluster
        .kubectl_command()
        .args(["port-forward", pod, "18080:8080", "--address", "127.0.0.1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(forward.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("Forwarding from 127.0.0.1:18080"), "{line}");
    let answer =
        cluster.inside("timeout").args(["20", "busybox", "wget", "-qO-", "http://127.0.0.1:18080/"]).output();
    forward.kill().unwrap();
    forward.wait().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.unwrap().stdout), "hello\n");
}
