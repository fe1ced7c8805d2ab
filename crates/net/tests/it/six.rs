//! IPv6 beside IPv4, against a real kernel: the same pods, services and host ports by their other addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsFd;
use std::sync::Arc;

use serde_json::{Value, json};
use skiff_api::Object;
use skiff_client::Delta;
use skiff_net::family::Family;
use skiff_net::netlink::nft::Tables;
use skiff_net::netlink::route::{Route, Routing, Veth};

use crate::given::{Node, Pod, Space, object};
use crate::proxy::{Served, service};

const WEB: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 7);

fn node() -> Node {
    Node::dual("10.244.7.0/24", "fd00:244:0:7::/64")
}

fn slice(pods: &[(&Pod, &str)]) -> Arc<Object> {
    let endpoint =
        |(pod, node): &(&Pod, &str)| json!({"addresses": [pod.six.unwrap().to_string()], "nodeName": node});
    object(&json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv6",
        "metadata": {"name": "web-6", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"port": 8080, "protocol": "TCP"}],
        "endpoints": pods.iter().map(endpoint).collect::<Vec<Value>>(),
    }))
}

fn web(extra: &Value) -> Arc<Object> {
    let mut spec = json!({
        "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", WEB.to_string()],
        "ports": [{"port": 80, "protocol": "TCP"}],
    });
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    service("web", spec)
}

fn serving(node: &Node, name: &str) -> Pod {
    let pod = node.pod(name);
    pod.space.serve(8080, name);
    pod
}

/// As `routes` does where there is no default route.
fn with_route(node: &Node) {
    node.space.within(|| {
        let mut routing = Routing::open().unwrap();
        routing.add_bridge("up0", 1500, [2, 0, 0, 0, 0, 1]).unwrap();
        let link = routing.link("up0").unwrap().unwrap().index;
        routing.add_address(link, "fd00:99::1/64".parse().unwrap()).unwrap();
        routing.set_up(link).unwrap();
        for to in ["10.96.0.0/16", "fd00:96::/112"] {
            let route = Route { to: to.parse().unwrap(), gateway: None, link, protocol: 4 };
            routing.set_route(&route).unwrap();
        }
    });
}

fn answering(space: &Space, address: impl Into<IpAddr>, port: u16) -> BTreeSet<String> {
    let address = address.into();
    (0..30).map(|_| space.who(address, port)).collect()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn pods_reach_each_other_and_the_node_by_either_address() {
    let node = node();
    let (one, two) = (serving(&node, "one"), node.pod("two"));
    node.space.serve(81, "node");
    let six = one.six.unwrap();
    assert_eq!(two.space.ask(six, 8080).unwrap(), format!("one {}", two.six.unwrap()));
    assert_eq!(two.space.ask(one.ip, 8080).unwrap(), format!("one {}", two.ip));
    assert_eq!(node.space.who(six, 8080), "one");
    assert_eq!(two.space.who(node.gateway_six(), 81), "node");
    node.cni("CHECK", "one", one.space.path(), &json!([])).unwrap();
    node.remove(&one);
    node.remove(&one);
    assert_eq!(node.cni("CHECK", "one", one.space.path(), &json!([])).unwrap_err().code, 3);
}

#[test]
fn what_leaves_the_cluster_has_the_nodes_address() {
    let (node, outside) = (node(), Space::new());
    let pod = node.pod("one");
    let namespace = std::fs::File::open(outside.path()).unwrap();
    let addressed = |link: &str, net: &str| {
        let mut routing = Routing::open().unwrap();
        let index = routing.link(link).unwrap().unwrap().index;
        routing.set_up(index).unwrap();
        routing.add_address(index, net.parse().unwrap()).unwrap();
    };
    node.space.within(|| {
        let veth = Veth {
            name: "out",
            master: 0,
            mtu: 1500,
            peer: "in",
            peer_mac: None,
            peer_namespace: namespace.as_fd(),
        };
        Routing::open().unwrap().add_veth(&veth).unwrap();
        addressed("out", "fd00:99::1/64");
    });
    outside.within(|| addressed("in", "fd00:99::2/64"));
    outside.serve(80, "outside");
    let other = Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 2);
    assert_eq!(pod.space.ask(other, 80).unwrap(), "outside fd00:99::1");
}

