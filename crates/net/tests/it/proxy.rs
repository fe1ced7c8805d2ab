//! The service proxy against a real kernel, fed as the API would feed it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use skiff_api::Object;
use skiff_base::Tasks;
use skiff_client::Delta;
use skiff_net::family::Family;
use skiff_net::follow::Services;
use skiff_net::netlink::nft::Tables;
use skiff_net::proxy::{self, Proxy, ProxyOptions};

use crate::given::{Node, Pod, Space, object};

const WEB: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 7);

/// A node whose proxy runs.
pub(crate) struct Served {
    pub(crate) services: Services,
    runtime: Option<tokio::runtime::Runtime>,
    tasks: Tasks,
    pub(crate) node: Node,
}

pub(crate) fn service(name: &str, spec: Value) -> Arc<Object> {
    object(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    }))
}

fn slice(name: &str, port: u16, protocol: &str, pods: &[(&Pod, &str)]) -> Arc<Object> {
    let endpoints: Vec<Value> =
        pods.iter().map(|(pod, node)| json!({"addresses": [pod.ip.to_string()], "nodeName": node})).collect();
    object(&json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("{name}-1"), "namespace": "default", "labels": {"kubernetes.io/service-name": name},
        },
        "ports": [{"port": port, "protocol": protocol}],
        "endpoints": endpoints,
    }))
}

impl Served {
    pub(crate) fn start(node: Node, services: Vec<Arc<Object>>, slices: Vec<Arc<Object>>) -> Self {
        let mut served = Self { services: Services::new(), runtime: None, tasks: Tasks::new(), node };
        served.services.services(Delta::Reset(services));
        served.services.slices(Delta::Reset(slices));
        served.run();
        served
    }

    /// Starts (again) and waits until the rules are there.
    fn run(&mut self) {
        let runtime = self.node.space.runtime();
        self.tasks = Tasks::new();
        let proxy = Proxy::build(ProxyOptions {
            services: self.services.clone(),
            node_name: "n1".into(),
            cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap(), "fd00:244::/56".parse().unwrap()],
            families: Family::ALL.into(),
            table: "skiff".into(),
            own_addresses: vec![],
        });
        let ready = proxy.ready();
        let _inside = runtime.enter();
        proxy.run(&self.tasks);
        drop(_inside);
        let patience = crate::given::PATIENCE;
        runtime
            .block_on(async { tokio::time::timeout(patience, ready.opened()).await })
            .expect("rules in time");
        self.runtime = Some(runtime);
    }

    fn stop(&mut self) {
        self.tasks.stop();
        self.runtime = None;
    }

    fn elements(&self, set: &str) -> usize {
        self.node.space.within(|| Tables::open().unwrap().elements(Family::Four, "skiff", set).unwrap().len())
    }

    /// Waits until a set has so many elements; the proxy tells nobody when it is done with a change.
    fn until(&self, set: &str, count: usize) {
        let start = Instant::now();
        while self.elements(set) != count {
            assert!(start.elapsed() < crate::given::PATIENCE, "{set} has {} elements", self.elements(set));
            std::thread::yield_now();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}

fn cluster_ip() -> Value {
    json!({"clusterIP": WEB.to_string(), "ports": [{"port": 80, "protocol": "TCP"}]})
}

fn two_pods(node: &Node) -> (Pod, Pod) {
    let (one, two) = (node.pod("one"), node.pod("two"));
    one.space.serve(8080, "one");
    two.space.serve(8080, "two");
    (one, two)
}

fn asked(space: &Space, address: Ipv4Addr, port: u16, times: usize) -> (usize, usize) {
    let answers: Vec<String> = (0..times).map(|_| space.who(address, port)).collect();
    let one = answers.iter().filter(|answer| *answer == "one").count();
    (one, answers.len() - one)
}

/// Without a way to a service's address the kernel gives up before any rule is asked; this is what `routes` does where
/// there is no default route.
fn with_route(node: &Node) {
    node.space.within(|| {
        let mut routing = skiff_net::netlink::route::Routing::open().unwrap();
        let lo = routing.link("lo").unwrap().unwrap();
        let route = skiff_net::netlink::route::Route {
            to: "10.96.0.0/12".parse().unwrap(),
            gateway: None,
            link: lo.index,
            protocol: 4,
        };
        routing.set_route(&route).unwrap();
    });
}

#[test]
fn a_cluster_address_is_shared_between_its_pods() {
    let node = Node::new("10.244.7.0/24");
    let (one, two) = two_pods(&node);
    let client = node.pod("client");
    with_route(&node);
    let pods = slice("web", 8080, "TCP", &[(&one, "n1"), (&two, "n1")]);
    let served = Served::start(node, vec![service("web", cluster_ip())], vec![pods]);
    let (to_one, to_two) = asked(&client.space, WEB, 80, 60);
    assert!(to_one > 10 && to_two > 10, "{to_one} and {to_two}");
    assert_eq!(
        client.space.ask(WEB, 80).unwrap().split(' ').nth(1).unwrap(),
        client.ip.to_string(),
        "source kept"
    );
    let (from_node, _) = asked(&served.node.space, WEB, 80, 20);
    assert!(from_node > 0);
    // A pod that gets itself behind the service.
    let (itself, other) = asked(&one.space, WEB, 80, 30);
    assert!(itself > 0 && other > 0, "{itself} and {other}");
}

#[test]
fn endpoints_come_and_go() {
    let node = Node::new("10.244.7.0/24");
    let (one, two) = two_pods(&node);
    with_route(&node);
    let both = slice("web", 8080, "TCP", &[(&one, "n1"), (&two, "n1")]);
    let single = slice("web", 8080, "TCP", &[(&two, "n1")]);
    let none = slice("web", 8080, "TCP", &[]);
    let served = Served::start(node, vec![service("web", cluster_ip())], vec![]);
    assert!(served.node.space.ask(WEB, 80).is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused));
    assert!(one.space.ask(WEB, 80).is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused));
    served.services.slices(Delta::Put(both));
    served.until("ep2", 2);
    served.until("reject", 0);
    let (to_one, to_two) = asked(&one.space, WEB, 80, 30);
    assert!(to_one > 0 && to_two > 0, "{to_one} and {to_two}");
    served.services.slices(Delta::Put(single));
    served.until("ep1", 1);
    served.until("ep2", 0);
    assert_eq!(asked(&one.space, WEB, 80, 8), (0, 8));
    served.services.slices(Delta::Put(none));
    served.until("ep1", 0);
    assert!(one.space.ask(WEB, 80).is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused));
}

