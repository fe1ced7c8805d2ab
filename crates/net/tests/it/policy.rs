//! Network policies against a real kernel, fed as the API would feed them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::stream::BoxStream;
use serde_json::{Value, json};
use skiff_api::Object;
use skiff_base::Tasks;
use skiff_client::{Delta, Link, LocalFeeds, Topic};
use skiff_net::family::Family;
use skiff_net::netlink::nft::Tables;
use skiff_net::policy::{self, Policies, PolicyOptions};
use skiff_net::sysctl;

use crate::given::{Node, PATIENCE, Pod, Space, no_client, object};

const TABLE: &str = "skiff-policies";
/// How long nobody answers who is not allowed to.
const SILENCE: Duration = Duration::from_millis(200);

type Told = UnboundedSender<Delta<Arc<Object>>>;

/// What the API says, by kind.
#[derive(Default)]
struct Said(Mutex<BTreeMap<String, OfKind>>);

/// Objects by key, and who listens.
#[derive(Default)]
struct OfKind {
    objects: BTreeMap<Arc<str>, Arc<Object>>,
    listeners: Vec<Told>,
}

impl LocalFeeds for Said {
    fn subscribe(&self, topic: &Topic) -> BoxStream<'static, Delta<Arc<Object>>> {
        let (tell, told) = unbounded();
        let mut said = self.0.lock().unwrap();
        let OfKind { objects, listeners } = said.entry(topic.resource.plural.to_string()).or_default();
        tell.unbounded_send(Delta::Reset(objects.values().cloned().collect())).unwrap();
        listeners.push(tell);
        told.boxed()
    }
}

impl Said {
    fn put(&self, plural: &str, value: Value) {
        let object = object(&value);
        let mut said = self.0.lock().unwrap();
        let OfKind { objects, listeners } = said.entry(plural.to_owned()).or_default();
        objects.insert(object.meta().key(), Arc::clone(&object));
        listeners.retain(|tell| tell.unbounded_send(Delta::Put(Arc::clone(&object))).is_ok());
    }

    fn remove(&self, plural: &str, key: &str) {
        let mut said = self.0.lock().unwrap();
        let OfKind { objects, listeners } = said.get_mut(plural).unwrap();
        let gone = objects.remove(key).unwrap();
        listeners.retain(|tell| tell.unbounded_send(Delta::Gone(Arc::clone(&gone))).is_ok());
    }

    fn namespace(&self, name: &str, team: &str) {
        let labels = json!({ "team": team, "kubernetes.io/metadata.name": name });
        self.put("namespaces", json!({ "metadata": { "name": name, "labels": labels } }));
    }

    fn pod(&self, pod: &Pod, namespace: &str, app: &str) {
        self.put(
            "pods",
            json!({
                "metadata": { "name": pod.name, "namespace": namespace, "labels": { "app": app } },
                "spec": { "nodeName": "n1", "containers": [
                    { "name": "c", "ports": [{ "name": "http", "containerPort": 80 }] },
                ] },
                "status": {
                    "phase": "Running", "podIP": pod.ip.to_string(),
                    "podIPs": [{ "ip": pod.ip.to_string() }, { "ip": pod.six.unwrap().to_string() }],
                },
            }),
        );
    }

    fn policy(&self, name: &str, spec: Value) {
        let meta = json!({ "name": name, "namespace": "a" });
        self.put("networkpolicies", json!({ "metadata": meta, "spec": spec }));
    }
}

/// A node with pods web and friend of a, client of b; web answers on 80 and 8080.
struct Stage {
    said: Arc<Said>,
    web: Pod,
    friend: Pod,
    client: Pod,
    tasks: Tasks,
    runtime: Option<tokio::runtime::Runtime>,
    node: Node,
}

