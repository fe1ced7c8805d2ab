//! Services, nodes and slices in YAML, and the addresses that come of them.

use serde::de::DeserializeOwned;

use super::*;

fn given<T: DeserializeOwned>(yaml: &str) -> T {
    serde_saphyr::from_str(yaml).unwrap()
}

fn node(name: &str, ready: &str, addresses: &str, labels: &str) -> Site {
    Site::of(&given(&format!(
        "{{metadata: {{name: {name}, labels: {{{labels}}}}}, status: {{conditions: [{{type: Ready, status: '{ready}'}}], \
         addresses: [{addresses}], daemonEndpoints: {{kubeletEndpoint: {{Port: 10250}}}}}}}}"
    )))
}

fn service(name: &str, day: u32, more: &str) -> Service {
    given(&format!(
        "{{metadata: {{name: {name}, namespace: default, uid: {name}, creationTimestamp: '2026-11-{day:02}T10:00:00Z'}}, \
         spec: {{type: LoadBalancer, ipFamilies: [IPv4], {more}}}}}"
    ))
}

fn slice(more: &str) -> Arc<EndpointSlice> {
    Arc::new(given(&format!("{{metadata: {{name: s}}, addressType: IPv4, {more}}}")))
}

/// Two nodes that serve, and some that do not.
fn here() -> Here {
    let internal = |ip: &str| format!("{{type: InternalIP, address: {ip}}}, {{type: Hostname, address: h}}");
    Here {
        sites: vec![
            node("a", "True", &internal("10.0.0.1"), ""),
            node(
                "b",
                "True",
                &format!("{}, {{type: ExternalIP, address: 1.2.3.4}}", internal("10.0.0.2")),
                "",
            ),
            node("v6", "True", "{type: InternalIP, address: 'fd00::1'}", ""),
            node("ill", "Unknown", &internal("10.0.0.3"), ""),
            node("apart", "True", &internal("10.0.0.4"), &format!("{EXCLUDED}: ''")),
        ],
        servers: vec![slice("endpoints: [{addresses: [10.0.0.1]}], ports: [{port: 6443}]")],
        ..Here::default()
    }
}

#[test]
fn every_ready_node_serves_at_the_address_it_is_reached_at() {
    let here = here();
    let web = service("web", 1, "ports: [{port: 80}]");
    assert_eq!(here.addresses(&web).unwrap(), ["1.2.3.4", "10.0.0.1"]);
    let both = web.clone();
    let both = Service {
        spec: both
            .spec
            .map(|spec| ServiceSpec { ip_families: Some(vec!["IPv4".into(), "IPv6".into()]), ..spec }),
        ..both
    };
    assert_eq!(here.addresses(&both).unwrap(), ["1.2.3.4", "10.0.0.1", "fd00::1"]);
}

#[test]
fn with_the_policy_local_only_nodes_with_endpoints_serve() {
    let mut here = here();
    let web = service("web", 1, "externalTrafficPolicy: Local, ports: [{port: 80}]");
    assert!(here.addresses(&web).unwrap().is_empty());
    here.own = vec![slice(
        "endpoints: [{addresses: [10.1.0.1], nodeName: a, conditions: {ready: true}}, {addresses: [10.1.0.2], nodeName: b, \
         conditions: {ready: false}}]",
    )];
    assert_eq!(here.addresses(&web).unwrap(), ["10.0.0.1"]);
}

#[test]
fn a_port_is_the_oldest_services() {
    let mut here = here();
    let (old, new) = (
        service("old", 1, "ports: [{port: 80}, {port: 53, protocol: UDP}]"),
        service("new", 2, "ports: [{port: 80}]"),
    );
    let aside = service("aside", 3, "ports: [{port: 53}]");
    here.rivals = [&old, &new, &aside].map(|service| Arc::new(service.clone())).to_vec();
    assert!(here.addresses(&old).is_ok());
    assert_eq!(here.addresses(&new).unwrap_err(), "port 80/TCP is taken by service default/old");
    assert!(here.addresses(&aside).is_ok(), "of another protocol");
}

#[test]
fn what_cannot_be_served_is_refused_with_the_reason() {
    let here = here();
    for (more, why) in [
        ("ports: [{port: 6443}]", "port 6443/TCP is the nodes' own"),
        ("ports: [{port: 80}, {port: 10250, protocol: TCP}]", "port 10250/TCP is the nodes' own"),
        (
            "loadBalancerSourceRanges: [10.0.0.0/8], ports: [{port: 80}]",
            "loadBalancerSourceRanges are not supported by the nodes' proxies",
        ),
    ] {
        assert_eq!(here.addresses(&service("web", 1, more)).unwrap_err(), why);
    }
}

#[test]
fn services_of_other_balancers_and_kinds_are_left_alone() {
    assert!(is_ours(&service("web", 1, "ports: [{port: 80}]")));
    assert!(!is_ours(&service("web", 1, "loadBalancerClass: example.com/big, ports: [{port: 80}]")));
    assert!(!is_ours(&given("{metadata: {name: web}, spec: {type: NodePort}}")));
    let ending =
        "{metadata: {name: web, deletionTimestamp: '2026-11-22T10:00:00Z'}, spec: {type: LoadBalancer}}";
    assert!(!is_ours(&given(ending)));
}