#[test]
fn node_ports_answer_on_the_nodes_addresses() {
    let node = Node::new("10.244.7.0/24");
    let (one, two) = two_pods(&node);
    let spec = json!({
        "type": "NodePort", "clusterIP": WEB.to_string(), "ports": [{"port": 80, "nodePort": 30080}],
    });
    let pods = slice("web", 8080, "TCP", &[(&one, "n1"), (&two, "n2")]);
    let served = Served::start(node, vec![service("web", spec)], vec![pods]);
    let gateway = served.node.gateway();
    let (to_one, to_two) = asked(&served.node.space, gateway, 30080, 30);
    assert!(to_one > 0 && to_two > 0);
    let (to_one, to_two) = asked(&one.space, gateway, 30080, 30);
    assert!(to_one > 0 && to_two > 0, "from the pod itself too");
    assert!(served.node.space.ask(Ipv4Addr::LOCALHOST, 30080).is_err(), "not on loopback, as upstream");
}

#[test]
fn clients_stay_with_their_pod_until_it_goes() {
    let node = Node::new("10.244.7.0/24");
    let (one, two) = two_pods(&node);
    let (client, third) = (node.pod("client"), node.pod("third"));
    third.space.serve(8080, "three");
    with_route(&node);
    let spec = json!({"clusterIP": WEB.to_string(), "sessionAffinity": "ClientIP", "ports": [{"port": 80}]});
    let pods = slice("web", 8080, "TCP", &[(&one, "n1"), (&two, "n1")]);
    let served = Served::start(node, vec![service("web", spec)], vec![pods]);
    let first = client.space.who(WEB, 80);
    for _ in 0..10 {
        assert_eq!(client.space.who(WEB, 80), first);
    }
    let (gone, left) = if first == "one" { (&one, &two) } else { (&two, &one) };
    assert_ne!(gone.ip, left.ip);
    served.services.slices(Delta::Put(slice("web", 8080, "TCP", &[(left, "n1"), (&third, "n1")])));
    let start = Instant::now();
    let mut second = client.space.who(WEB, 80);
    while second == first {
        assert!(start.elapsed() < crate::given::PATIENCE, "still sent to a pod that is gone");
        second = client.space.who(WEB, 80);
    }
    for _ in 0..10 {
        assert_eq!(client.space.who(WEB, 80), second, "and with the next one");
    }
}

#[test]
fn a_restart_breaks_no_connection() {
    use std::io::{Read, Write};
    let node = Node::new("10.244.7.0/24");
    let (one, client) = (node.pod("one"), node.pod("client"));
    with_route(&node);
    let echo = one.space.within(|| std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)).unwrap());
    std::thread::spawn(move || {
        for stream in echo.incoming().flatten() {
            let mut from = stream.try_clone().unwrap();
            let mut to = stream;
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        }
    });
    let pods = slice("web", 8080, "TCP", &[(&one, "n1")]);
    let mut served = Served::start(node, vec![service("web", cluster_ip())], vec![pods]);
    let mut stream = client.space.within(|| std::net::TcpStream::connect((WEB, 80)).unwrap());
    let mut talk = |word: &[u8; 4]| {
        stream.write_all(word).unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, word);
    };
    talk(b"one!");
    served.stop();
    assert_eq!(served.elements("ep1"), 1, "rules stay while Skiff is away");
    talk(b"two!");
    served.run();
    talk(b"tri!");
    served.stop();
    served.node.space.within(|| proxy::cleanup("skiff").unwrap());
    assert_eq!(served.elements("ep1"), 0);
}

