//! What happens to a service's addresses and ports when it changes.
//!
//! A client that PUTs what it wrote at first, without what was given out since, keeps what was given out.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::ServiceSpec;
use skiff_api::Errors;

use super::{is_external, is_headless, kind, needs_node_port};

fn needs_cluster_ip(spec: &ServiceSpec) -> bool {
    kind(spec) != "ExternalName"
}

fn needs_health_port(spec: &ServiceSpec) -> bool {
    kind(spec) == "LoadBalancer" && spec.external_traffic_policy.as_deref() == Some("Local")
}

fn is_empty(text: Option<&String>) -> bool {
    text.is_none_or(String::is_empty)
}

/// Brings `clusterIP` and `clusterIPs` together when a client that knows only the first changed it.
pub(super) fn normalize(spec: &mut ServiceSpec, old: Option<&ServiceSpec>) {
    let unset = spec.cluster_ips.as_ref().is_none_or(Vec::is_empty);
    if spec.cluster_ip.as_deref() == Some("") {
        spec.cluster_ip = None;
    }
    match (old, spec.cluster_ip.clone()) {
        (_, Some(ip)) if unset => spec.cluster_ips = Some(vec![ip]),
        (Some(old), ip) if ip != old.cluster_ip && spec.cluster_ips == old.cluster_ips => {
            spec.cluster_ips = ip.map(|ip| vec![ip]);
        }
        (_, None) if !unset => {
            spec.cluster_ip = spec.cluster_ips.as_ref().and_then(|ips| ips.first().cloned())
        }
        _ => {}
    }
}

/// Takes over what was given out and the update leaves open.
pub(super) fn keep_allocated(spec: &mut ServiceSpec, old: &ServiceSpec) {
    if needs_cluster_ip(spec) && needs_cluster_ip(old) {
        if is_empty(spec.cluster_ip.as_ref()) {
            spec.cluster_ip.clone_from(&old.cluster_ip);
        }
        if spec.cluster_ips.as_ref().is_none_or(Vec::is_empty) && spec.cluster_ip == old.cluster_ip {
            spec.cluster_ips.clone_from(&old.cluster_ips);
        }
    }
    if needs_node_port(spec) && needs_node_port(old) {
        let used: HashSet<i32> = spec.ports.iter().flatten().filter_map(|port| port.node_port).collect();
        for port in spec.ports.iter_mut().flatten().filter(|port| port.node_port.unwrap_or(0) == 0) {
            let name = |name: &Option<String>| name.clone().unwrap_or_default();
            let before = old.ports.iter().flatten().find(|before| name(&before.name) == name(&port.name));
            port.node_port =
                before.and_then(|before| before.node_port).filter(|number| !used.contains(number));
        }
    }
    if needs_health_port(spec) && needs_health_port(old) && spec.health_check_node_port.unwrap_or(0) == 0 {
        spec.health_check_node_port = old.health_check_node_port;
    }
}

/// A change of type gives back what only the old type needed, unless the client changed it as well.
pub(super) fn drop_what_the_type_lost(spec: &mut ServiceSpec, old: &ServiceSpec) {
    if needs_cluster_ip(old) && !needs_cluster_ip(spec) && spec.cluster_ips == old.cluster_ips {
        (spec.cluster_ip, spec.cluster_ips) = (None, None);
        (spec.ip_families, spec.ip_family_policy) = (None, None);
    }
    let node_ports = |spec: &ServiceSpec| -> Vec<Option<i32>> {
        spec.ports.iter().flatten().map(|port| port.node_port).collect()
    };
    if needs_node_port(old) && !needs_node_port(spec) && node_ports(spec) == node_ports(old) {
        for port in spec.ports.iter_mut().flatten() {
            port.node_port = None;
        }
    }
    if needs_health_port(old)
        && !needs_health_port(spec)
        && spec.health_check_node_port == old.health_check_node_port
    {
        spec.health_check_node_port = None;
    }
    if kind(old) == "LoadBalancer" && kind(spec) != "LoadBalancer" {
        if spec.allocate_load_balancer_node_ports == old.allocate_load_balancer_node_ports {
            spec.allocate_load_balancer_node_ports = None;
        }
        if spec.load_balancer_class == old.load_balancer_class {
            spec.load_balancer_class = None;
        }
    }
    if is_external(old) && !is_external(spec) && spec.external_traffic_policy == old.external_traffic_policy {
        spec.external_traffic_policy = None;
    }
}

/// What a service has of addresses and families stays, but for the second of each.
pub(super) fn validate(new: &ServiceSpec, old: &ServiceSpec, errors: &mut Errors) {
    if needs_cluster_ip(new) && needs_cluster_ip(old) {
        lasting_addresses(new, old, errors);
        lasting_families(new, old, errors);
    }
    if needs_health_port(new)
        && needs_health_port(old)
        && new.health_check_node_port != old.health_check_node_port
    {
        errors.forbidden("healthCheckNodePort", "field is immutable");
    }
    if kind(old) == "LoadBalancer" && kind(new) == "LoadBalancer" {
        let why = "may not change once set";
        if new.load_balancer_class != old.load_balancer_class {
            let class = new.load_balancer_class.clone().unwrap_or_default();
            errors.invalid("loadBalancerClass", &class, why);
        }
    }
}

/// A second address may come, and go again: that its policy fits is for who gives addresses to see.
fn lasting_addresses(new: &ServiceSpec, old: &ServiceSpec, errors: &mut Errors) {
    let ips = new.cluster_ips.as_deref().unwrap_or_default();
    let before = old.cluster_ips.as_deref().unwrap_or_default();
    let shown = || serde_json::to_value(ips).unwrap_or_default();
    if ips.is_empty() && !before.is_empty() {
        errors.invalid("clusterIPs[0]", &shown(), "primary clusterIP can not be unset");
    }
    for (index, _) in ips.iter().zip(before).enumerate().filter(|(_, (ip, before))| ip != before) {
        errors.invalid(&format!("clusterIPs[{index}]"), &shown(), "may not change once set");
    }
}

/// Who has no address of its own may change its families.
fn lasting_families(new: &ServiceSpec, old: &ServiceSpec, errors: &mut Errors) {
    if is_headless(new) || is_headless(old) {
        return;
    }
    let first = |spec: &ServiceSpec| spec.ip_families.as_ref()?.first().cloned();
    if let (Some(family), Some(before)) = (first(new), first(old))
        && family != before
    {
        let shown = serde_json::to_value(&new.ip_families).unwrap_or_default();
        errors.invalid("ipFamilies[0]", &shown, "may not change once set");
    }
}
