//! Services and pods given as JSON.

use serde_json::{Value, json};

use super::*;

fn service(spec: Value) -> Service {
    serde_json::from_value(
        json!({"metadata": {"name": "web", "namespace": "blue", "labels": {"team": "x"}}, "spec": spec}),
    )
    .unwrap()
}

fn pod(name: &str, ip: &str, ready: bool) -> Seen {
    let status = if ready { "True" } else { "False" };
    let pod = json!({"metadata": {"name": name, "namespace": "blue", "uid": name},
        "spec": {"nodeName": "one", "hostname": name, "subdomain": "web", "containers": [{"name": "c",
            "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": status}]}});
    Seen::of(&serde_json::from_value(pod).unwrap())
}

fn shown(subsets: &[EndpointSubset]) -> Vec<String> {
    let list = |list: &Option<Vec<EndpointAddress>>| {
        list.iter().flatten().map(|a| a.ip.clone()).collect::<Vec<_>>().join(",")
    };
    let ports = |subset: &EndpointSubset| {
        let ports = subset.ports.iter().flatten();
        ports
            .map(|p| format!("{}:{}", p.name.clone().unwrap_or_default(), p.port))
            .collect::<Vec<_>>()
            .join(",")
    };
    subsets
        .iter()
        .map(|s| format!("{} | {} | {}", list(&s.addresses), list(&s.not_ready_addresses), ports(s)))
        .collect()
}

#[test]
fn ready_and_unready_addresses_share_a_subset_in_order() {
    let service = service(json!({"ports": [{"port": 80, "targetPort": "http"}]}));
    let pods = [pod("b", "10.0.0.2", true), pod("a", "10.0.0.1", true), pod("c", "10.0.0.3", false)];
    assert_eq!(shown(&subsets(&service, &pods)), ["10.0.0.1,10.0.0.2 | 10.0.0.3 | :8080"]);
}

#[test]
fn publishing_unready_addresses_makes_all_ready() {
    let service = service(json!({"ports": [{"port": 80}], "publishNotReadyAddresses": true}));
    assert_eq!(shown(&subsets(&service, &[pod("c", "10.0.0.3", false)])), ["10.0.0.3 |  | :80"]);
}

#[test]
fn a_pod_without_the_named_port_is_left_out_and_a_headless_service_needs_no_ports() {
    let named = service(json!({"ports": [{"port": 80, "targetPort": "admin"}]}));
    assert!(subsets(&named, &[pod("a", "10.0.0.1", true)]).is_empty());
    let headless = service(json!({"clusterIP": "None"}));
    let subsets = subsets(&headless, &[pod("a", "10.0.0.1", true)]);
    assert_eq!(shown(&subsets), ["10.0.0.1 |  | "]);
    assert_eq!(subsets[0].addresses.as_ref().unwrap()[0].hostname.as_deref(), Some("a"));
    let wanted = wanted(&headless, None, subsets, false);
    let labels: Vec<String> = wanted.metadata.labels.unwrap().into_keys().collect();
    assert_eq!(labels, [MANAGED_BY, HEADLESS, "team"]);
}

#[test]
fn more_than_a_thousand_addresses_are_cut_ready_ones_last() {
    let service = service(json!({"ports": [{"port": 80}]}));
    let pods: Vec<Seen> =
        (0..1100).map(|n| pod(&format!("p{n}"), &format!("10.0.{}.{}", n / 256, n % 256), n < 990)).collect();
    let (subsets, was_cut) = cut(subsets(&service, &pods));
    let count = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
    assert!(was_cut);
    assert_eq!((count(&subsets[0].addresses), count(&subsets[0].not_ready_addresses)), (990, 10));
}