impl Stage {
    fn set() -> Self {
        let node = Node::dual("10.77.0.0/24", "fd00:77::/64");
        let (web, friend, client) = (node.pod("web"), node.pod("friend"), node.pod("client"));
        node.space.within(|| Family::ALL.into_iter().try_for_each(sysctl::forward).unwrap());
        web.space.serve(80, "web");
        web.space.serve(8080, "web");
        let said = Arc::new(Said::default());
        said.namespace("a", "red");
        said.namespace("b", "blue");
        said.namespace("kube-system", "none");
        said.pod(&web, "a", "web");
        said.pod(&friend, "a", "friend");
        said.pod(&client, "b", "client");
        let runtime = node.space.runtime();
        let tasks = Tasks::new();
        let (group, feeds, address) = (tasks.clone(), Arc::clone(&said), node.gateway());
        let work = async move {
            let options = PolicyOptions {
                link: Link::local(no_client(), feeds),
                node_name: "n1".into(),
                families: Family::ALL.into(),
                table: TABLE.into(),
                dns_addresses: vec![address.into()],
            };
            Policies::build(options).run(&group);
        };
        runtime.block_on(work);
        Self { said, web, friend, client, tasks, runtime: Some(runtime), node }
    }

    /// Who reaches the pod web on a port: the friend, the client, the node.
    fn reach(&self, port: u16) -> [bool; 3] {
        [&self.friend.space, &self.client.space, &self.node.space]
            .map(|space| reaches(space, self.web.ip, port))
    }

    /// The same over IPv6: who may does not depend on the family.
    fn reach_six(&self, port: u16) -> [bool; 3] {
        [&self.friend.space, &self.client.space, &self.node.space]
            .map(|space| reaches(space, self.web.six.unwrap(), port))
    }

    /// Waits until that is so.
    fn until(&self, port: u16, expected: [bool; 3]) {
        until(expected, || self.reach(port));
        until(expected, || self.reach_six(port));
    }

