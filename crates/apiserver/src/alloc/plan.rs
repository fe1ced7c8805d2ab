//! What a service must be given, by its type. Pure.
//!
//! Follows upstream's `pkg/registry/core/service/storage`: `defaultOnWrite`, `patchAllocatedValues` and
//! `normalizeClusterIPs`.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

/// What the pools have to provide.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) address: bool,
    pub(super) node_ports: bool,
    pub(super) health_check_port: bool,
}

impl Needs {
    /// Brings the address fields into one shape, takes over from `old` what the client left out, and says what is
    /// still to be given.
    pub(super) fn of(service: &mut Service, old: Option<&Service>) -> Self {
        let Some(spec) = service.spec.as_mut() else { return Self::default() };
        // Some clients write zero for what they leave out.
        spec.health_check_node_port.take_if(|port| *port == 0);
        for port in spec.ports.iter_mut().flatten() {
            port.node_port.take_if(|number| *number == 0);
        }
        normalise(spec, old);
        let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
        if kind == "ExternalName" {
            spec.cluster_ip = None;
            spec.cluster_ips = None;
            spec.ip_families = None;
            spec.ip_family_policy = None;
            return Self::default();
        }
        let node_ports = match kind {
            "NodePort" => true,
            "LoadBalancer" => spec.allocate_load_balancer_node_ports.unwrap_or(true),
            _ => false,
        };
        Self {
            address: spec.cluster_ip.as_deref() != Some("None"),
            node_ports,
            health_check_port: kind == "LoadBalancer"
                && spec.external_traffic_policy.as_deref() == Some("Local"),
        }
    }
}

/// `clusterIP` is the first of `clusterIPs`; whichever the client wrote leads. Values the client left out on an update
/// stay as they were, unless the new type has no use for them.
fn normalise(spec: &mut ServiceSpec, old: Option<&Service>) {
    let kind = spec.type_.clone().unwrap_or_else(|| "ClusterIP".to_owned());
    let before = old.and_then(|old| old.spec.as_ref());
    let text = |ip: &Option<String>| ip.clone().unwrap_or_default();
    if let Some(before) = before {
        let old_kind = before.type_.as_deref().unwrap_or("ClusterIP");
        if kind != "ExternalName" && old_kind != "ExternalName" && text(&spec.cluster_ip).is_empty() {
            let first = spec.cluster_ips.iter().flatten().next().cloned().unwrap_or_default();
            if first.is_empty() {
                spec.cluster_ip.clone_from(&before.cluster_ip);
                spec.cluster_ips.clone_from(&before.cluster_ips);
            }
        }
        ports(spec, before, &kind, old_kind);
        // A client that knows one field only changes that one: the other follows.
        let same_ip = text(&spec.cluster_ip) == text(&before.cluster_ip);
        let same_ips = spec.cluster_ips == before.cluster_ips;
        if !same_ip && same_ips {
            spec.cluster_ips = spec.cluster_ip.clone().map(|ip| vec![ip]);
        }
    }
    let first = spec.cluster_ips.iter().flatten().next().cloned().unwrap_or_default();
    if text(&spec.cluster_ip).is_empty() && !first.is_empty() {
        spec.cluster_ip = Some(first);
    } else if !text(&spec.cluster_ip).is_empty() && first.is_empty() {
        spec.cluster_ips = Some(vec![text(&spec.cluster_ip)]);
    }
}

/// Node ports left out stay with their port; those of a type that needs none are dropped if the client did not set them
/// anew.
fn ports(spec: &mut ServiceSpec, before: &ServiceSpec, kind: &str, old_kind: &str) {
    let needs = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    let old_ports = before.ports.as_deref().unwrap_or_default();
    if needs(kind) && needs(old_kind) {
        let used: Vec<i32> = spec.ports.iter().flatten().filter_map(|port| port.node_port).collect();
        for port in spec.ports.iter_mut().flatten().filter(|port| port.node_port.unwrap_or(0) == 0) {
            let same = old_ports.iter().find(|old| {
                old.port == port.port
                    && old.protocol.as_deref().unwrap_or("TCP") == port.protocol.as_deref().unwrap_or("TCP")
            });
            port.node_port = same.and_then(|old| old.node_port).filter(|number| !used.contains(number));
        }
        if spec.health_check_node_port.unwrap_or(0) == 0 {
            spec.health_check_node_port = before.health_check_node_port;
        }
    } else if !needs(kind) && needs(old_kind) {
        for port in spec.ports.iter_mut().flatten() {
            if old_ports.iter().any(|old| old.node_port == port.node_port) {
                port.node_port = None;
            }
        }
        spec.health_check_node_port = None;
    }
    let local = kind == "LoadBalancer" && spec.external_traffic_policy.as_deref() == Some("Local");
    if !local && spec.health_check_node_port == before.health_check_node_port {
        spec.health_check_node_port = None;
    }
}
