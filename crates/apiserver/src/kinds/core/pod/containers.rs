//! What containers must look like: each by itself, and next to each other.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EphemeralContainer, PodSpec, ResourceRequirements,
};
use skiff_api::{Errors, names};

use super::spec::required_of;
use super::{env, probes, resources, security, volumes};
use crate::kinds::check;

/// Checks the containers and init containers of a spec.
pub(super) fn validate(spec: &PodSpec, errors: &mut Errors) {
    let host_network = spec.host_network == Some(true);
    let mut seen = HashSet::new();
    if spec.containers.is_empty() {
        errors.required("containers", "");
    }
    for (index, container) in spec.containers.iter().enumerate() {
        errors.item("containers", index, |errors| {
            common(container, spec, errors);
            unique(container, &mut seen, errors);
            probes::lifecycle(container, errors);
            probes::all(container, errors);
            if container.restart_policy.is_some() {
                errors.forbidden("restartPolicy", "may not be set for non-init containers");
            }
        });
    }
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        errors.item("initContainers", index, |errors| init(container, spec, &mut seen, errors));
    }
    host_ports(&spec.containers, errors);
    if host_network {
        match_host_ports("containers", &spec.containers, errors);
        match_host_ports("initContainers", spec.init_containers.as_deref().unwrap_or_default(), errors);
    }
    for (index, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        errors.item("ephemeralContainers", index, |errors| ephemeral(container, spec, &mut seen, errors));
    }
}

/// The fields that an ephemeral container shares with others.
fn shared(container: &EphemeralContainer) -> Container {
    let from = container.clone();
    Container {
        name: from.name,
        image: from.image,
        image_pull_policy: from.image_pull_policy,
        env: from.env,
        env_from: from.env_from,
        volume_mounts: from.volume_mounts,
        volume_devices: from.volume_devices,
        termination_message_policy: from.termination_message_policy,
        security_context: from.security_context,
        ..Container::default()
    }
}

fn ephemeral(
    container: &EphemeralContainer,
    spec: &PodSpec,
    seen: &mut HashSet<String>,
    errors: &mut Errors,
) {
    const WHY: &str = "cannot be set for an Ephemeral Container";
    if container.name.is_empty() {
        errors.required("", "ephemeralContainer requires a name");
        return;
    }
    let plain = shared(container);
    common(&plain, spec, errors);
    unique(&plain, seen, errors);
    if let Some(target) = check::given(container.target_container_name.as_ref())
        && !spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(|c| c.name == target)
    {
        errors.not_found("targetContainerName", target);
    }
    for (field, there) in [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("ports", container.ports.as_ref().is_some_and(|ports| !ports.is_empty())),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("resizePolicy", container.resize_policy.is_some()),
        ("resources", container.resources.as_ref().is_some_and(|r| *r != ResourceRequirements::default())),
        ("startupProbe", container.startup_probe.is_some()),
    ] {
        if there {
            errors.forbidden(field, WHY);
        }
    }
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        if check::given(mount.sub_path.as_ref()).is_some() {
            errors.forbidden(&format!("volumeMounts[{index}].subPath"), WHY);
        }
    }
}

fn init(container: &Container, spec: &PodSpec, seen: &mut HashSet<String>, errors: &mut Errors) {
    common(container, spec, errors);
    unique(container, seen, errors);
    let sidecar = match check::given(container.restart_policy.as_ref()) {
        None => false,
        Some("Always") => true,
        Some(other) => {
            errors.not_supported("restartPolicy", other, &["Always"]);
            false
        }
    };
    if sidecar {
        probes::lifecycle(container, errors);
        probes::all(container, errors);
    } else {
        const WHY: &str = "may not be set for init containers without restartPolicy=Always";
        for (field, there) in [
            ("lifecycle", container.lifecycle.is_some()),
            ("livenessProbe", container.liveness_probe.is_some()),
            ("readinessProbe", container.readiness_probe.is_some()),
            ("startupProbe", container.startup_probe.is_some()),
        ] {
            if there {
                errors.forbidden(field, WHY);
            }
        }
    }
}

fn unique(container: &Container, seen: &mut HashSet<String>, errors: &mut Errors) {
    if !container.name.is_empty() && !seen.insert(container.name.clone()) {
        errors.duplicate("name", &container.name);
    }
}

fn common(container: &Container, spec: &PodSpec, errors: &mut Errors) {
    if container.name.is_empty() {
        errors.required("name", "");
    } else {
        check::named(errors, "name", &container.name, names::dns1123_label(&container.name));
    }
    if container.image.as_deref().unwrap_or_default().is_empty() {
        errors.required("image", "");
    }
    const MESSAGE: &str = "must be 'File' or 'FallbackToLogsOnError'";
    match check::given(container.termination_message_policy.as_ref()) {
        None => errors.required("terminationMessagePolicy", MESSAGE),
        Some("File" | "FallbackToLogsOnError") => {}
        Some(other) => errors.invalid("terminationMessagePolicy", other, MESSAGE),
    }
    ports(container.ports.as_deref().unwrap_or_default(), errors);
    env::variables(container.env.as_deref().unwrap_or_default(), errors);
    env::sources(container.env_from.as_deref().unwrap_or_default(), errors);
    volumes::mounts(container, spec, errors);
    let policies = ["Always", "IfNotPresent", "Never"];
    required_of(errors, "imagePullPolicy", container.image_pull_policy.as_ref(), &policies);
    if let Some(requirements) = &container.resources {
        errors.at("resources", |errors| resources::validate(requirements, errors));
    }
    if let Some(context) = &container.security_context {
        errors.at("securityContext", |errors| security::container(context, errors));
    }
}

fn ports(ports: &[ContainerPort], errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        errors.item("ports", index, |errors| {
            if let Some(name) = check::given(port.name.as_ref()) {
                let why = check::port_name(name);
                if why.is_empty() && !seen.insert(name) {
                    errors.duplicate("name", name);
                }
                check::named(errors, "name", name, why);
            }
            if port.container_port == 0 {
                errors.required("containerPort", "");
            } else {
                check::port(errors, "containerPort", port.container_port);
            }
            if let Some(host) = port.host_port.filter(|host| *host != 0) {
                check::port(errors, "hostPort", host);
            }
            if let Some(ip) = check::given(port.host_ip.as_ref()) {
                check::ip(errors, "hostIP", ip);
            }
            required_of(errors, "protocol", port.protocol.as_ref(), check::PROTOCOLS);
        });
    }
}

/// Two containers of a pod cannot have one port of the host.
fn host_ports(containers: &[Container], errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, container) in containers.iter().enumerate() {
        for (place, port) in container.ports.iter().flatten().enumerate() {
            let Some(host) = port.host_port.filter(|host| *host != 0) else { continue };
            let protocol = port.protocol.as_deref().unwrap_or_default();
            let key = format!("{protocol}/{}/{host}", port.host_ip.as_deref().unwrap_or_default());
            if !seen.insert(key.clone()) {
                errors.duplicate(&format!("containers[{index}].ports[{place}].hostPort"), &key);
            }
        }
    }
}

fn match_host_ports(field: &str, containers: &[Container], errors: &mut Errors) {
    for (index, container) in containers.iter().enumerate() {
        for (place, port) in container.ports.iter().flatten().enumerate() {
            if port.host_port.unwrap_or(0) != port.container_port {
                errors.invalid(
                    &format!("{field}[{index}].ports[{place}].containerPort"),
                    &port.container_port,
                    "must match `hostPort` when `hostNetwork` is true",
                );
            }
        }
    }
}
