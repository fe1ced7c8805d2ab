//! How a pod names itself and resolves others, by table.

use super::super::hosts::{ClusterDns, dns, hostname, hosts, parse_resolv_conf};
use super::pod;
use crate::runtime::Dns;

fn resolved(spec: &str) -> String {
    let pod = pod(&format!("{{metadata: {{namespace: ns}}, spec: {{containers: [], {spec}}}}}"));
    let cluster = ClusterDns { servers: vec!["10.96.0.10".to_owned()], domain: "cluster.local".to_owned() };
    let node = parse_resolv_conf("nameserver 9.9.9.9\nsearch example.org # ours\noptions timeout:1\n");
    let Dns { servers, searches, options } = dns(&pod, pod.spec.as_ref().unwrap(), &cluster, &node);
    format!("{} | {} | {}", servers.join(" "), searches.join(" "), options.join(" "))
}

#[test]
fn names_are_resolved_by_the_policy() {
    let node = "9.9.9.9 | example.org | timeout:1";
    let cluster = "10.96.0.10 | ns.svc.cluster.local svc.cluster.local cluster.local example.org | ndots:5";
    for (spec, expected) in [
        ("", cluster),
        ("dnsPolicy: Default", node),
        ("hostNetwork: true", node),
        ("hostNetwork: true, dnsPolicy: ClusterFirstWithHostNet", cluster),
        (
            "dnsPolicy: None, dnsConfig: {nameservers: [1.1.1.1], searches: [a], options: [{name: ndots, value: '2'}]}",
            "1.1.1.1 | a | ndots:2",
        ),
        (
            "dnsPolicy: Default, dnsConfig: {options: [{name: timeout, value: '3'}, {name: edns0}]}",
            "9.9.9.9 | example.org | timeout:3 edns0",
        ),
    ] {
        assert_eq!(resolved(spec), expected, "given {spec}");
    }
}

#[test]
fn a_subdomain_gives_a_full_name() {
    let pod = pod("{metadata: {name: web-0, namespace: ns}, spec: {subdomain: web, containers: []}}");
    let (host, full) = hostname(&pod, "cluster.local");
    assert_eq!((host.as_str(), full.as_deref()), ("web-0", Some("web-0.web.ns.svc.cluster.local")));
    let text = hosts(&["10.0.0.1".to_owned()], &host, full.as_deref(), &[]);
    assert!(
        text.ends_with("fe00::2\tip6-allrouters\n10.0.0.1\tweb-0.web.ns.svc.cluster.local\tweb-0\n"),
        "{text}"
    );
}

#[test]
fn long_names_are_cut_to_what_the_kernel_takes() {
    let name = format!("{}-{}", "a".repeat(62), "b".repeat(30));
    let pod = pod(&format!("{{metadata: {{name: {name}}}, spec: {{containers: []}}}}"));
    assert_eq!(hostname(&pod, "cluster.local").0, "a".repeat(62));
}

#[test]
fn a_host_name_of_ones_own_is_taken_as_it_is() {
    let pod = pod(
        "{metadata: {namespace: ns}, spec: {containers: [], hostname: h, subdomain: s, hostnameOverride: my.name}}",
    );
    assert_eq!(hostname(&pod, "cluster.local"), ("my.name".to_owned(), None));
}
