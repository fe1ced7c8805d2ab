//! Given a service and its slices; expected the elements, and the difference between two rounds.

use serde::de::DeserializeOwned;

use super::*;
use crate::model::Model;
use crate::proxy::plan::{Entry, plan};

fn given<T: DeserializeOwned>(yaml: &str) -> T {
    serde_saphyr::from_str(yaml).unwrap()
}

fn model(spec: &str, endpoints: &[(&str, &str)]) -> Model {
    let mut model = Model::default();
    model.put_service(&given(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: shop}}, spec: {spec}}}"
    )));
    let endpoints: Vec<String> =
        endpoints.iter().map(|(ip, node)| format!("{{addresses: ['{ip}'], nodeName: {node}}}")).collect();
    model.put_slice(&given(&format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, ports: [{{port: 8080}}], \
         metadata: {{name: web-1, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}, \
         endpoints: [{}]}}",
        endpoints.join(", ")
    )));
    model
}

/// `set address:port[/slot] -> address:port`, sorted.
fn shown(entries: &[Entry]) -> Vec<String> {
    let place = |bytes: &[u8]| match bytes {
        [a, b, c, d, rest @ ..] => {
            let tail = if rest.len() > 4 { &rest[4..] } else { rest };
            format!("{a}.{b}.{c}.{d}:{}", u16::from_be_bytes([tail[0], tail[1]]))
        }
        _ => String::new(),
    };
    let mut lines: Vec<String> = entries
        .iter()
        .map(|(set, key, value)| match (set, value.as_slice()) {
            (SetId::Hairpin, _) => format!("hairpin {}.{}.{}.{}", key[0], key[1], key[2], key[3]),
            (SetId::Live(_), _) => format!("{} {} {}", set.name(), place(&key[..12]), place(&key[12..])),
            (_, []) => format!("{} {}", set.name(), place(key)),
            (_, value) => format!("{} {}/{} -> {}", set.name(), place(&key[..12]), key[12], place(value)),
        })
        .collect();
    lines.sort();
    lines
}

fn check(spec: &str, endpoints: &[(&str, &str)], expected: &[&str]) {
    let model = model(spec, endpoints);
    let place = Place { node: "n1".into(), own: vec![[10, 96, 0, 10].into()] };
    let wanted = plan(&model.reach("shop/web").unwrap(), &place, Family::Four);
    assert_eq!(shown(&wanted.elements), expected, "{spec}");
}

const TWO: &[(&str, &str)] = &[("10.1.0.5", "n1"), ("10.2.0.6", "n2")];

#[test]
fn a_cluster_address_leads_to_all_endpoints() {
    check(
        "{clusterIP: 10.96.0.7, ports: [{port: 80}]}",
        TWO,
        &[
            "cluster 10.96.0.7:80",
            "ep2 10.96.0.7:80/0 -> 10.1.0.5:8080",
            "ep2 10.96.0.7:80/1 -> 10.2.0.6:8080",
            "hairpin 10.1.0.5",
        ],
    );
}

#[test]
fn nobody_behind_it_is_refused() {
    check(
        "{clusterIP: 10.96.0.7, ports: [{port: 80}]}",
        &[],
        &["cluster 10.96.0.7:80", "reject 10.96.0.7:80"],
    );
}

#[test]
fn node_ports_and_external_addresses_are_masqueraded() {
    check(
        "{type: NodePort, clusterIP: 10.96.0.7, externalIPs: [1.2.3.4], ports: [{port: 80, nodePort: 30080}]}",
        &TWO[1..],
        &[
            "cluster 10.96.0.7:80",
            "ep1 1.2.3.4:80/0 -> 10.2.0.6:8080",
            "ep1 10.96.0.7:80/0 -> 10.2.0.6:8080",
            "masquerade 0.0.0.0:30080",
            "masquerade 1.2.3.4:80",
            "np1 0.0.0.0:30080/0 -> 10.2.0.6:8080",
        ],
    );
}

