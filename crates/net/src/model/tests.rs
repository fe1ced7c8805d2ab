//! Given services and slices in YAML; expected who is reachable.

use serde::de::DeserializeOwned;

use super::*;
use crate::family::Family;

fn given<T: DeserializeOwned>(yaml: &str) -> T {
    serde_saphyr::from_str(yaml).unwrap()
}

fn service(spec: &str) -> core::Service {
    given(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: shop}}, spec: {spec}}}"
    ))
}

/// A slice of `web`; each endpoint is `address conditions..` with conditions written as in YAML.
fn slice(name: &str, ports: &str, endpoints: &[(&str, &str)]) -> discovery::EndpointSlice {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|(ip, conditions)| format!("{{addresses: ['{ip}'], nodeName: n1, conditions: {conditions}}}"))
        .collect();
    given(&format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, ports: {ports}, \
         metadata: {{name: {name}, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}, \
         endpoints: [{}]}}",
        endpoints.join(", ")
    ))
}

const SPEC: &str =
    "{clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], ports: [{name: http, port: 80, protocol: TCP}]}";
const PORTS: &str = "[{name: http, port: 8080, protocol: TCP}]";

fn targets(model: &Model) -> Vec<String> {
    let reach = model.reach("shop/web").unwrap();
    reach
        .targets(&reach.service.ports[0], Family::Four, None)
        .iter()
        .map(|(ip, port)| format!("{ip}:{port}"))
        .collect()
}

fn check(endpoints: &[(&str, &str)], expected: &[&str]) {
    let mut model = Model::default();
    model.put_service(&service(SPEC)).unwrap();
    model.put_slice(&slice("web-1", PORTS, endpoints));
    assert_eq!(targets(&model), expected, "{endpoints:?}");
}

#[test]
fn ready_endpoints_get_traffic() {
    check(&[("10.0.0.1", "{ready: true}"), ("10.0.0.2", "{ready: false}")], &["10.0.0.1:8080"]);
    check(&[("10.0.0.1", "{}")], &["10.0.0.1:8080"]);
}

#[test]
fn ending_endpoints_that_serve_get_it_only_if_none_is_ready() {
    let ending = "{ready: false, serving: true, terminating: true}";
    let dead = "{ready: false, serving: false, terminating: true}";
    check(&[("10.0.0.1", ending), ("10.0.0.2", "{ready: true}")], &["10.0.0.2:8080"]);
    check(&[("10.0.0.1", ending), ("10.0.0.2", dead)], &["10.0.0.1:8080"]);
    check(&[("10.0.0.2", dead)], &[]);
}

#[test]
fn ports_are_found_by_name_and_protocol() {
    let mut model = Model::default();
    model.put_service(&service(SPEC)).unwrap();
    model.put_slice(&slice("a", "[{name: other, port: 1}]", &[("10.0.0.1", "{}")]));
    model.put_slice(&slice("b", "[{name: http, port: 2, protocol: UDP}]", &[("10.0.0.2", "{}")]));
    assert!(targets(&model).is_empty());
    // A named target port may differ between pods: one slice each.
    model.put_slice(&slice("c", "[{name: http, port: 3}]", &[("10.0.0.3", "{}")]));
    model.put_slice(&slice("d", "[{name: http, port: 4}]", &[("10.0.0.4", "{}"), ("10.0.0.3", "{}")]));
    assert_eq!(targets(&model), ["10.0.0.3:3", "10.0.0.3:4", "10.0.0.4:4"]);
}

#[test]
fn only_real_changes_are_told() {
    let mut model = Model::default();
    let key: Key = "shop/web".into();
    assert_eq!(model.put_service(&service(SPEC)), Some(key.clone()));
    assert_eq!(model.put_service(&service(SPEC)), None);
    let first = slice("web-1", PORTS, &[("10.0.0.1", "{}")]);
    assert_eq!(&*model.put_slice(&first)[0], "shop/web");
    assert!(model.put_slice(&first).is_empty());
    assert!(model.reset_slices([&first]).is_empty());
    assert_eq!(&*model.reset_slices([])[0], "shop/web");
    assert_eq!(model.reset_services([]), [key]);
    assert!(model.reach("shop/web").is_none());
}

#[test]
fn a_slice_that_changes_its_service_touches_both() {
    let mut model = Model::default();
    let mut moving = slice("x", PORTS, &[("10.0.0.1", "{}")]);
    model.put_slice(&moving);
    moving.metadata.labels.as_mut().unwrap().insert(SERVICE_NAME.into(), "other".into());
    let told = model.put_slice(&moving);
    assert_eq!(told.iter().map(|key| &**key).collect::<Vec<_>>(), ["shop/web", "shop/other"]);
    moving.metadata.labels = None;
    assert_eq!(model.put_slice(&moving).len(), 1);
}

#[test]
fn services_are_read_as_upstream_means_them() {
    let of = |spec: &str| Service::of(&service(spec));
    let web = of("{clusterIP: None, ports: []}");
    assert!(web.headless && web.addresses.is_empty());
    let mut labelled = service("{clusterIP: 10.96.0.1}");
    assert!(!Service::of(&labelled).foreign);
    for label in ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"] {
        labelled.metadata.labels = Some([(label.to_owned(), String::new())].into());
        assert!(Service::of(&labelled).foreign, "{label}");
    }
    let name = of("{type: ExternalName, externalName: db.example.com, clusterIP: ''}");
    assert_eq!((name.headless, name.external_name.as_deref()), (false, Some("db.example.com")));
    let sticky = of("{clusterIP: 10.96.0.1, sessionAffinity: ClientIP}");
    assert_eq!(sticky.affinity, Some(10_800));
    let brief = of(
        "{clusterIP: 10.96.0.1, sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}}",
    );
    assert_eq!(brief.affinity, Some(5));
    let local = of(
        "{type: NodePort, clusterIP: 10.96.0.1, externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30080}], externalIPs: [1.2.3.4]}",
    );
    assert!(local.external_local && !local.internal_local);
    assert_eq!(local.ports[0].node_port, Some(30080));
    assert_eq!(local.external, [Ipv4Addr::new(1, 2, 3, 4)]);
}

use std::net::Ipv4Addr;
