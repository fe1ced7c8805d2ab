//! Cluster DNS over real sockets, inside a namespace of its own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use serde_json::{Value, json};
use skiff_api::Object;
use skiff_base::Tasks;
use skiff_client::Delta;
use skiff_net::dns::{self, Dns, DnsOptions};
use skiff_net::follow::Services;

use crate::given::{PATIENCE, Space, object};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

struct Named {
    space: Space,
    services: Services,
    runtime: Option<tokio::runtime::Runtime>,
    tasks: Tasks,
}

fn service(name: &str, spec: &Value) -> Arc<Object> {
    object(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    }))
}

fn large(count: usize) -> Arc<Object> {
    let endpoints: Vec<Value> =
        (0..count).map(|n| json!({"addresses": [format!("10.1.{}.{}", n / 256, n % 256)]})).collect();
    object(&json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "large-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "large"}},
        "ports": [], "endpoints": endpoints,
    }))
}

impl Named {
    fn start(resolv_conf: &str) -> Self {
        let space = Space::new();
        let runtime = space.runtime();
        let tasks = Tasks::new();
        let services = Services::new();
        services.services(Delta::Reset(vec![
            service(
                "kubernetes",
                &json!({"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443}]}),
            ),
            service("large", &json!({"clusterIP": "None"})),
            service("outside", &json!({"type": "ExternalName", "externalName": "www.example.com"})),
            service(
                "alias",
                &json!({"type": "ExternalName", "externalName": "kubernetes.default.svc.cluster.local"}),
            ),
        ]));
        services.slices(Delta::Reset(vec![large(100)]));
        let resolv_conf_file = std::env::temp_dir().join(format!("{}.resolv", space.name));
        std::fs::write(&resolv_conf_file, resolv_conf).unwrap();
        let options = DnsOptions { resolv_conf: resolv_conf_file, ..DnsOptions::new(services.clone()) };
        let server = Dns::build(options);
        let ready = server.ready();
        let group = tasks.clone();
        runtime
            .block_on(runtime.spawn(async move {
                server.run(&group).await.unwrap();
                tokio::time::timeout(PATIENCE, ready.opened()).await.unwrap();
            }))
            .unwrap();
        Self { space, services, runtime: Some(runtime), tasks }
    }

    fn udp(&self, message: &Message) -> Message {
        let socket = self.space.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(&message.to_vec().unwrap(), (SERVER, 53)).unwrap();
        let mut buffer = [0; 4096];
        let (size, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from, SocketAddr::from((SERVER, 53)), "answers come from the address asked");
        Message::from_vec(&buffer[..size]).unwrap()
    }

    fn tcp(&self, message: &Message) -> Message {
        let mut stream = self.space.within(|| TcpStream::connect((SERVER, 53)).unwrap());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let bytes = message.to_vec().unwrap();
        stream.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        Message::from_vec(&answer).unwrap()
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.tasks.stop();
        self.runtime = None;
        let _already_gone =
            std::fs::remove_file(std::env::temp_dir().join(format!("{}.resolv", self.space.name)));
    }
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

#[test]
fn services_are_found_over_udp_and_tcp() {
    let named = Named::start("");
    let asked = question("kubernetes.default.svc.cluster.local.", RecordType::A);
    for answer in [named.udp(&asked), named.tcp(&asked)] {
        assert_eq!(answer.metadata.id, asked.metadata.id);
        assert_eq!(data(&answer), ["10.96.0.1"]);
        assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
    }
    let alias = named.udp(&question("alias.default.svc.cluster.local.", RecordType::A));
    assert_eq!(data(&alias), ["kubernetes.default.svc.cluster.local.", "10.96.0.1"]);
    named.services.services(Delta::Put(service("new", &json!({"clusterIP": "10.96.0.2"}))));
    let fresh = question("new.default.svc.cluster.local.", RecordType::A);
    let start = std::time::Instant::now();
    while data(&named.udp(&fresh)).is_empty() {
        assert!(start.elapsed() < PATIENCE);
    }
}

#[test]
fn denials_carry_the_authority() {
    let named = Named::start("");
    let missing = named.udp(&question("nobody.default.svc.cluster.local.", RecordType::A));
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(missing.authorities[0].record_type(), RecordType::SOA);
    let empty = named.udp(&question("kubernetes.default.svc.cluster.local.", RecordType::AAAA));
    assert_eq!(empty.metadata.response_code, ResponseCode::NoError);
    assert!(empty.answers.is_empty());
    assert_eq!(empty.authorities[0].record_type(), RecordType::SOA);
}

#[test]
fn what_does_not_fit_is_cut_and_comes_by_tcp() {
    let named = Named::start("");
    let asked = question("large.default.svc.cluster.local.", RecordType::A);
    assert!(named.udp(&asked).metadata.truncation);
    assert_eq!(named.tcp(&asked).answers.len(), 100);
    let mut roomy = question("large.default.svc.cluster.local.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    roomy.set_edns(edns);
    named.services.slices(Delta::Put(large(40)));
    let start = std::time::Instant::now();
    let answer = loop {
        let answer = named.udp(&roomy);
        if !answer.metadata.truncation {
            break answer;
        }
        assert!(start.elapsed() < PATIENCE);
    };
    assert_eq!(answer.answers.len(), 40);
    assert!(answer.edns.is_some());
}

#[test]
fn other_names_are_asked_of_the_machines_resolvers() {
    let named = Named::start("nameserver 10.96.0.10\nnameserver 127.0.0.99\n");
    let upstream = named.space.within(|| UdpSocket::bind("127.0.0.99:53").unwrap());
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((size, peer)) = upstream.recv_from(&mut buffer) {
            let asked = Message::from_vec(&buffer[..size]).unwrap();
            let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
            answer.add_queries(asked.queries.clone());
            let name = asked.queries[0].name.clone();
            let data = hickory_proto::rr::RData::A(hickory_proto::rr::rdata::A::new(192, 0, 2, 1));
            answer.add_answer(hickory_proto::rr::Record::from_rdata(name, 60, data));
            let _client_may_be_gone = upstream.send_to(&answer.to_vec().unwrap(), peer);
        }
    });
    let answer = named.udp(&question("www.example.com.", RecordType::A));
    assert_eq!(data(&answer), ["192.0.2.1"]);
    assert!(!answer.metadata.authoritative);
}

#[test]
fn without_resolvers_other_names_are_refused_at_once() {
    let named = Named::start("# nobody\n");
    let answer = named.udp(&question("www.example.com.", RecordType::A));
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    let alias = named.udp(&question("outside.default.svc.cluster.local.", RecordType::A));
    assert_eq!(data(&alias), ["www.example.com."]);
}

#[test]
fn garbage_is_answered_or_ignored_and_the_server_lives() {
    let named = Named::start("");
    let socket = named.space.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    for garbage in [&b""[..], b"x", &[0xff; 12], &[0; 600]] {
        socket.send_to(garbage, (SERVER, 53)).unwrap();
    }
    let mut several = question("a.", RecordType::A);
    several.add_query(Query::query(Name::from_ascii("b.").unwrap(), RecordType::A));
    assert_eq!(named.udp(&several).metadata.response_code, ResponseCode::FormErr);
    let asked = question("kubernetes.default.svc.cluster.local.", RecordType::A);
    assert_eq!(data(&named.udp(&asked)), ["10.96.0.1"]);
    named.space.within(|| dns::cleanup(SERVER.into()).unwrap());
}
