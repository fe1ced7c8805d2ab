//! The defaults a pod gets that never passes the API server. Pure.
//!
//! Only those the kubelet acts on; the API server's own table has all of them and fills the mirror pod.

use k8s_openapi::api::core::v1::{Container, PodSpec, Probe};

fn or<T>(field: &mut Option<T>, value: T) {
    field.get_or_insert(value);
}

/// Fills in what is not said.
pub(super) fn apply(spec: &mut PodSpec) {
    or(&mut spec.restart_policy, "Always".to_owned());
    or(&mut spec.dns_policy, "ClusterFirst".to_owned());
    or(&mut spec.termination_grace_period_seconds, 30);
    or(&mut spec.scheduler_name, "default-scheduler".to_owned());
    or(&mut spec.enable_service_links, true);
    spec.security_context.get_or_insert_default();
    let host_network = spec.host_network.unwrap_or(false);
    for one in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        container(one, host_network);
    }
}

fn container(one: &mut Container, host_network: bool) {
    or(&mut one.termination_message_path, "/dev/termination-log".to_owned());
    or(&mut one.termination_message_policy, "File".to_owned());
    let image = one.image.as_deref().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let latest = !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    or(&mut one.image_pull_policy, if latest { "Always" } else { "IfNotPresent" }.to_owned());
    for port in one.ports.iter_mut().flatten() {
        or(&mut port.protocol, "TCP".to_owned());
        if host_network {
            or(&mut port.host_port, port.container_port);
        }
    }
    // What is limited and not requested is requested.
    if let Some(resources) = &mut one.resources
        && let Some(limits) = resources.limits.clone()
    {
        let requests = resources.requests.get_or_insert_default();
        for (name, quantity) in limits {
            requests.entry(name).or_insert(quantity);
        }
    }
    for one in
        [&mut one.liveness_probe, &mut one.readiness_probe, &mut one.startup_probe].into_iter().flatten()
    {
        probe(one);
    }
}

fn probe(one: &mut Probe) {
    or(&mut one.timeout_seconds, 1);
    or(&mut one.period_seconds, 10);
    or(&mut one.success_threshold, 1);
    or(&mut one.failure_threshold, 3);
    if let Some(action) = &mut one.http_get {
        or(&mut action.path, "/".to_owned());
        or(&mut action.scheme, "HTTP".to_owned());
    }
}
