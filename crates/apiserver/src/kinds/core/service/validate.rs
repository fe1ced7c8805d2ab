//! What a service must look like, whoever wrote it.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, ServicePort, ServiceSpec};
use skiff_api::{Errors, names};

use super::{addresses, is_external, is_headless, kind};
use crate::kinds::check;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const KUBELET: i32 = 10_250;
const MAX_AFFINITY_SECONDS: i32 = 86_400;

pub(super) fn spec(spec: &ServiceSpec, errors: &mut Errors) {
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ports.is_empty() && !is_headless(spec) && kind(spec) != "ExternalName" {
        errors.required("ports", "");
    }
    by_type(spec, errors);
    let mut seen_names = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        errors.item("ports", index, |errors| service_port(port, ports.len() > 1, &mut seen_names, errors));
    }
    if let Some(selector) = &spec.selector {
        check::labels(errors, "selector", selector);
    }
    affinity(spec, errors);
    addresses::spec(spec, errors);
    for (index, ip) in spec.external_ips.iter().flatten().enumerate() {
        check::reachable_ip(errors, &format!("externalIPs[{index}]"), ip);
    }
    match spec.type_.as_deref() {
        None | Some("") => errors.required("type", ""),
        Some(kind) => check::one_of(errors, "type", kind, TYPES),
    }
    duplicate_ports(spec, errors);
    traffic(spec, errors);
    load_balancer(spec, errors);
}

fn by_type(spec: &ServiceSpec, errors: &mut Errors) {
    if kind(spec) == "LoadBalancer" {
        let exposed = spec.ports.iter().flatten().enumerate().filter(|(_, port)| port.port == KUBELET);
        for (index, port) in exposed {
            let why = format!("may not expose port {KUBELET} externally since it is used by kubelet");
            errors.invalid(&format!("ports[{index}]"), &port.port, why);
        }
    }
    match kind(spec) {
        kind @ ("LoadBalancer" | "NodePort") if is_headless(spec) => {
            errors.invalid("clusterIPs[0]", "None", format!("may not be set to 'None' for {kind} services"));
        }
        "ExternalName" => {
            const WHY: &str = "may not be set for ExternalName services";
            let given = |ip: &String| !ip.is_empty();
            if spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip).any(given) {
                errors.forbidden("clusterIPs", WHY);
            }
            if spec.ip_families.as_ref().is_some_and(|families| !families.is_empty()) {
                errors.forbidden("ipFamilies", WHY);
            }
            if spec.ip_family_policy.is_some() {
                errors.forbidden("ipFamilyPolicy", WHY);
            }
            let name = spec.external_name.as_deref().unwrap_or_default();
            let name = name.strip_suffix('.').unwrap_or(name);
            if name.is_empty() {
                errors.required("externalName", "");
            } else {
                check::named(errors, "externalName", name, names::dns1123_subdomain(name));
            }
        }
        _ => {}
    }
}

fn service_port<'a>(port: &'a ServicePort, many: bool, seen: &mut HashSet<&'a str>, errors: &mut Errors) {
    match check::given(port.name.as_ref()) {
        None if many => errors.required("name", ""),
        None => {}
        Some(name) => {
            check::named(errors, "name", name, names::dns1123_label(name));
            if !seen.insert(name) {
                errors.duplicate("name", name);
            }
        }
    }
    check::port(errors, "port", port.port);
    match port.protocol.as_deref() {
        None | Some("") => errors.required("protocol", ""),
        Some(protocol) => check::one_of(errors, "protocol", protocol, check::PROTOCOLS),
    }
    if let Some(target) = &port.target_port {
        check::port_or_name(errors, "targetPort", target);
    }
    if let Some(app) = &port.app_protocol {
        check::named(errors, "appProtocol", app, names::qualified_name(app));
    }
}

fn affinity(spec: &ServiceSpec, errors: &mut Errors) {
    match spec.session_affinity.as_deref() {
        None | Some("") => errors.required("sessionAffinity", ""),
        Some("ClientIP") => {
            let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
            match config.and_then(|config| config.timeout_seconds) {
                None => errors.required("sessionAffinityConfig", "when session affinity type is ClientIP"),
                Some(seconds) if !(1..=MAX_AFFINITY_SECONDS).contains(&seconds) => {
                    let why = format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}");
                    errors.invalid("sessionAffinityConfig.clientIP.timeoutSeconds", &seconds, why);
                }
                Some(_) => {}
            }
        }
        Some("None") => {
            if spec.session_affinity_config.is_some() {
                errors.forbidden("sessionAffinityConfig", "must not be set when session affinity is None");
            }
        }
        Some(other) => errors.not_supported("sessionAffinity", other, &["ClientIP", "None"]),
    }
}

