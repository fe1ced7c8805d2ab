//! Two minions on one machine, each with the whole network of a node: the article's shape.

use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::json;
use skiff_api::Object;
use skiff_base::Tasks;
use skiff_client::{Delta, Link, LocalFeeds, Topic};
use skiff_net::hosts::{Host, Hosts, Spec};
use skiff_net::{Net, NetOptions};

use crate::given::{Node, PATIENCE, Space, no_client, object};

/// What the API would say: lists that never change.
struct Said {
    nodes: Vec<Arc<Object>>,
    services: Vec<Arc<Object>>,
    slices: Vec<Arc<Object>>,
}

impl LocalFeeds for Said {
    fn subscribe(&self, topic: &Topic) -> BoxStream<'static, Delta<Arc<Object>>> {
        let all = match &*topic.resource.plural {
            "nodes" => &self.nodes,
            "services" => &self.services,
            "endpointslices" => &self.slices,
            _ => &Vec::new(),
        };
        futures::stream::iter([Delta::Reset(all.clone())]).chain(futures::stream::pending()).boxed()
    }
}

struct Minion {
    node: Node,
    runtime: Option<tokio::runtime::Runtime>,
    tasks: Tasks,
}

impl Minion {
    fn start(host: &Host, number: u8, said: &Arc<Said>) -> Self {
        let space = Space::borrowed(&host.name);
        let runtime = space.runtime();
        let tasks = Tasks::new();
        let (group, feeds) = (tasks.clone(), Arc::clone(said));
        let work = async move {
            let link = Link::local(no_client(), feeds);
            let net = Net::build(NetOptions {
                resolv_conf: "/nonexistent".into(),
                ..NetOptions::new(link, format!("m{number}"))
            });
            let (ready, routed) = (net.ready(), net.routed());
            net.run(&group).await.unwrap();
            let both = async { tokio::join!(ready.opened(), routed.opened()) };
            tokio::time::timeout(PATIENCE, both).await.unwrap();
        };
        runtime.block_on(runtime.spawn(work)).unwrap();
        Self { node: Node::in_space(space, &format!("10.244.{number}.0/24")), runtime: Some(runtime), tasks }
    }
}

impl Drop for Minion {
    fn drop(&mut self) {
        self.tasks.stop();
        self.runtime = None;
    }
}

fn node(number: u8, host: &Host) -> Arc<Object> {
    object(&json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("m{number}")},
        "spec": {"podCIDR": format!("10.244.{number}.0/24")},
        "status": {"addresses": [{"type": "InternalIP", "address": host.addresses[0].to_string()}]},
    }))
}

fn service(name: &str, spec: &serde_json::Value) -> Arc<Object> {
    object(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    }))
}

/// Both minions' first pods, which get the second address of their node's range.
fn slice(name: &str) -> Arc<Object> {
    object(&json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"port": 80, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": ["10.244.1.2"], "nodeName": "m1"}, {"addresses": ["10.244.2.2"], "nodeName": "m2"},
        ],
    }))
}

/// Removes the hosts when the test ends, however it ends.
struct Removed<'a>(&'a Space, &'a Spec);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _already_gone = self.0.within(|| Hosts::remove(self.1));
    }
}

fn both(answers: impl Iterator<Item = String>) -> bool {
    let answers: std::collections::BTreeSet<String> = answers.collect();
    answers.len() == 2
}

#[test]
fn pods_services_and_names_work_across_minions() {
    let machine = Space::new();
    let spec = Spec { prefix: format!("sc{}", std::process::id()), ..Spec::default() };
    let _removed = Removed(&machine, &spec);
    let hosts = machine.within(|| Hosts::create(&spec).unwrap());
    let port = json!([{"port": 80, "nodePort": 30080}]);
    let near = json!([{"port": 80, "nodePort": 30081}]);
    let said = Arc::new(Said {
        nodes: vec![node(1, &hosts[0]), node(2, &hosts[1])],
        services: vec![
            service("web", &json!({"type": "NodePort", "clusterIP": "10.96.0.7", "ports": port})),
            service(
                "near",
                &json!({
                    "type": "NodePort", "clusterIP": "10.96.0.8", "ports": near, "externalTrafficPolicy": "Local",
                }),
            ),
        ],
        slices: vec![slice("web"), slice("near")],
    });
    let minions = [Minion::start(&hosts[0], 1, &said), Minion::start(&hosts[1], 2, &said)];
    let [one, two] = [minions[0].node.pod("one"), minions[1].node.pod("two")];
    assert_eq!((one.ip, two.ip), (Ipv4Addr::new(10, 244, 1, 2), Ipv4Addr::new(10, 244, 2, 2)));
    one.space.serve(80, "one");
    two.space.serve(80, "two");

    assert_eq!(
        one.space.ask(two.ip, 80).unwrap(),
        format!("two {}", one.ip),
        "pods see each other's addresses"
    );
    let web = Ipv4Addr::new(10, 96, 0, 7);
    assert!(both((0..30).map(|_| one.space.who(web, 80))), "a pod gets both");
    assert!(both((0..30).map(|_| minions[1].node.space.who(web, 80))), "so does a minion itself");

    // The machine, which is no node, has the same network without DNS: it reaches pods, node ports and services.
    let runtime = machine.runtime();
    let tasks = Tasks::new();
    let (group, feeds) = (tasks.clone(), Arc::clone(&said));
    let work = async move {
        let link = Link::local(no_client(), feeds);
        let net = Net::build(NetOptions { dns_addresses: Vec::new(), ..NetOptions::new(link, "") });
        let (ready, routed) = (net.ready(), net.routed());
        net.run(&group).await.unwrap();
        let both = async { tokio::join!(ready.opened(), routed.opened()) };
        tokio::time::timeout(PATIENCE, both).await.unwrap();
    };
    runtime.block_on(runtime.spawn(work)).unwrap();
    assert_eq!(machine.who(one.ip, 80), "one");
    assert!(both((0..30).map(|_| machine.who(web, 80))), "the machine gets both");
    assert!(
        both((0..30).map(|_| machine.who(hosts[0].addresses[0], 30080))),
        "any minion's port leads to both pods"
    );
    for (host, word) in hosts.iter().zip(["one", "two"]) {
        for _ in 0..5 {
            let answer = machine.ask(host.addresses[0], 30081).unwrap();
            assert_eq!(
                answer,
                format!("{word} {}", spec.gateways()[0]),
                "near pods only, and they see who asks"
            );
        }
    }
    tasks.stop();
    drop(runtime);

    // DNS from a pod, at the address every node has.
    let question = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01";
    let socket = two.space.udp_socket();
    socket.send_to(question, (Ipv4Addr::new(10, 96, 0, 10), 53)).unwrap();
    let mut answer = [0; 512];
    let size = socket.recv(&mut answer).unwrap();
    assert!(answer[..size].ends_with(&[10, 96, 0, 7]));
}