#[test]
fn a_bridge_of_one_family_gets_the_other_when_the_node_does() {
    let mut node = Node::new("10.244.7.0/24");
    let old = node.pod("old");
    assert_eq!(old.six, None);
    node.six = Some("fd00:244:0:7::/64".parse().unwrap());
    let (one, two) = (serving(&node, "one"), node.pod("two"));
    assert_eq!(two.space.who(one.six.unwrap(), 8080), "one");
    assert_eq!(old.space.who(one.ip, 8080), "one");
}

#[test]
fn host_ports_answer_by_the_nodes_address() {
    let node = node();
    let ports = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "TCP"}]);
    let (pod, other) = (node.pod_with("one", &ports), node.pod("two"));
    pod.space.serve(80, "one");
    let gateway = node.gateway_six();
    for (who, space) in [("node", &node.space), ("another pod", &other.space), ("itself", &pod.space)] {
        assert_eq!(space.who(gateway, 8080), "one", "{who}");
    }
    assert_eq!(other.space.who(node.gateway(), 8080), "one");
    node.remove(&pod);
    assert!(node.space.ask(gateway, 8080).is_err());
    let left = node
        .space
        .within(|| Tables::open().unwrap().elements(Family::Six, "skiff-pods", "hostports").unwrap());
    assert_eq!(left, []);
}

#[test]
fn a_cluster_address_is_shared_between_its_pods() {
    let node = node();
    let (one, two, client) = (serving(&node, "one"), serving(&node, "two"), node.pod("client"));
    with_route(&node);
    let served = Served::start(node, vec![web(&json!({}))], vec![slice(&[(&one, "n1"), (&two, "n1")])]);
    assert_eq!(answering(&client.space, WEB, 80), names(["one", "two"]));
    let seen = client.space.ask(WEB, 80).unwrap();
    assert_eq!(seen.split(' ').nth(1), Some(client.six.unwrap().to_string().as_str()), "source kept");
    assert_eq!(answering(&served.node.space, WEB, 80), names(["one", "two"]), "the node itself");
    assert_eq!(answering(&one.space, WEB, 80), names(["one", "two"]), "a pod gets itself");
    // There is no endpoint of the other family.
    let refused = client.space.ask([10, 96, 0, 7], 80).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    served.services.slices(Delta::Put(slice(&[])));
    let refused =
        || client.space.ask(WEB, 80).is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused);
    let start = std::time::Instant::now();
    while !refused() {
        assert!(start.elapsed() < crate::given::PATIENCE, "nobody is left, and nobody says so");
    }
}

#[test]
fn node_ports_answer_on_the_nodes_addresses() {
    let node = node();
    let (one, two) = (serving(&node, "one"), serving(&node, "two"));
    let ports = json!({ "type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}] });
    let served = Served::start(node, vec![web(&ports)], vec![slice(&[(&one, "n1"), (&two, "n2")])]);
    let gateway = served.node.gateway_six();
    assert_eq!(answering(&served.node.space, gateway, 30080), names(["one", "two"]));
    assert_eq!(answering(&one.space, gateway, 30080), names(["one", "two"]));
    assert!(served.node.space.ask(Ipv6Addr::LOCALHOST, 30080).is_err(), "not on loopback");
}

#[test]
fn clients_stay_with_their_pod() {
    let node = node();
    let (one, two, client) = (serving(&node, "one"), serving(&node, "two"), node.pod("client"));
    let sticky = web(&json!({ "sessionAffinity": "ClientIP" }));
    let _served = Served::start(node, vec![sticky], vec![slice(&[(&one, "n1"), (&two, "n1")])]);
    assert_eq!(answering(&client.space, WEB, 80).len(), 1);
}

#[test]
fn traffic_that_stays_near_gets_pods_of_its_node_only() {
    let node = node();
    let (one, two, client) = (serving(&node, "one"), serving(&node, "two"), node.pod("client"));
    let near = web(&json!({ "internalTrafficPolicy": "Local" }));
    let _served = Served::start(node, vec![near], vec![slice(&[(&one, "n1"), (&two, "n2")])]);
    assert_eq!(answering(&client.space, WEB, 80), names(["one"]));
}
