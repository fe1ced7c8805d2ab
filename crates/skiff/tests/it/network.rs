//! Network policies between real pods, written with kubectl.

use std::time::{Duration, Instant};

use crate::support::Cluster;

/// A web server and who may want to reach it: in the same namespace twice, and in another one.
const PODS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: other, labels: {team: blue}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
    - name: c
      image: busybox
      imagePullPolicy: Never
      command: [sh, -c, 'mkdir /tmp/www; echo hello > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www']
      ports: [{name: http, containerPort: 8080}]
      readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: friend, labels: {app: friend}}
spec: {containers: [{name: c, image: busybox, imagePullPolicy: Never, command: [sleep, '3600']}]}
---
apiVersion: v1
kind: Pod
metadata: {name: stranger, labels: {app: stranger}}
spec: {containers: [{name: c, image: busybox, imagePullPolicy: Never, command: [sleep, '3600']}]}
---
apiVersion: v1
kind: Pod
metadata: {name: neighbour, namespace: other, labels: {app: neighbour}}
spec: {containers: [{name: c, image: busybox, imagePullPolicy: Never, command: [sleep, '3600']}]}
";

fn policy(name: &str, spec: &str) -> String {
    format!(
        "---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}}}, spec: {spec}}}"
    )
}

/// Who reaches the web server, through its service.
fn reach(cluster: &Cluster, address: &str) -> [bool; 3] {
    [("default", "friend"), ("default", "stranger"), ("other", "neighbour")].map(|(namespace, pod)| {
        let wget = format!("timeout 1 wget -qO- http://{address}");
        cluster.try_kubectl(&["exec", "-n", namespace, pod, "--", "sh", "-c", &wget]).status.success()
    })
}

fn until<T: PartialEq + std::fmt::Debug>(expected: T, mut now: impl FnMut() -> T) {
    let start = Instant::now();
    loop {
        let seen = now();
        if seen == expected {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{seen:?} instead of {expected:?}");
    }
}

#[test]
fn network_policies_say_who_may_talk_to_whom() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    cluster.import_images();
    cluster.kubectl_with(&["apply", "-f", "-"], PODS);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pods", "--all", "-A", "--timeout=60s"]);
    cluster.kubectl(&["expose", "pod", "web", "--port=80", "--target-port=http"]);
    let service = cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]);
    let address_of = |pod: &str| cluster.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.podIP}"]);
    let apply = |name: &str, spec: &str| {
        cluster.kubectl_with(&["apply", "-f", "-"], &policy(name, spec));
    };
    let who = || reach(&cluster, &service);
    until([true; 3], who);

    apply("deny", "{podSelector: {}, policyTypes: [Ingress]}");
    until([false; 3], who);
    // The node's probes pass all the while.
    let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    assert_eq!(cluster.kubectl(&["get", "pod", "web", "-o", ready]), "True");

    let from = |peer: &str| {
        let rule = format!("{{from: [{peer}], ports: [{{port: http}}]}}");
        apply("allow", &format!("{{podSelector: {{matchLabels: {{app: web}}}}, ingress: [{rule}]}}"));
    };
    from("{podSelector: {matchLabels: {app: friend}}}");
    until([true, false, false], who);
    from("{namespaceSelector: {matchLabels: {team: blue}}}");
    until([false, false, true], who);
    from(&format!("{{ipBlock: {{cidr: 10.0.0.0/8, except: [{}/32]}}}}", address_of("stranger")));
    until([true, false, true], who);

    // Outward: nothing, then names only, then the web server too.
    let dns = || {
        let ask = "timeout 2 nslookup kubernetes.default.svc.cluster.local";
        cluster.try_kubectl(&["exec", "friend", "--", "sh", "-c", ask]).status.success()
    };
    let names = "{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: \
                 {matchLabels: {k8s-app: kube-dns}}}], ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]}";
    let out = |rules: &str| {
        let friend = "{matchLabels: {app: friend}}";
        apply("out", &format!("{{podSelector: {friend}, policyTypes: [Egress], egress: [{rules}]}}"));
    };
    assert!(dns());
    out("");
    until(false, dns);
    out(names);
    until(true, dns);
    assert_eq!(who(), [false, false, true]);
    out(&format!("{names}, {{to: [{{podSelector: {{matchLabels: {{app: web}}}}}}]}}"));
    until([true, false, true], who);

    cluster.kubectl(&["delete", "networkpolicies", "--all"]);
    until([true; 3], who);

    // From outside the pods, at the node's own address and the port that the service names.
    let front =
        ["expose", "pod", "web", "--name=front", "--port=80", "--target-port=http", "--type=LoadBalancer"];
    cluster.kubectl(&front);
    let point = ["service", "front", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}{'\\n'}"];
    let address = cluster.watch_until(&point, |address| !address.is_empty());
    until(true, || {
        let fetched =
            cluster.inside("busybox").args(["wget", "-qO-", &format!("http://{}/", address.trim())]).output();
        fetched.unwrap().stdout == b"hello\n"
    });
}
