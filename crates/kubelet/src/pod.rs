//! What to do for a pod and what to say about it: pure functions over plain data.
//!
//! No file below here may do IO or look at a clock; the worker hands in what is wanted, what was seen and
//! what time it is, and carries out the answer. Each question has its file and its table tests.

pub(crate) mod addresses;
pub(crate) mod conditions;
pub(crate) mod config;
pub(crate) mod deadline;
pub(crate) mod env;
pub(crate) mod ephemeral;
pub(crate) mod hosts;
pub(crate) mod order;
pub(crate) mod phase;
pub(crate) mod plan;
pub(crate) mod resize;
pub(crate) mod resources;
pub(crate) mod restart;
pub(crate) mod security;
pub(crate) mod services;
pub(crate) mod state;
pub(crate) mod status;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use std::borrow::Cow;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

/// Upstream's default where a manifest of old says nothing.
const DEFAULT_GRACE: i64 = 30;

/// A sidecar: an init container that goes on running.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Init containers first, as they run. Ephemeral ones come and go beside them and are not meant here.
pub(crate) fn all_containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

/// The container of this name, wherever it is in the pod.
pub(crate) fn find_container<'a>(pod: &'a Pod, name: &str) -> Option<Cow<'a, Container>> {
    let spec = pod.spec.as_ref()?;
    let own = all_containers(spec).find(|container| container.name == name).map(Cow::Borrowed);
    own.or_else(|| ephemeral::find(spec, name).map(|found| Cow::Owned(ephemeral::as_container(found))))
}

/// The path by which events name a part of a pod.
pub(crate) fn field_path(pod: &Pod, name: &str) -> String {
    let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let place = if init.into_iter().any(|container| container.name == name) {
        "initContainers"
    } else if pod.spec.as_ref().is_some_and(|spec| ephemeral::find(spec, name).is_some()) {
        "ephemeralContainers"
    } else {
        "containers"
    };
    format!("spec.{place}{{{name}}}")
}

/// A pod's uid; every pod a source hands out has one.
pub(crate) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// A pod's name.
pub(crate) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// A pod's namespace.
pub(crate) fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

/// How long containers get to end: what the deletion says, or the pod.
pub(crate) fn grace(pod: &Pod) -> Duration {
    let deletion = pod.metadata.deletion_grace_period_seconds;
    let seconds = deletion.or(pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds));
    Duration::from_secs(u64::try_from(seconds.unwrap_or(DEFAULT_GRACE)).unwrap_or(0))
}

/// An annotation of the pod.
pub(crate) fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Whether the pod comes from a file or URL, not from the API.
pub(crate) fn is_static(pod: &Pod) -> bool {
    annotation(pod, "kubernetes.io/config.source").is_some_and(|source| source != "api")
}

/// Whether this API object only shows a static pod.
pub(crate) fn is_mirror(pod: &Pod) -> bool {
    annotation(pod, "kubernetes.io/config.mirror").is_some()
}