#[test]
fn udp_clients_follow_their_endpoints() {
    let node = Node::new("10.244.7.0/24");
    let (one, two, client) = (node.pod("one"), node.pod("two"), node.pod("client"));
    one.space.serve_udp(53, "one");
    two.space.serve_udp(53, "two");
    with_route(&node);
    let spec = json!({
        "type": "NodePort", "clusterIP": WEB.to_string(),
        "ports": [{"port": 53, "protocol": "UDP", "nodePort": 30053}],
    });
    let served =
        Served::start(node, vec![service("web", spec)], vec![slice("web", 53, "UDP", &[(&one, "n1")])]);
    let mut buffer = [0; 16];
    for (address, port) in [(WEB, 53), (served.node.gateway(), 30053)] {
        let socket = client.space.udp_socket();
        // A datagram on its way while the rules change may be lost, as datagrams are.
        socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        let mut ask = || {
            socket.send_to(b"?", (address, port)).unwrap();
            let size = socket.recv(&mut buffer).unwrap_or(0);
            String::from_utf8_lossy(&buffer[..size]).into_owned()
        };
        assert_eq!(ask(), "one");
        served.services.slices(Delta::Put(slice("web", 53, "UDP", &[(&two, "n1")])));
        let start = Instant::now();
        while ask() != "two" {
            assert!(start.elapsed() < crate::given::PATIENCE);
        }
        served.services.slices(Delta::Put(slice("web", 53, "UDP", &[(&one, "n1")])));
        while ask() != "one" {
            assert!(start.elapsed() < crate::given::PATIENCE);
        }
    }
}

#[test]
fn rules_that_somebody_removed_come_back_by_themselves() {
    let node = Node::new("10.244.7.0/24");
    let ports = json!([{"hostPort": 8080, "containerPort": 8080, "protocol": "TCP"}]);
    let (one, two) = (node.pod_with("one", &ports), node.pod("two"));
    one.space.serve(8080, "one");
    with_route(&node);
    let served = Served::start(
        node,
        vec![service("web", cluster_ip())],
        vec![slice("web", 8080, "TCP", &[(&one, "n1")])],
    );
    let runtime = served.runtime.as_ref().unwrap();
    let (group, pods) = (served.tasks.clone(), served.node.config());
    runtime
        .block_on(runtime.spawn(async move { skiff_net::node::keep_pod_rules(pods, &group) }))
        .unwrap()
        .unwrap();
    for table in ["skiff", "skiff-pods"] {
        served.node.space.within(|| Tables::open().unwrap().remove(Family::Four, table).unwrap());
    }
    served.until("ep1", 1);
    assert_eq!(two.space.who(WEB, 80), "one");
    let start = Instant::now();
    while served.node.space.within(|| !Tables::open().unwrap().exists(Family::Four, "skiff-pods").unwrap()) {
        assert!(start.elapsed() < crate::given::PATIENCE);
    }
    assert_eq!(two.space.who(served.node.gateway(), 8080), "one");
}

#[test]
#[ignore = "a measurement"]
fn how_long_changes_take_among_many_services() {
    let node = Node::new("10.244.7.0/24");
    let one = node.pod("one");
    let many = |n: u32| {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 100, 0, 0)) + n);
        let name = format!("s{n}");
        (
            service(&name, json!({"clusterIP": address.to_string(), "ports": [{"port": 80}]})),
            slice(&name, 8080, "TCP", &[(&one, "n1"), (&one, "n2")]),
        )
    };
    let (services, slices) = (0..10_000).map(many).unzip();
    let start = Instant::now();
    let served = Served::start(node, services, slices);
    println!("10,000 services from objects to rules: {:?}", start.elapsed());
    for n in 0..5 {
        let name = format!("web{n}");
        let spec = json!({"clusterIP": format!("10.96.1.{n}"), "ports": [{"port": 80}]});
        served.services.services(Delta::Put(service(&name, spec)));
        served.until("reject", 1);
        let start = Instant::now();
        served.services.slices(Delta::Put(slice(&name, 8080, "TCP", &[(&one, "n1")])));
        served.until("reject", 0);
        println!("one endpoint more: {:?}", start.elapsed());
    }
}