#[test]
fn external_policy_local_keeps_strangers_on_the_node() {
    check(
        "{type: NodePort, clusterIP: 10.96.0.7, externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30080}]}",
        TWO,
        &[
            "cluster 10.96.0.7:80",
            "ep2 10.96.0.7:80/0 -> 10.1.0.5:8080",
            "ep2 10.96.0.7:80/1 -> 10.2.0.6:8080",
            "hairpin 10.1.0.5",
            "local 0.0.0.0:30080",
            "np1-local 0.0.0.0:30080/0 -> 10.1.0.5:8080",
            "np2 0.0.0.0:30080/0 -> 10.1.0.5:8080",
            "np2 0.0.0.0:30080/1 -> 10.2.0.6:8080",
        ],
    );
}

#[test]
fn internal_policy_local_with_nobody_near_is_silent() {
    let spec = "{clusterIP: 10.96.0.7, internalTrafficPolicy: Local, ports: [{port: 80}]}";
    check(spec, &TWO[1..], &["cluster 10.96.0.7:80", "drop 10.96.0.7:80"]);
    check(spec, &[], &["cluster 10.96.0.7:80", "reject 10.96.0.7:80"]);
}

#[test]
fn clients_that_stay_have_maps_of_their_own() {
    check(
        "{clusterIP: 10.96.0.7, sessionAffinity: ClientIP, ports: [{port: 80}]}",
        &TWO[1..],
        &[
            "cluster 10.96.0.7:80",
            "ep1-10800s 10.96.0.7:80/0 -> 10.2.0.6:8080",
            "live 10.96.0.7:80 10.2.0.6:8080",
        ],
    );
}

#[test]
fn headless_external_and_own_services_need_nothing() {
    check("{clusterIP: None, ports: [{port: 80}]}", TWO, &[]);
    check("{type: ExternalName, externalName: x.y}", TWO, &[]);
    check("{clusterIP: 10.96.0.10, ports: [{port: 53}]}", TWO, &[]);
}

#[test]
fn each_family_is_planned_by_its_own_addresses() {
    let spec = "{type: NodePort, clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, 'fd00:96::7'], externalIPs: \
                [1.2.3.4, 'fd01::4'], ports: [{port: 80, nodePort: 30080}]}";
    let reach = model(spec, TWO).reach("shop/web").unwrap();
    let place = Place { node: "n1".into(), own: vec![] };
    let mut six: Vec<(String, usize)> = plan(&reach, &place, Family::Six)
        .elements
        .iter()
        .map(|(set, key, _)| (set.name(), key.len()))
        .collect();
    six.sort();
    // The endpoints are of the other family: nobody answers by the service's, the external, or a node's address.
    let names = ["cluster", "masquerade", "masquerade", "reject", "reject", "reject"];
    assert_eq!(six, names.map(|name| (name.to_owned(), 24)));
    let single = model("{clusterIP: 10.96.0.7, ports: [{port: 80}]}", TWO).reach("shop/web").unwrap();
    assert_eq!(plan(&single, &place, Family::Six).elements, []);
}

#[test]
fn what_two_services_want_stays_until_both_let_go() {
    let mut ledger = Ledger::default();
    let pod = |value: u8| (SetId::Hairpin, vec![1], vec![value]);
    let (a, b): (Key, Key) = ("a".into(), "b".into());
    let round = |ledger: &mut Ledger<SetId>, service: &Key, wanted: Vec<Entry>| {
        let mut difference = Difference::default();
        ledger.set(service, wanted, &mut difference);
        let layout = Layout::new(Family::Four, "t".to_owned(), None);
        let mut batch = layout.batch();
        difference.write(&mut batch);
        !batch.is_empty()
    };
    assert!(round(&mut ledger, &a, vec![pod(7)]));
    assert!(!round(&mut ledger, &b, vec![pod(7)]), "already there");
    assert!(!round(&mut ledger, &a, vec![]), "still wanted");
    assert!(round(&mut ledger, &b, vec![]));
    assert!(ledger.all().is_empty());
}
