//! The CNI plugin against a real kernel.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::json;
use skiff_net::family::Family;
use skiff_net::netlink::nft::Tables;
use skiff_net::netlink::route::Routing;

use crate::given::{Node, Space};

#[test]
fn pods_of_a_node_reach_each_other_and_the_node() {
    let node = Node::new("10.244.7.0/24");
    let (one, two) = (node.pod("one"), node.pod("two"));
    one.space.serve(80, "one");
    node.space.serve(81, "node");
    assert_eq!(two.space.ask(one.ip, 80).unwrap(), format!("one {}", two.ip));
    assert_eq!(node.space.who(one.ip, 80), "one");
    assert_eq!(two.space.ask(node.gateway(), 81).unwrap(), format!("node {}", two.ip));
    assert_eq!(one.answer["interfaces"][2]["sandbox"], json!(one.space.path()));
    assert_eq!(
        one.answer["interfaces"][0]["mac"], two.answer["interfaces"][0]["mac"],
        "the gateway keeps its face"
    );
    node.cni("CHECK", "one", one.space.path(), &json!([])).unwrap();
}

#[test]
fn deleted_pods_leave_nothing_and_deleting_twice_is_fine() {
    let node = Node::new("10.244.7.0/24");
    let ports = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "TCP"}]);
    let pod = node.pod_with("one", &ports);
    node.remove(&pod);
    node.remove(&pod);
    let links = node.space.within(|| Routing::open().unwrap().links().unwrap());
    assert_eq!(links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>(), ["lo", "skiff0"]);
    let left = node
        .space
        .within(|| Tables::open().unwrap().elements(Family::Four, "skiff-pods", "hostports").unwrap());
    assert_eq!(left, []);
    assert_eq!(node.cni("CHECK", "one", pod.space.path(), &json!([])).unwrap_err().code, 3);
    // The address rests: the next pod gets another.
    assert_ne!(node.pod("two").ip, pod.ip);
}

#[test]
fn adding_again_after_a_crash_gives_the_same_address() {
    let node = Node::new("10.244.7.0/24");
    let fresh = Space::new();
    let answer = node.cni("ADD", "two", fresh.path(), &json!([])).unwrap().unwrap();
    let repeated = Space::new();
    let second = node.cni("ADD", "two", repeated.path(), &json!([])).unwrap().unwrap();
    assert_eq!(answer["ips"], second["ips"]);
}

#[test]
fn host_ports_answer_from_everywhere() {
    let node = Node::new("10.244.7.0/24");
    let ports = json!([
        {"hostPort": 8080, "containerPort": 80, "protocol": "TCP"},
        {"hostPort": 8081, "containerPort": 80, "protocol": "TCP", "hostIP": "127.0.0.1"},
        {"hostPort": 5353, "containerPort": 53, "protocol": "UDP"},
        {"hostPort": 0, "containerPort": 99, "protocol": "TCP"},
    ]);
    let (pod, other) = (node.pod_with("one", &ports), node.pod("two"));
    pod.space.serve(80, "one");
    pod.space.serve_udp(53, "udp");
    let gateway = node.gateway();
    assert_eq!(node.space.who(gateway, 8080), "one", "from the node");
    assert_eq!(node.space.who(Ipv4Addr::LOCALHOST, 8080), "one", "from the node's loopback");
    assert_eq!(node.space.who(Ipv4Addr::LOCALHOST, 8081), "one", "on the address asked for");
    assert_eq!(other.space.who(gateway, 8080), "one", "from another pod");
    assert_eq!(pod.space.who(gateway, 8080), "one", "from the pod itself");
    assert!(node.space.ask(gateway, 8081).is_err(), "not on other addresses than asked for");
    let client = other.space.udp_socket();
    client.send_to(b"?", (gateway, 5353)).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(client.recv(&mut buffer).unwrap(), 3);
    let taken = node.cni("ADD", "three", Space::new().path(), &ports);
    assert!(taken.is_err());
    node.remove(&pod);
    assert!(node.space.ask(gateway, 8080).is_err());
}

#[test]
fn a_flushed_table_is_made_again() {
    let node = Node::new("10.244.7.0/24");
    let port = |port: u16| json!([{"hostPort": port, "containerPort": 80, "protocol": "TCP"}]);
    let one = node.pod_with("one", &port(8080));
    one.space.serve(80, "one");
    node.space.within(|| Tables::open().unwrap().remove(Family::Four, "skiff-pods").unwrap());
    let two = node.pod_with("two", &port(8082));
    two.space.serve(80, "two");
    assert_eq!(node.space.who(node.gateway(), 8080), "one");
    assert_eq!(node.space.who(node.gateway(), 8082), "two");
}

#[test]
fn a_full_range_says_so() {
    let node = Node::new("10.244.7.0/29");
    let pods: Vec<_> = (0..5).map(|n| node.pod(&format!("p{n}"))).collect();
    let space = Space::new();
    assert_eq!(node.cni("ADD", "more", space.path(), &json!([])).unwrap_err().code, 102);
    node.remove(&pods[2]);
    node.cni("ADD", "more", space.path(), &json!([])).unwrap();
}

#[test]
fn many_at_once_get_different_addresses() {
    let node = Node::new("10.244.7.0/24");
    let ips: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let node = &node;
                scope.spawn(move || node.pod(&format!("p{n}")))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).map(|pod| pod.ip).collect()
    });
    let distinct: std::collections::BTreeSet<_> = ips.iter().collect();
    assert_eq!(distinct.len(), ips.len());
}

#[test]
#[ignore = "a measurement"]
fn how_long_it_takes() {
    let node = Node::new("10.244.7.0/24");
    let _first = node.pod("first");
    let mut times = Vec::new();
    let none = json!([]);
    for n in 0..20 {
        let space = Space::new();
        let name = format!("p{n}");
        let start = Instant::now();
        node.cni("ADD", &name, space.path(), &none).unwrap();
        let added = start.elapsed();
        let start = Instant::now();
        node.cni("DEL", &name, space.path(), &none).unwrap();
        times.push((added, start.elapsed()));
    }
    let middle = |mut some: Vec<Duration>| {
        some.sort();
        some[some.len() / 2]
    };
    let (add, del): (Vec<_>, Vec<_>) = times.into_iter().unzip();
    println!("median of ADD {:?}, of DEL {:?}", middle(add), middle(del));
}