    /// People look at rules with `nft`, where there is one: it must know how to print ours.
    #[expect(clippy::disallowed_methods, reason = "tests start programs")]
    fn prints(&self) {
        for family in ["ip", "ip6"] {
            let list = || std::process::Command::new("nft").args(["list", "table", family, TABLE]).output();
            if let Ok(output) = self.node.space.within(list) {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }

    fn has_table(&self) -> bool {
        self.node.space.within(|| Tables::open().unwrap().exists(Family::Four, TABLE).unwrap())
    }
}

fn until<T: PartialEq + std::fmt::Debug>(expected: T, mut now: impl FnMut() -> T) {
    let start = Instant::now();
    loop {
        let seen = now();
        if seen == expected {
            return;
        }
        assert!(start.elapsed() < 2 * PATIENCE, "{seen:?} instead of {expected:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.tasks.token().cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
    }
}

fn reaches(space: &Space, address: impl Into<IpAddr>, port: u16) -> bool {
    let address: IpAddr = address.into();
    space.within(move || TcpStream::connect_timeout(&SocketAddr::from((address, port)), SILENCE).is_ok())
}

fn asks_udp(space: &Space, address: Ipv4Addr) -> bool {
    let socket = space.udp_socket();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket.send_to(b"?", (address, 53)).is_ok() && socket.recv(&mut [0; 16]).is_ok()
}

#[test]
fn a_policy_lets_in_whom_it_names_and_the_node_always() {
    let stage = Stage::set();
    assert_eq!((stage.reach(80), stage.has_table()), ([true; 3], false));
    let web = json!({ "matchLabels": { "app": "web" } });
    stage.said.policy("deny", json!({ "podSelector": {} }));
    stage.until(80, [false, false, true]);

    let from = |peer: Value| json!({ "podSelector": web, "ingress": [{ "from": [peer] }] });
    stage.said.policy("allow", from(json!({ "podSelector": { "matchLabels": { "app": "friend" } } })));
    stage.until(80, [true, false, true]);
    stage.said.policy("allow", from(json!({ "namespaceSelector": { "matchLabels": { "team": "blue" } } })));
    stage.until(80, [false, true, true]);
    // Labels of namespaces and pods change who is meant.
    stage.said.namespace("b", "green");
    stage.until(80, [false, false, true]);
    stage.said.namespace("b", "blue");
    stage.until(80, [false, true, true]);
    let except = |net: &str, one: String| json!({ "ipBlock": { "cidr": net, "except": [one] } });
    let four = except("10.77.0.0/24", format!("{}/32", stage.client.ip));
    let six = except("fd00:77::/64", format!("{}/128", stage.client.six.unwrap()));
    stage.said.policy("allow", json!({ "podSelector": web, "ingress": [{ "from": [four, six] }] }));
    stage.until(80, [true, false, true]);
    stage.prints();
    stage.said.remove("networkpolicies", "a/deny");
    stage.said.remove("networkpolicies", "a/allow");
    stage.until(80, [true; 3]);
    until(false, || stage.has_table());
}

#[test]
fn a_policy_lets_in_on_the_ports_it_names() {
    let stage = Stage::set();
    let on = |port: Value| json!({ "podSelector": {}, "ingress": [{ "ports": [port] }] });
    for (port, eighty, other) in [
        (json!({ "port": 80 }), true, false),
        (json!({ "port": "http" }), true, false),
        (json!({ "port": 8000, "endPort": 8100 }), false, true),
        (json!({ "protocol": "TCP" }), true, true),
        (json!({ "port": 80, "protocol": "UDP" }), false, false),
    ] {
        stage.said.policy("on", on(port));
        stage.until(80, [eighty, eighty, true]);
        stage.until(8080, [other, other, true]);
        stage.prints();
    }
}

#[test]
fn what_goes_out_is_held_back_and_dns_is_let_through() {
    let stage = Stage::set();
    stage.node.space.serve_udp(53, "dns");
    let dns = || asks_udp(&stage.friend.space, stage.node.gateway());
    assert!(dns());
    let friend = json!({ "matchLabels": { "app": "friend" } });
    let out = |rules: Value| json!({ "podSelector": friend, "policyTypes": ["Egress"], "egress": rules });
    stage.said.policy("out", out(json!([])));
    stage.until(80, [false, true, true]);
    until(false, dns);
    let to =
        json!([{ "namespaceSelector": {}, "podSelector": { "matchLabels": { "k8s-app": "kube-dns" } } }]);
    stage.said.policy("out", out(json!([{ "to": to, "ports": [{ "port": 53, "protocol": "UDP" }] }])));
    until(true, dns);
    assert_eq!(stage.reach(80), [false, true, true]);
    let web = json!([{ "podSelector": { "matchLabels": { "app": "web" } } }]);
    stage.said.policy("out", out(json!([{ "to": web, "ports": [{ "port": "http" }] }])));
    stage.until(80, [true, true, true]);
    stage.until(8080, [false, true, true]);
    stage.prints();
}

#[test]
fn pods_that_come_and_change_are_judged_by_what_they_are() {
    let stage = Stage::set();
    stage.said.policy(
        "web",
        json!({ "podSelector": { "matchLabels": { "app": "web" } }, "ingress": [
        { "from": [{ "podSelector": { "matchLabels": { "app": "friend" } } }] },
    ] }),
    );
    stage.until(80, [true, false, true]);
    stage.said.pod(&stage.friend, "a", "stranger");
    stage.until(80, [false, false, true]);
    let late = stage.node.pod("late");
    stage.said.pod(&late, "a", "friend");
    until(true, || reaches(&late.space, stage.web.ip, 80));
    // No longer a pod that the policy is about.
    stage.said.pod(&stage.web, "a", "other");
    stage.until(80, [true; 3]);
    stage.said.pod(&stage.web, "a", "web");
    stage.until(80, [false, false, true]);
    // A flow that goes on is not cut off.
    let going_on = late.space.within(|| TcpStream::connect((stage.web.ip, 80)).unwrap());
    stage.said.pod(&late, "a", "stranger");
    until(false, || reaches(&late.space, stage.web.ip, 80));
    going_on.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(std::io::Read::read(&mut &going_on, &mut [0; 8]).unwrap() > 0);
}

#[test]
fn rules_that_somebody_removes_are_written_anew() {
    let stage = Stage::set();
    stage.said.policy("deny", json!({ "podSelector": {} }));
    stage.until(80, [false, false, true]);
    stage.node.space.within(|| policy::cleanup(TABLE).unwrap());
    until(true, || stage.has_table());
    stage.until(80, [false, false, true]);
}
