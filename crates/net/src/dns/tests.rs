//! Given services and slices; expected what each question gets.

use hickory_proto::rr::{Name, RecordType};
use serde::de::DeserializeOwned;

use super::forward::resolvers;
use super::zone::{Answer, Zone};
use crate::model::Model;

fn given<T: DeserializeOwned>(yaml: &str) -> T {
    serde_saphyr::from_str(yaml).unwrap()
}

fn zone() -> Zone {
    let mut model = Model::default();
    for (name, spec) in [
        ("kubernetes", "{clusterIP: 10.96.0.1, ports: [{name: https, port: 443, protocol: TCP}]}"),
        ("db", "{clusterIP: None, ports: [{name: sql, port: 5432}]}"),
        (
            "both",
            "{clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, 'fd00:96::7'], ports: [{name: http, port: 80}]}",
        ),
        ("peers", "{clusterIP: None, ports: [{name: http, port: 80}]}"),
        ("early", "{clusterIP: None, publishNotReadyAddresses: true}"),
        ("idle", "{clusterIP: None, ports: [{name: http, port: 80}]}"),
        ("outside", "{type: ExternalName, externalName: www.example.com}"),
        ("nearby", "{type: ExternalName, externalName: kubernetes.default.svc.cluster.local}"),
    ] {
        model.put_service(&given(&format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: default}}, spec: {spec}}}"
        )));
    }
    for (owner, ports, endpoints) in [
        (
            "db",
            "[{name: sql, port: 5433}]",
            "{addresses: [10.0.0.5], hostname: db-0}, {addresses: [10.0.0.6]}, \
             {addresses: [10.0.0.7], hostname: db-2, conditions: {ready: false}}",
        ),
        ("early", "[]", "{addresses: [10.0.0.8], conditions: {ready: false}}"),
    ] {
        model.put_slice(&given(&format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, ports: {ports}, \
             metadata: {{name: {owner}-1, namespace: default, labels: {{kubernetes.io/service-name: {owner}}}}}, \
             endpoints: [{endpoints}]}}"
        )));
    }
    for (family, address) in [("IPv4", "10.0.0.9"), ("IPv6", "'fd00:1::9'")] {
        model.put_slice(&given(&format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: {family}, \
             ports: [{{name: http, port: 80}}], metadata: {{name: peers-{family}, namespace: default, \
             labels: {{kubernetes.io/service-name: peers}}}}, \
             endpoints: [{{addresses: [{address}], hostname: a}}]}}"
        )));
    }
    let mut zone =
        Zone::new("cluster.local", ["10.96.0.10", "fd00:96::a"].map(|ip| ip.parse().unwrap()).into());
    let keys: Vec<_> = model.keys().cloned().collect();
    for key in keys {
        let reach = model.reach(&key);
        zone.set(key, reach);
    }
    zone
}

