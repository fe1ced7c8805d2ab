//! The article of 2014, word for word, on two minions.

use crate::support::{Cluster, said};

/// A table of kubecfg without its heading, rule and closing empty line.
fn rows(table: &str) -> Vec<Vec<String>> {
    let rows = table.lines().skip(2).filter(|line| !line.is_empty());
    rows.map(|row| row.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn the_article_runs_to_its_end_and_leaves_nothing_behind() {
    let cluster = Cluster::up(&[
        "--nodes",
        "2",
        "--node-monitor-grace-period",
        // Nodes give a sign of life every ten seconds.
        "13",
        "--default-unreachable-toleration-seconds",
        "2",
    ]);
    cluster.import_images();
    let minions = rows(&cluster.kubecfg(&["list", "/minions"]));
    assert_eq!(minions.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["minion-1", "minion-2"]);

    // The master, and a service whose selector matches it.
    let created = cluster.kubecfg(&["-c", &Cluster::example("redis-master-pod.json"), "create", "/pods"]);
    assert!(
        created.starts_with("ID                  Image(s)            Host                Labels"),
        "{created}"
    );
    assert_eq!(rows(&created)[0][0], "redis-master-pod");
    cluster.kubecfg(&["-c", &Cluster::example("redis-master-service.json"), "create", "/services"]);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/redis-master-pod", "--timeout=120s"]);
    let listed = rows(&cluster.kubecfg(&["list", "/pods"]));
    assert_eq!(listed[0].last().unwrap(), "Running");

    // Two slaves; the host port puts one on each minion.
    cluster.kubecfg(&[
        "-c",
        &Cluster::example("redis-slave-controller.json"),
        "create",
        "/replicationControllers",
    ]);
    let ready = |count: &str| {
        let jsonpath = format!("--for=jsonpath={{.status.readyReplicas}}={count}");
        cluster.kubectl(&["wait", "rc/redisSlaveController", &jsonpath, "--timeout=120s"]);
    };
    ready("2");
    let slaves = |field: &str| -> Vec<String> {
        let path = format!("jsonpath={{.items[*].{field}}}");
        let text = cluster.kubectl(&["get", "pods", "-l", "name=redisslave", "-o", &path]);
        let mut list: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        list.sort();
        list
    };
    assert_eq!(slaves("spec.nodeName"), ["minion-1", "minion-2"]);

    // A key written by the service's address is read from a slave that replicated it.
    let portal = cluster.kubectl(&["get", "service", "redismaster", "-o", "jsonpath={.spec.clusterIP}"]);
    let slave = slaves("metadata.name").remove(0);
    let redis = |pod: &str, args: &[&str]| {
        let mut all = vec!["exec", pod, "--", "redis-cli"];
        all.extend(args);
        cluster.kubectl(&all)
    };
    assert_eq!(redis(&slave, &["-h", &portal, "set", "article", "kubernetes"]), "OK\n");
    assert_eq!(redis(&slave, &["-h", &portal, "wait", "2", "30000"]), "2\n");
    assert_eq!(redis(&slave, &["get", "article"]), "kubernetes\n");

    // By name, through cluster DNS.
    assert_eq!(redis(&slave, &["-h", "redismaster", "get", "article"]), "kubernetes\n");

    // A third one finds no minion, and the reason is told.
    cluster.kubecfg(&["resize", "redisSlaveController", "3"]);
    let message = cluster.watch_until(
        &[
            "pods",
            "-l",
            "name=redisslave",
            "-o",
            "jsonpath={.status.conditions[?(@.type==\"PodScheduled\")].message}{\"\\n\"}",
        ],
        |line| line.contains("nodes are available"),
    );
    assert!(message.contains("0/2 nodes are available: 2 node(s) didn't have free ports"), "{message}");
    cluster.kubecfg(&["resize", "redisSlaveController", "2"]);
    cluster.kubectl(&[
        "wait",
        "rc/redisSlaveController",
        "--for=jsonpath={.status.replicas}=2",
        "--timeout=60s",
    ]);

    // A killed process comes back in the same pod.
    let slave = slaves("metadata.name").remove(0);
    let restarts = "jsonpath={.status.containerStatuses[0].restartCount}{\"\\n\"}";
    // Its answer is cut off by the end it asks for; what counts is that the container comes back.
    let _cut_off = cluster.try_kubectl(&["exec", &slave, "--", "redis-cli", "shutdown", "nosave"]);
    cluster.watch_until(&["pod", &slave, "-o", restarts], |line| line == "1");
    ready("2");

    // A deleted slave is replaced.
    cluster.kubecfg(&["delete", &format!("/pods/{slave}")]);
    cluster.kubectl(&["wait", "--for=delete", &format!("pod/{slave}"), "--timeout=60s"]);
    ready("2");
    assert!(!slaves("metadata.name").contains(&slave));

    // A minion is lost for good; its pods find room on the other one, host ports allowing.
    let master_node = cluster.kubectl(&["get", "pod", "redis-master-pod", "-o", "jsonpath={.spec.nodeName}"]);
    let lost = if master_node == "minion-1" { "minion-2" } else { "minion-1" };
    cluster.kubecfg(&["resize", "redisSlaveController", "1"]);
    cluster.kubectl(&[
        "wait",
        "rc/redisSlaveController",
        "--for=jsonpath={.status.replicas}=1",
        "--timeout=60s",
    ]);
    // The other one may still be seen while it ends; the controller's events name it.
    let deleted = cluster.kubectl(&[
        "get",
        "events",
        "--field-selector=reason=SuccessfulDelete",
        "-o",
        "jsonpath={.items[*].message}",
    ]);
    let survivor = slaves("metadata.name").into_iter().find(|name| !deleted.contains(name.as_str())).unwrap();
    let its_node = cluster.kubectl(&["get", "pod", &survivor, "-o", "jsonpath={.spec.nodeName}"]);
    let slave_runs_on = |node: &str| {
        cluster.watch_until(
            &["pods", "-l", "name=redisslave", "-o", "jsonpath={.spec.nodeName} {.status.phase}{\"\\n\"}"],
            |line| line == format!("{node} Running"),
        );
    };
    if its_node != lost {
        // It must be on the minion that will be lost.
        cluster.kubectl(&["cordon", &master_node]);
        cluster.kubectl(&["delete", "pod", &survivor, "--timeout=60s"]);
        slave_runs_on(lost);
        cluster.kubectl(&["uncordon", &master_node]);
    }
    cluster.skiff(&["down", "--data-dir", cluster.dir().to_str().unwrap(), "--node", lost]);
    slave_runs_on(&master_node);

    // kubecfg takes everything away again; what the lost minion still had goes with it.
    cluster.kubecfg(&["delete", &format!("/minions/{lost}")]);
    cluster.kubecfg(&["stop", "redisSlaveController"]);
    cluster.kubectl(&["wait", "--for=delete", "pod", "-l", "name=redisslave", "--timeout=120s"]);
    cluster.kubecfg(&["rm", "redisSlaveController"]);
    cluster.kubecfg(&["delete", "/services/redismaster"]);
    cluster.kubecfg(&["delete", "/pods/redis-master-pod"]);
    cluster.kubectl(&["wait", "--for=delete", "pod/redis-master-pod", "--timeout=60s"]);
    assert_eq!(cluster.kubectl(&["get", "pods", "--no-headers", "-A"]), "");
    let pods = cluster.dir().join("nodes").join(&master_node).join("pods");
    // What a pod had on disk goes while its object is deleted; neither waits for the other.
    let gone = format!("timeout 30 sh -c 'while ls -A {} | grep .; do sleep 0.1; done'", pods.display());
    said(std::process::Command::new("sh").args(["-c", &gone]));
    // A shim ends a moment after its pod is gone; tail ends with it.
    let shims = format!("pgrep -f '[c]ontainerd-shim.*{}'", cluster.dir().display());
    let wait = format!(
        "for pid in $({shims}); do timeout 60 tail --pid=$pid -f /dev/null || exit 1; done; ! {shims}"
    );
    said(std::process::Command::new("sh").args(["-c", &wait]));
}
