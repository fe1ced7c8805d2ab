//! Whether the node lets a pod in: the last word is the node's, whoever bound the pod to it.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use crate::pod::resources::request;
use crate::pod::state::Verdict;
use crate::pod::{all_containers, is_sidecar};

/// What the node has for pods, and its labels as they are now.
#[derive(Debug, Default)]
pub(crate) struct Allocatable {
    /// In thousandths.
    pub(crate) cpu: i64,
    /// In bytes.
    pub(crate) memory: i64,
    pub(crate) pods: usize,
    labels: RwLock<BTreeMap<String, String>>,
}

/// The same at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room {
    pub(crate) cpu: i64,
    pub(crate) memory: i64,
    pub(crate) pods: usize,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Allocatable {
    pub(crate) fn new(cpu: u64, memory: u64, pods: u64, labels: BTreeMap<String, String>) -> Self {
        let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let pods = usize::try_from(pods).unwrap_or(usize::MAX);
        Self { cpu: int(cpu), memory: int(memory), pods, labels: RwLock::new(labels) }
    }

    pub(crate) fn set_labels(&self, labels: BTreeMap<String, String>) {
        *self.labels.write().unwrap_or_else(PoisonError::into_inner) = labels;
    }

    pub(crate) fn get(&self) -> Room {
        let labels = self.labels.read().unwrap_or_else(PoisonError::into_inner).clone();
        Room { cpu: self.cpu, memory: self.memory, pods: self.pods, labels }
    }
}

/// A pod's request: main containers and sidecars together, or the largest init container.
fn asks(spec: &PodSpec, name: &str) -> i64 {
    let sum: i64 = spec.containers.iter().map(|container| request(container, name)).sum();
    let (mut sidecars, mut peak) = (0, 0);
    for container in spec.init_containers.iter().flatten() {
        let own = request(container, name);
        if is_sidecar(container) {
            sidecars += own;
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars + own);
        }
    }
    let overhead =
        spec.overhead.as_ref().and_then(|list| list.get(name)).map_or(0, crate::pod::resources::milli);
    (sum + sidecars).max(peak) + overhead
}

fn ends(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Lets the pod in beside `others`, or says why not, in upstream's words.
pub(crate) fn admit(pod: &Pod, others: &[&Pod], room: &Room) -> Result<(), Verdict> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    if ends(pod) {
        return Ok(());
    }
    let others: Vec<&PodSpec> =
        others.iter().filter(|other| !ends(other)).filter_map(|other| other.spec.as_ref()).collect();
    if others.len() + 1 > room.pods {
        return Err(short("pods", 1, others.len() as i64, room.pods as i64));
    }
    for (name, capacity, scale) in [("cpu", room.cpu, 1), ("memory", room.memory, 1000)] {
        let wanted = asks(spec, name) / scale;
        let used: i64 = others.iter().map(|other| asks(other, name) / scale).sum();
        if wanted > 0 && wanted.saturating_add(used) > capacity {
            return Err(short(name, wanted, used, capacity));
        }
    }
    let selected =
        spec.node_selector.iter().flatten().all(|(key, value)| room.labels.get(key) == Some(value));
    if !selected {
        return Err(verdict("NodeAffinity", "Predicate NodeAffinity failed"));
    }
    let taken: Vec<Port<'_>> = others.iter().flat_map(|other| ports(other)).collect();
    if ports(spec).iter().any(|port| taken.iter().any(|other| port.clashes(other))) {
        return Err(verdict("NodePorts", "Predicate NodePorts failed"));
    }
    Ok(())
}

#[derive(PartialEq)]
struct Port<'a> {
    ip: &'a str,
    port: i32,
    protocol: &'a str,
}

impl Port<'_> {
    fn clashes(&self, other: &Port<'_>) -> bool {
        let any = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
        let address = any(self.ip) || any(other.ip) || self.ip == other.ip;
        address && self.port == other.port && self.protocol == other.protocol
    }
}

fn ports(spec: &PodSpec) -> Vec<Port<'_>> {
    let all = all_containers(spec).flat_map(|container: &Container| container.ports.iter().flatten());
    let mapped = all.filter_map(|port| {
        Some(Port {
            ip: port.host_ip.as_deref().unwrap_or_default(),
            port: port.host_port.filter(|port| *port > 0)?,
            protocol: port.protocol.as_deref().unwrap_or("TCP"),
        })
    });
    mapped.collect()
}

fn short(name: &str, wanted: i64, used: i64, capacity: i64) -> Verdict {
    let message = format!(
        "Node didn't have enough resource: {name}, requested: {wanted}, used: {used}, capacity: {capacity}"
    );
    verdict(&format!("OutOf{name}"), &message)
}

fn verdict(reason: &str, message: &str) -> Verdict {
    Verdict { reason: reason.to_owned(), message: format!("Pod was rejected: {message}"), rejected: true }
}
