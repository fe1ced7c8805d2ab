//! Clusters of both address families, and of IPv6 alone, on several nodes.

use std::time::{Duration, Instant};

use crate::support::{Cluster, said};

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  nodeName: minion-1
  containers:
    - name: c
      image: busybox
      imagePullPolicy: Never
      command: [sh, -c, 'mkdir /tmp/www; echo hello > /tmp/www/index.html; exec httpd -f -p [::]:8080 -h /tmp/www']
      ports: [{name: http, containerPort: 8080}]
      readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec:
  nodeName: minion-2
  containers:
    - name: c
      image: busybox
      imagePullPolicy: Never
      command: [sleep, '3600']
      env: [{name: OWN, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  ipFamilyPolicy: PreferDualStack
  selector: {app: web}
  ports: [{port: 80, targetPort: http, nodePort: 30080}]
";

fn field(cluster: &Cluster, kind: &str, name: &str, path: &str) -> String {
    cluster.kubectl(&["get", kind, name, "-o", &format!("jsonpath={{{path}}}")])
}

fn in_client(cluster: &Cluster, command: &str) -> String {
    let output = cluster.try_kubectl(&["exec", "client", "--", "sh", "-c", command]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether the client gets the page of the web server.
fn gets(cluster: &Cluster, place: &str) -> bool {
    in_client(cluster, &format!("timeout 2 wget -qO- http://{place}/")) == "hello\n"
}

fn until(what: &str, mut now: impl FnMut() -> bool) {
    let start = Instant::now();
    while !now() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
    }
}

fn start(pods: &str, services: &str) -> Cluster {
    let cluster = Cluster::up(&["--nodes", "2", "--cluster-cidr", pods, "--service-cidr", services]);
    cluster.import_images();
    cluster.kubectl_with(&["apply", "-f", "-"], PODS);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pods", "--all", "--timeout=90s"]);
    cluster
}

/// A page by a node's port, from the machine that the nodes are on.
fn by_node_port(cluster: &Cluster, node: &str) -> String {
    said(cluster.inside("curl").args(["-sg", "--max-time", "5"]).arg(format!("http://{node}:30080/")))
}

#[test]
fn a_cluster_of_both_families_works_by_either() {
    let cluster = start("10.244.0.0/16,fd00:244::/56", "10.96.0.0/16,fd00:96::/112");
    let get = |kind: &str, name: &str, path: &str| field(&cluster, kind, name, path);
    assert_eq!(get("node", "minion-1", ".spec.podCIDRs[*]").matches("/24 fd00:244:").count(), 1);
    assert_eq!(get("pod", "web", ".status.hostIPs[*].ip"), "10.89.0.11 fd00:89::b");
    let own = get("pod", "client", ".status.podIPs[*].ip");
    assert_eq!(in_client(&cluster, "echo -n $OWN"), own.replace(' ', ","));

    let pod = get("pod", "web", ".status.podIPs[1].ip");
    assert!(gets(&cluster, &format!("[{pod}]:8080")), "a pod of another node");
    let ips = get("service", "web", ".spec.clusterIPs[*]");
    let (four, six) = ips.split_once(' ').unwrap();
    assert!(six.starts_with("fd00:96::"), "{ips}");
    assert!(gets(&cluster, four) && gets(&cluster, &format!("[{six}]")), "the service by both addresses");
    for node in ["10.89.0.11", "10.89.0.12", "[fd00:89::b]", "[fd00:89::c]"] {
        assert_eq!(by_node_port(&cluster, node), "hello\n", "{node}");
    }
    let named = in_client(&cluster, "nslookup -type=aaaa web.default.svc.cluster.local");
    assert!(named.contains(six), "{named}");
    let back = in_client(&cluster, &format!("nslookup {six}"));
    assert!(back.contains("web.default.svc.cluster.local"), "{back}");
    let hosts = in_client(&cluster, "cat /etc/hosts");
    assert!(own.split(' ').all(|ip| hosts.contains(&format!("{ip}\tclient"))), "{hosts}");
    let slices = [
        "get",
        "endpointslices",
        "-l",
        "kubernetes.io/service-name=web",
        "-o",
        "jsonpath={.items[*].addressType}",
    ];
    let mut families: Vec<String> = cluster.kubectl(&slices).split(' ').map(str::to_owned).collect();
    families.sort();
    assert_eq!(families, ["IPv4", "IPv6"]);

    // Policies are about pods, not about one of their addresses.
    let policy = |ingress: &str| {
        let spec = format!(
            "{{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [Ingress], ingress: [{ingress}]}}"
        );
        let policy = format!(
            "{{\"apiVersion\": \"networking.k8s.io/v1\", kind: NetworkPolicy, metadata: {{name: p}}, spec: {spec}}}"
        );
        cluster.kubectl_with(&["apply", "-f", "-"], &format!("---\n{policy}"));
    };
    policy("");
    until("kept out", || !gets(&cluster, four) && !gets(&cluster, &format!("[{six}]")));
    policy("{from: [{podSelector: {matchLabels: {app: client}}}]}");
    until("let in", || gets(&cluster, four) && gets(&cluster, &format!("[{six}]")));

    // One family less.
    let single = "{\"spec\": {\"ipFamilyPolicy\": \"SingleStack\"}}";
    cluster.kubectl(&["patch", "service", "web", "-p", single]);
    assert_eq!(get("service", "web", ".spec.clusterIPs[*]"), four);
    until("not by the second address", || !gets(&cluster, &format!("[{six}]")));
    assert!(gets(&cluster, four));
}

#[test]
fn a_cluster_of_ipv6_alone_works() {
    let cluster = start("fd00:244::/56", "fd00:96::/112");
    let get = |kind: &str, name: &str, path: &str| field(&cluster, kind, name, path);
    assert_eq!(get("service", "kubernetes", ".spec.clusterIPs[*]"), "fd00:96::1");
    assert_eq!(get("service", "web", ".spec.ipFamilies[*]"), "IPv6");
    assert!(get("pod", "web", ".status.podIPs[*].ip").starts_with("fd00:244:"));
    assert!(gets(&cluster, "web"), "by its name");
    assert_eq!(by_node_port(&cluster, "[fd00:89::c]"), "hello\n");
    assert!(cluster.kubectl(&["get", "endpoints", "web"]).contains("[fd00:244:"));
}

#[test]
fn ranges_that_do_not_fit_are_refused_before_anything_starts() {
    let refused = |args: &[&str]| {
        let output = std::process::Command::new(crate::support::SKIFF).arg("up").args(args).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let told = refused(&["--service-cidr", "fd00:96::/112"]);
    assert!(told.contains("--service-cidr has a range of IPv6, --cluster-cidr has none"), "{told}");
    let told = refused(&["--cluster-cidr", "10.244.0.0/16,fd00:244::/80"]);
    assert!(told.contains("its length must be 48 to 64"), "{told}");
    let told = refused(&["--cluster-cidr", "10.244.0.0/16,10.245.0.0/16"]);
    assert!(told.contains("at most one of IPv4 and one of IPv6"), "{told}");
}
