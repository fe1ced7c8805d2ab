//! Whether the node lets a pod in: the last word is the node's, whoever bound the pod to it.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use skiff_api::pod::affinity::{Target, allows};
use skiff_api::pod::{is_finished, ports, requests};

use super::sysctls;
use crate::pod::state::Verdict;

/// What the node has for pods, and its labels as they are now.
#[derive(Debug, Default)]
pub(crate) struct Allocatable {
    name: String,
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
    pub(crate) name: String,
    pub(crate) cpu: i64,
    pub(crate) memory: i64,
    pub(crate) pods: usize,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Allocatable {
    pub(crate) fn new(
        name: &str,
        (cpu, memory): (u64, u64),
        pods: u64,
        labels: BTreeMap<String, String>,
    ) -> Self {
        let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let pods = usize::try_from(pods).unwrap_or(usize::MAX);
        Self { name: name.to_owned(), cpu: int(cpu), memory: int(memory), pods, labels: RwLock::new(labels) }
    }

    pub(crate) fn set_labels(&self, labels: BTreeMap<String, String>) {
        *self.labels.write().unwrap_or_else(PoisonError::into_inner) = labels;
    }

    pub(crate) fn get(&self) -> Room {
        let labels = self.labels.read().unwrap_or_else(PoisonError::into_inner).clone();
        Room { name: self.name.clone(), cpu: self.cpu, memory: self.memory, pods: self.pods, labels }
    }
}

/// Lets the pod in beside `others`, or says why not, in upstream's words.
pub(crate) fn admit(pod: &Pod, others: &[&Pod], room: &Room) -> Result<(), Verdict> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    if is_finished(pod) {
        return Ok(());
    }
    let others: Vec<&PodSpec> =
        others.iter().filter(|other| !is_finished(other)).filter_map(|other| other.spec.as_ref()).collect();
    if others.len() + 1 > room.pods {
        let int = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        return Err(short("pods", 1, int(others.len()), int(room.pods)));
    }
    let wanted = requests::of(spec);
    let mut used = requests::Amounts::default();
    for other in &others {
        used.add(&requests::of(other));
    }
    for (name, capacity) in [("cpu", room.cpu), ("memory", room.memory)] {
        let (wanted, used) = (wanted.get(name), used.get(name));
        if wanted > 0 && wanted.saturating_add(used) > capacity {
            return Err(short(name, wanted, used, capacity));
        }
    }
    let label = |key: &str| room.labels.get(key).map(String::as_str);
    if !allows(spec, Target { name: &room.name, label: &label }) {
        return Err(verdict("NodeAffinity", "Predicate NodeAffinity failed"));
    }
    let taken: Vec<ports::HostPort> = others.iter().flat_map(|other| ports::of(other)).collect();
    if ports::of(spec).iter().any(|port| taken.iter().any(|other| port.clashes_with(other))) {
        return Err(verdict("NodePorts", "Predicate NodePorts failed"));
    }
    match sysctls::forbidden(spec) {
        Some(why) => Err(verdict("SysctlForbidden", &format!("forbidden sysctl: {why}"))),
        None => Ok(()),
    }
}

fn short(name: &str, wanted: i64, used: i64, capacity: i64) -> Verdict {
    let message = format!(
        "Node didn't have enough resource: {name}, requested: {wanted}, used: {used}, capacity: {capacity}"
    );
    verdict(&format!("OutOf{name}"), &message)
}

fn verdict(reason: &str, message: &str) -> Verdict {
    Verdict {
        reason: reason.to_owned(),
        message: format!("Pod was rejected: {message}"),
        rejected: true,
        ..Verdict::default()
    }
}
