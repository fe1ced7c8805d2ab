//! Which endpoints a service should have, grouped by address family and ports; pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, ForNode, ForZone,
};

use crate::shared::seen::Seen;
use crate::shared::service;

/// Endpoints that may share a slice.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Group {
    pub(crate) family: String,
    pub(crate) ports: Vec<EndpointPort>,
    pub(crate) endpoints: Vec<Endpoint>,
}

/// All groups; each family of the service has at least one, if only an empty one, so that its slice says "none".
pub(super) fn groups(service: &Service, pods: &[Seen], zone: &dyn Fn(&str) -> Option<String>) -> Vec<Group> {
    let mut groups = Vec::new();
    for family in families(service) {
        let mut by_ports: BTreeMap<String, Group> = BTreeMap::new();
        for pod in pods {
            let address = pod.addresses.iter().find(|ip| ip.contains(':') == (family == "IPv6"));
            let (Some(address), Some(ports)) = (address, ports(service, pod)) else { continue };
            let group = by_ports.entry(key(&ports)).or_insert_with(|| Group {
                family: family.clone(),
                ports,
                endpoints: Vec::new(),
            });
            group.endpoints.push(endpoint(service, pod, address, zone));
        }
        if by_ports.is_empty() {
            by_ports.insert(String::new(), Group { family: family.clone(), ..Group::default() });
        }
        groups.extend(by_ports.into_values());
    }
    groups
}

/// Ports as a text that is equal for equal ports.
pub(crate) fn key(ports: &[EndpointPort]) -> String {
    let mut all: Vec<String> = ports
        .iter()
        .map(|p| {
            format!("{:?}", (p.name.as_deref().unwrap_or_default(), &p.protocol, p.port, &p.app_protocol))
        })
        .collect();
    all.sort();
    all.join(";")
}

/// The address families; where the service names none, that of its address, or IPv4.
fn families(service: &Service) -> Vec<String> {
    let spec = service.spec.as_ref();
    match spec.and_then(|spec| spec.ip_families.clone()) {
        Some(families) if !families.is_empty() => families,
        _ => {
            let v6 = spec.and_then(|spec| spec.cluster_ip.as_deref()).is_some_and(|ip| ip.contains(':'));
            vec![if v6 { "IPv6" } else { "IPv4" }.to_owned()]
        }
    }
}

/// The pod's ports that the service leads to; nothing if it has none of them.
fn ports(service: &Service, pod: &Seen) -> Option<Vec<EndpointPort>> {
    let wanted = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    if wanted.is_empty() {
        return service::is_headless(service).then(Vec::new);
    }
    let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(service::target_port(pod, port)?),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
    };
    // A pod that lacks one named port still serves the others.
    Some(wanted.iter().filter_map(port).collect())
}

fn endpoint(service: &Service, pod: &Seen, address: &str, zone: &dyn Fn(&str) -> Option<String>) -> Endpoint {
    let (serving, terminating, node) = (pod.ready, pod.is_leaving(), pod.node.as_deref());
    let ready = service::publishes_unready(service) || (serving && !terminating);
    let zone = node.and_then(zone);
    Endpoint {
        addresses: vec![address.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: service::hostname(pod, service),
        node_name: node.map(str::to_owned),
        target_ref: Some(service::target(pod)),
        hints: hints(service, node, zone.as_deref()).filter(|_| ready),
        zone,
        ..Endpoint::default()
    }
}

/// Whom an endpoint is for, where the service wants its traffic near (upstream's `trafficdist` package).
fn hints(service: &Service, node: Option<&str>, zone: Option<&str>) -> Option<EndpointHints> {
    let wanted = service.spec.as_ref()?.traffic_distribution.as_deref()?;
    let zones = zone.map(|zone| vec![ForZone { name: zone.to_owned() }]);
    match wanted {
        "PreferClose" | "PreferSameZone" => {
            zones.map(|zones| EndpointHints { for_zones: Some(zones), for_nodes: None })
        }
        "PreferSameNode" => {
            let nodes = vec![ForNode { name: node?.to_owned() }];
            Some(EndpointHints { for_zones: zones, for_nodes: Some(nodes) })
        }
        _ => None,
    }
}