fn duplicate_ports(spec: &ServiceSpec, errors: &mut Errors) {
    let (mut ports, mut node_ports) = (HashSet::new(), HashSet::new());
    for (index, port) in spec.ports.iter().flatten().enumerate() {
        errors.item("ports", index, |errors| {
            let node_port = port.node_port.unwrap_or(0);
            if node_port != 0 {
                if kind(spec) == "ClusterIP" {
                    errors.forbidden("nodePort", "may not be used when `type` is 'ClusterIP'");
                }
                if !node_ports.insert((&port.protocol, node_port)) {
                    errors.duplicate("nodePort", &node_port);
                }
            }
            if !ports.insert((&port.protocol, port.port)) {
                let shown = serde_json::json!({"port": port.port, "protocol": port.protocol});
                errors.duplicate("", &shown);
            }
        });
    }
}

fn traffic(spec: &ServiceSpec, errors: &mut Errors) {
    let external = check::given(spec.external_traffic_policy.as_ref());
    match (is_external(spec), external) {
        (false, Some(policy)) => {
            let why = "may only be set for externally-accessible services";
            errors.invalid("externalTrafficPolicy", policy, why);
        }
        (true, None) => errors.required("externalTrafficPolicy", ""),
        (true, Some(policy)) => {
            check::one_of(errors, "externalTrafficPolicy", policy, &["Cluster", "Local"]);
        }
        (false, None) => {}
    }
    let wants_health = kind(spec) == "LoadBalancer" && external == Some("Local");
    match spec.health_check_node_port {
        Some(port) if port != 0 && !wants_health => {
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.invalid("healthCheckNodePort", &port, why);
        }
        Some(port) if port < 0 => errors.invalid("healthCheckNodePort", &port, check::PORT_RANGE),
        _ => {}
    }
    match spec.internal_traffic_policy.as_deref() {
        None if kind(spec) != "ExternalName" => errors.required("internalTrafficPolicy", ""),
        Some(policy) => check::one_of(errors, "internalTrafficPolicy", policy, &["Cluster", "Local"]),
        None => {}
    }
    if let Some(distribution) = check::given(spec.traffic_distribution.as_ref()) {
        let supported = ["PreferClose", "PreferSameNode", "PreferSameZone"];
        check::one_of(errors, "trafficDistribution", distribution, &supported);
    }
}

/// Where a balancer can be reached.
pub(super) fn points(points: Option<&Vec<LoadBalancerIngress>>, balanced: bool, errors: &mut Errors) {
    let points = points.map(Vec::as_slice).unwrap_or_default();
    if !balanced && !points.is_empty() {
        return errors.forbidden("ingress", "may only be used when `spec.type` is 'LoadBalancer'");
    }
    for (index, point) in points.iter().enumerate() {
        errors.item("ingress", index, |errors| {
            check::balancer(errors, point.ip.as_ref(), point.hostname.as_ref());
            let addressed = check::given(point.ip.as_ref()).is_some();
            match point.ip_mode.as_deref() {
                None if addressed => errors.required("ipMode", "must be specified when `ip` is set"),
                Some(_) if !addressed => {
                    errors.forbidden("ipMode", "may not be specified when `ip` is not set");
                }
                Some(mode) => check::one_of(errors, "ipMode", mode, &["Proxy", "VIP"]),
                None => {}
            }
        });
    }
}

fn load_balancer(spec: &ServiceSpec, errors: &mut Errors) {
    const WHY: &str = "may only be used when `type` is 'LoadBalancer'";
    let balanced = kind(spec) == "LoadBalancer";
    let ranges = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    if !ranges.is_empty() && !balanced {
        errors.forbidden("loadBalancerSourceRanges", WHY);
    }
    for (index, range) in ranges.iter().enumerate() {
        if range.trim().parse::<ipnet::IpNet>().is_err() {
            let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.invalid(&format!("loadBalancerSourceRanges[{index}]"), range, why);
        }
    }
    match spec.load_balancer_class.as_deref() {
        Some(_) if !balanced => errors.forbidden("loadBalancerClass", WHY),
        Some(class) => check::named(errors, "loadBalancerClass", class, names::qualified_name(class)),
        None => {}
    }
    match spec.allocate_load_balancer_node_ports {
        None if balanced => errors.required("allocateLoadBalancerNodePorts", ""),
        Some(_) if !balanced => errors.forbidden("allocateLoadBalancerNodePorts", WHY),
        _ => {}
    }
}
