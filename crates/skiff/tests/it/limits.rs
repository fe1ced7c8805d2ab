//! Limits and ends of things with kubectl: quotas that deny, deletions in their three forms, namespaces that are held.

use crate::support::{Cluster, words};

const QUOTA: &str = "
apiVersion: v1
kind: LimitRange
metadata: {name: usual}
spec: {limits: [{type: Container, default: {cpu: 200m}, defaultRequest: {cpu: 100m}}]}
";

#[test]
fn quotas_deny_and_say_what_is_used() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    cluster.kubectl(&["create", "namespace", "team"]);
    cluster.kubectl_with(&["apply", "-n", "team", "-f", "-"], QUOTA);
    let hard = "--hard=pods=2,requests.cpu=1,count/deployments.apps=1,services=1";
    cluster.kubectl(&["create", "quota", "q", hard, "-n", "team"]);
    let image = ["--image=busybox", "--replicas=3"];
    cluster.kubectl(&["create", "deployment", "web", image[0], image[1], "-n", "team"]);
    cluster.watch_until(&["quota", "q", "-n", "team", "--no-headers"], |line| line.contains("pods: 2/2"));
    let told = cluster.kubectl(&["describe", "quota", "q", "-n", "team"]);
    for wanted in ["pods                    2     2", "requests.cpu            200m  1"] {
        assert!(told.contains(wanted), "{wanted:?} is missing in:\n{told}");
    }
    let refused = cluster.try_kubectl(&["create", "deployment", "more", image[0], "-n", "team"]);
    let said = words(&refused);
    let expected = "exceeded quota: q, requested: count/deployments.apps=1, used: count/deployments.apps=1, limited: count/deployments.apps=1";
    assert!(!refused.status.success() && said.contains(expected), "{said}");
    let described = cluster.kubectl(&["describe", "namespace", "team"]);
    assert!(described.contains("Resource Quotas") && described.contains("Resource Limits"), "{described}");
    // What the replica set met is told where its user looks.
    let events = cluster.kubectl(&["get", "events", "-n", "team"]);
    assert!(
        events.contains("exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"),
        "{events}"
    );
}

#[test]
fn deletions_cascade_as_asked_and_held_namespaces_say_why() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    let names = |what: &str| cluster.kubectl(&["get", what, "-o", "name", "-l", "app=web"]);
    for (cascade, left) in [("background", false), ("foreground", false), ("orphan", true)] {
        cluster.kubectl(&["create", "deployment", "web", "--image=busybox"]);
        cluster.watch_until(&["pods", "-l", "app=web", "--no-headers"], |line| line.contains("web-"));
        cluster.kubectl(&["delete", "deployment", "web", &format!("--cascade={cascade}"), "--timeout=60s"]);
        if left {
            assert!(names("replicasets").contains("web-"));
        } else {
            cluster.kubectl(&["wait", "--for=delete", "replicasets", "-l", "app=web", "--timeout=60s"]);
            assert_eq!(names("replicasets").trim(), "");
        }
    }

    cluster.kubectl(&["create", "namespace", "held"]);
    cluster.kubectl(&["create", "configmap", "keep", "-n", "held"]);
    let hold = r#"{"metadata":{"finalizers":["example.com/keep"]}}"#;
    cluster.kubectl(&["patch", "configmap", "keep", "-n", "held", "--type=merge", "-p", hold]);
    cluster.kubectl(&["delete", "namespace", "held", "--wait=false"]);
    let condition = "--for=condition=NamespaceFinalizersRemaining";
    cluster.kubectl(&["wait", "namespace/held", condition, "--timeout=60s"]);
    let refused = words(&cluster.try_kubectl(&["create", "configmap", "late", "-n", "held"]));
    assert!(
        refused.contains("unable to create new content in namespace held because it is being terminated"),
        "{refused}"
    );
    let free = r#"{"metadata":{"finalizers":null}}"#;
    cluster.kubectl(&["patch", "configmap", "keep", "-n", "held", "--type=merge", "-p", free]);
    cluster.kubectl(&["wait", "--for=delete", "namespace/held", "--timeout=60s"]);
}