/// The answer in one line.
fn shown(zone: &Zone, name: &str, kind: RecordType) -> String {
    let name = Name::from_ascii(name).unwrap();
    match zone.lookup(&name, kind) {
        Answer::Records(answers, extra) => {
            let line = |records: Vec<hickory_proto::rr::Record>| {
                records.iter().map(|record| record.data.to_string()).collect::<Vec<_>>().join(", ")
            };
            let extra = line(extra);
            let answers = line(answers);
            if extra.is_empty() { answers } else { format!("{answers} + {extra}") }
        }
        Answer::Alias(_, target) => format!("-> {target}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn names_get_what_the_specification_says() {
    let zone = zone();
    let table = [
        ("kubernetes.default.svc.cluster.local.", RecordType::A, "10.96.0.1"),
        ("KuberneteS.Default.svc.CLUSTER.local.", RecordType::A, "10.96.0.1"),
        ("kubernetes.default.svc.cluster.local.", RecordType::AAAA, "Empty"),
        ("db.default.svc.cluster.local.", RecordType::A, "10.0.0.5, 10.0.0.6"),
        ("early.default.svc.cluster.local.", RecordType::A, "10.0.0.8"),
        ("idle.default.svc.cluster.local.", RecordType::A, "Empty"),
        ("db-0.db.default.svc.cluster.local.", RecordType::A, "10.0.0.5"),
        ("10-0-0-6.db.default.svc.cluster.local.", RecordType::A, "10.0.0.6"),
        ("db-2.db.default.svc.cluster.local.", RecordType::A, "NoName"),
        (
            "_https._tcp.kubernetes.default.svc.cluster.local.",
            RecordType::SRV,
            "0 100 443 kubernetes.default.svc.cluster.local. + 10.96.0.1",
        ),
        (
            "_sql._tcp.db.default.svc.cluster.local.",
            RecordType::SRV,
            "0 50 5433 10-0-0-6.db.default.svc.cluster.local., 0 50 5433 db-0.db.default.svc.cluster.local. \
             + 10.0.0.6, 10.0.0.5",
        ),
        ("_https._udp.kubernetes.default.svc.cluster.local.", RecordType::SRV, "NoName"),
        ("_https._tcp.kubernetes.default.svc.cluster.local.", RecordType::A, "Empty"),
        ("outside.default.svc.cluster.local.", RecordType::A, "-> www.example.com."),
        ("1-2-3-4.default.pod.cluster.local.", RecordType::A, "1.2.3.4"),
        ("nonsense.default.pod.cluster.local.", RecordType::A, "NoName"),
        ("missing.default.svc.cluster.local.", RecordType::A, "NoName"),
        ("kubernetes.missing.svc.cluster.local.", RecordType::A, "NoName"),
        ("default.svc.cluster.local.", RecordType::A, "Empty"),
        ("missing.svc.cluster.local.", RecordType::A, "NoName"),
        ("svc.cluster.local.", RecordType::A, "Empty"),
        ("cluster.local.", RecordType::A, "Empty"),
        ("dns-version.cluster.local.", RecordType::TXT, "1.1.0"),
        ("whatever.cluster.local.", RecordType::A, "NoName"),
        ("1.0.96.10.in-addr.arpa.", RecordType::PTR, "kubernetes.default.svc.cluster.local."),
        ("5.0.0.10.in-addr.arpa.", RecordType::PTR, "db-0.db.default.svc.cluster.local."),
        ("9.9.9.9.in-addr.arpa.", RecordType::PTR, "NotOurs"),
        ("www.example.com.", RecordType::A, "NotOurs"),
        ("local.", RecordType::A, "NotOurs"),
    ];
    for (name, kind, expected) in table {
        assert_eq!(shown(&zone, name, kind), expected, "{name} {kind}");
    }
}

#[test]
fn names_have_addresses_of_both_families_and_lead_back() {
    let zone = zone();
    let table = [
        ("both.default.svc.cluster.local.", RecordType::A, "10.96.0.7"),
        ("both.default.svc.cluster.local.", RecordType::AAAA, "fd00:96::7"),
        ("peers.default.svc.cluster.local.", RecordType::AAAA, "fd00:1::9"),
        ("a.peers.default.svc.cluster.local.", RecordType::AAAA, "fd00:1::9"),
        ("db-0.db.default.svc.cluster.local.", RecordType::AAAA, "Empty"),
        (
            "_http._tcp.both.default.svc.cluster.local.",
            RecordType::SRV,
            "0 100 80 both.default.svc.cluster.local. + 10.96.0.7, fd00:96::7",
        ),
        (
            "_http._tcp.peers.default.svc.cluster.local.",
            RecordType::SRV,
            "0 100 80 a.peers.default.svc.cluster.local. + 10.0.0.9, fd00:1::9",
        ),
        ("fd00-1--9.default.pod.cluster.local.", RecordType::AAAA, "fd00:1::9"),
        ("fd00-1--9.default.pod.cluster.local.", RecordType::A, "Empty"),
        ("ns.dns.cluster.local.", RecordType::AAAA, "fd00:96::a"),
        (
            "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.d.f.ip6.arpa.",
            RecordType::PTR,
            "both.default.svc.cluster.local.",
        ),
        (
            "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa.",
            RecordType::PTR,
            "a.peers.default.svc.cluster.local.",
        ),
        ("0.0.d.f.ip6.arpa.", RecordType::PTR, "NotOurs"),
    ];
    for (name, kind, expected) in table {
        assert_eq!(shown(&zone, name, kind), expected, "{name} {kind}");
    }
}

#[test]
fn a_service_that_goes_takes_its_names_along() {
    let mut zone = zone();
    zone.set("default/kubernetes".into(), None);
    assert_eq!(shown(&zone, "kubernetes.default.svc.cluster.local.", RecordType::A), "NoName");
    assert_eq!(shown(&zone, "1.0.96.10.in-addr.arpa.", RecordType::PTR), "NotOurs");
    assert_eq!(shown(&zone, "default.svc.cluster.local.", RecordType::A), "Empty");
}

#[test]
fn we_never_ask_ourselves() {
    let ourselves = ["10.96.0.10:53", "[fd00:96::a]:53"].map(|own| own.parse().unwrap());
    let text = "# nameserver 9.9.9.9\nnameserver 10.96.0.10\nnameserver 8.8.8.8\nnameserver fd00:96::a\noptions ndots:5\nnameserver ::1\n";
    let found = resolvers(text, &ourselves);
    assert_eq!(found, ["8.8.8.8:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
}
