//! Legal but doubtful pods: what the client is told beside the answer.

use std::collections::{HashMap, HashSet};

use k8s_openapi::api::core::v1::{Container, PodSpec};
use skiff_api::names;
use skiff_api::quantity::Quantity;

/// Labels of nodes that have other names now.
const OLD_LABELS: &[(&str, &str)] =
    &[("beta.kubernetes.io/arch", names::ARCH), ("beta.kubernetes.io/os", names::OS)];

/// Warnings about a spec at `path`.
pub(super) fn of(spec: &PodSpec, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for key in spec.node_selector.iter().flatten().map(|(key, _)| key) {
        if let Some((_, label)) = OLD_LABELS.iter().find(|(old, _)| old == key) {
            found.push(format!("{path}.nodeSelector[{key}]: deprecated since v1.14; use {label:?} instead"));
        }
    }
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let at = format!("{path}.volumes[{index}]");
        if volume.git_repo.is_some() {
            found.push(format!("{at}.gitRepo: deprecated in v1.11"));
        }
        if volume.glusterfs.is_some() {
            found.push(format!("{at}.glusterfs: deprecated in v1.25, non-functional in v1.26+"));
        }
    }
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let earlier = spec.host_aliases.iter().flatten().take(index);
        if earlier.into_iter().any(|other| other.ip == alias.ip) {
            found.push(format!("{path}.hostAliases[{index}].ip: duplicate ip {:?}", alias.ip));
        }
    }
    for (index, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        if secret.name.is_empty() {
            found.push(format!("{path}.imagePullSecrets[{index}]: invalid empty name {:?}", secret.name));
        } else if let Some(first) =
            spec.image_pull_secrets.iter().flatten().take(index).find(|other| other.name == secret.name)
        {
            found.push(format!("{path}.imagePullSecrets[{index}]: duplicate name {:?}", first.name));
        }
    }
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        let why = "must be >= 0; negative values are invalid and will be treated as 1";
        found.push(format!("{path}.terminationGracePeriodSeconds: {why}"));
    }
    let containers = spec.containers.iter().enumerate().map(|(i, c)| (format!("{path}.containers[{i}]"), c));
    let init = spec.init_containers.iter().flatten().enumerate();
    for (at, container) in init.map(|(i, c)| (format!("{path}.initContainers[{i}]"), c)).chain(containers) {
        self::container(container, &at, &mut found);
    }
    found
}

fn container(container: &Container, at: &str, found: &mut Vec<String>) {
    let resources = container.resources.as_ref();
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    for (list, amounts) in [("limits", limits), ("requests", requests)] {
        for name in ["memory", "ephemeral-storage"] {
            let Some(amount) = amounts.and_then(|amounts| amounts.get(name)) else { continue };
            if Quantity::parse(&amount.0).is_ok_and(Quantity::is_fractional) {
                let why = format!("fractional byte value {:?} is invalid, must be an integer", amount.0);
                found.push(format!("{at}.resources.{list}[{name}]: {why}"));
            }
        }
    }
    let mut names = HashSet::new();
    for (index, variable) in container.env.iter().flatten().enumerate() {
        let value = variable.value.as_deref().unwrap_or_default();
        // A variable that extends its earlier self is meant to be there twice.
        if !names.insert(&variable.name) && !value.contains(&format!("$({})", variable.name)) {
            found.push(format!(
                "{at}.env[{index}]: hides previous definition of {:?}, which may be dropped when using apply",
                variable.name
            ));
        }
    }
    let mut ports = HashMap::new();
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let key = (
            port.container_port,
            port.protocol.as_deref().unwrap_or("TCP"),
            port.host_ip.as_deref(),
            port.host_port,
        );
        if let Some(first) = ports.insert(key, index) {
            found.push(format!("{at}.ports[{index}]: duplicate port definition with {at}.ports[{first}]"));
        }
    }
}
