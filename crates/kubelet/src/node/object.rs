//! The Node object: from what the machine is and what was seen of it; pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec,
    NodeStatus, NodeSystemInfo, Taint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::facts::Facts;
use crate::device_plugins::Amount;
use crate::eviction::Pressure;
use crate::runtime::{Condition, Image, Version};

/// Upstream reports the largest images only.
const MOST_IMAGES: usize = 50;
/// And this many names of each.
const MOST_NAMES: usize = 5;

/// Who this node is.
#[derive(Debug, Clone)]
pub(crate) struct Me {
    pub(crate) name: String,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) taints: Vec<Taint>,
    pub(crate) pod_cidr: Option<String>,
    pub(crate) max_pods: u64,
    pub(crate) port: u16,
    pub(crate) version: String,
    pub(crate) runtime: Version,
    pub(crate) facts: Facts,
    pub(crate) data_dir: PathBuf,
    /// Held back from pods: thousandths of a CPU, bytes.
    pub(crate) reserved_cpu_milli: u64,
    pub(crate) reserved_memory: u64,
}

/// What was seen of the node just now.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) runtime: Result<Vec<Condition>, String>,
    pub(crate) images: Vec<Image>,
    pub(crate) pressure: Pressure,
    pub(crate) volumes: Vec<String>,
    /// What plugins say the node has.
    pub(crate) devices: BTreeMap<String, Amount>,
}

impl Seen {
    /// Why pods cannot run here, if so.
    fn fault(&self) -> Option<String> {
        let conditions = match &self.runtime {
            Err(error) => return Some(format!("container runtime is down: {error}")),
            Ok(conditions) => conditions,
        };
        let bad: Vec<String> = conditions
            .iter()
            .filter(|one| !one.ok)
            .map(|one| {
                let what = if one.kind == "NetworkReady" {
                    "container runtime network"
                } else {
                    "container runtime"
                };
                let (kind, reason, message) = (&one.kind, &one.reason, &one.message);
                format!("{what} not ready: {kind}=false reason:{reason} message:{message}")
            })
            .collect();
        if bad.is_empty() { None } else { Some(format!("[{}]", bad.join(", "))) }
    }

    /// Whether pods can run here.
    pub(crate) fn is_ready(&self) -> bool {
        self.fault().is_none()
    }
}

/// The Node as it is first made.
pub(crate) fn node(me: &Me, seen: &Seen, now: Timestamp) -> Node {
    let os = "linux".to_owned();
    let mut labels = me.labels.clone();
    for (key, value) in [
        ("kubernetes.io/hostname", &me.name),
        ("kubernetes.io/os", &os),
        ("kubernetes.io/arch", &me.facts.architecture),
        ("beta.kubernetes.io/os", &os),
        ("beta.kubernetes.io/arch", &me.facts.architecture),
    ] {
        labels.insert(key.to_owned(), value.clone());
    }
    let taints = me.taints.clone();
    let root = crate::volume::local_path::root(&me.data_dir).display().to_string();
    let annotations = BTreeMap::from([(skiff_api::volume::LOCAL_PATH_ROOT.to_owned(), root)]);
    Node {
        metadata: ObjectMeta {
            name: Some(me.name.clone()),
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            pod_cidr: me.pod_cidr.clone(),
            pod_cidrs: me.pod_cidr.clone().map(|cidr| vec![cidr]),
            taints: if taints.is_empty() { None } else { Some(taints) },
            ..NodeSpec::default()
        }),
        status: Some(status(me, seen, None, now)),
    }
}

/// What the node has for pods: CPU in thousandths, memory in bytes.
pub(crate) fn allocatable(me: &Me) -> (u64, u64) {
    let cpu = (me.facts.cpus * 1000).saturating_sub(me.reserved_cpu_milli);
    (cpu, me.facts.memory.saturating_sub(me.reserved_memory))
}

/// The Node's status. `old` keeps the times of conditions that did not change.
pub(crate) fn status(me: &Me, seen: &Seen, old: Option<&NodeStatus>, now: Timestamp) -> NodeStatus {
    let facts = &me.facts;
    let resources = |cpu_milli: u64, memory: u64, disk: u64| {
        let cpu = if cpu_milli.is_multiple_of(1000) {
            (cpu_milli / 1000).to_string()
        } else {
            format!("{cpu_milli}m")
        };
        let all = [
            ("cpu", cpu),
            ("memory", format!("{}Ki", memory / 1024)),
            ("pods", me.max_pods.to_string()),
            ("ephemeral-storage", disk.to_string()),
            ("hugepages-1Gi", "0".to_owned()),
            ("hugepages-2Mi", "0".to_owned()),
        ];
        let all = all.into_iter().map(|(key, value)| (key.to_owned(), Quantity(value)));
        Some(all.collect::<BTreeMap<_, _>>())
    };
    let (cpu, memory) = allocatable(me);
    let capacity_disk = format!("{}Ki", facts.disk / 1024);
    let mut capacity = resources(facts.cpus * 1000, facts.memory, 0);
    if let Some(capacity) = &mut capacity {
        capacity.insert("ephemeral-storage".to_owned(), Quantity(capacity_disk));
    }
    let mut free = resources(cpu, memory, facts.disk / 10 * 9);
    for (name, amount) in &seen.devices {
        for (list, count) in [(&mut capacity, amount.all), (&mut free, amount.healthy)] {
            list.get_or_insert_default().insert(name.clone(), Quantity(count.to_string()));
        }
    }
    let held = old.and_then(|old| old.capacity.as_ref());
    besides(&mut capacity, held);
    besides(&mut free, held);
    let addresses = me.addresses.iter().map(|ip| ("InternalIP", ip.to_string()));
    let addresses = addresses.chain([("Hostname", me.name.clone())]);
    NodeStatus {
        addresses: Some(
            addresses.map(|(kind, address)| NodeAddress { type_: kind.to_owned(), address }).collect(),
        ),
        // As upstream: a tenth of the disk is kept free.
        allocatable: free,
        capacity,
        conditions: Some(conditions(seen, old, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(me.port) }),
        }),
        images: Some(images(&seen.images)),
        volumes_in_use: (!seen.volumes.is_empty()).then(|| seen.volumes.clone()),
        node_info: Some(NodeSystemInfo {
            architecture: facts.architecture.clone(),
            boot_id: facts.boot_id.clone(),
            container_runtime_version: format!("{}://{}", me.runtime.name, me.runtime.version),
            kernel_version: facts.kernel.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: me.version.clone(),
            machine_id: facts.machine_id.clone(),
            operating_system: "linux".to_owned(),
            os_image: facts.os_image.clone(),
            system_uuid: facts.system_uuid.clone(),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}

fn conditions(seen: &Seen, old: Option<&NodeStatus>, now: Timestamp) -> Vec<NodeCondition> {
    let condition = |kind: &str, holds: bool, reason: &str, message: String| {
        let status = if holds { "True" } else { "False" };
        let before = old.iter().flat_map(|old| old.conditions.iter().flatten()).find(|one| one.type_ == kind);
        let since =
            before.filter(|one| one.status == status).and_then(|one| one.last_transition_time.clone());
        NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: since.or(Some(Time(now))),
        }
    };
    let either = |kind: &str, bad: bool, words: [&str; 4]| {
        let [bad_reason, bad_message, reason, message] = words;
        let (reason, message) = if bad { (bad_reason, bad_message) } else { (reason, message) };
        condition(kind, bad, reason, message.to_owned())
    };
    let ready = match seen.fault() {
        None => condition("Ready", true, "KubeletReady", "kubelet is posting ready status".to_owned()),
        Some(fault) => condition("Ready", false, "KubeletNotReady", fault),
    };
    vec![
        either(
            "MemoryPressure",
            seen.pressure.memory,
            [
                "KubeletHasInsufficientMemory",
                "kubelet has insufficient memory available",
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ],
        ),
        either(
            "DiskPressure",
            seen.pressure.disk,
            [
                "KubeletHasDiskPressure",
                "kubelet has disk pressure",
                "KubeletHasNoDiskPressure",
                "kubelet has no disk pressure",
            ],
        ),
        either(
            "PIDPressure",
            seen.pressure.pids,
            [
                "KubeletHasInsufficientPID",
                "kubelet has insufficient PID available",
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
            ],
        ),
        ready,
    ]
}

/// What others say that the node has besides stays, and all of it is for pods.
fn besides(ours: &mut Option<BTreeMap<String, Quantity>>, held: Option<&BTreeMap<String, Quantity>>) {
    let Some(ours) = ours else { return };
    for (name, amount) in held.into_iter().flatten() {
        ours.entry(name.clone()).or_insert_with(|| amount.clone());
    }
}

fn images(images: &[Image]) -> Vec<ContainerImage> {
    let mut sorted: Vec<&Image> = images.iter().collect();
    sorted.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    let shown = sorted.into_iter().take(MOST_IMAGES).map(|image| ContainerImage {
        names: Some(image.digests.iter().chain(&image.tags).take(MOST_NAMES).cloned().collect()),
        size_bytes: i64::try_from(image.size).ok(),
    });
    shown.collect()
}

/// Whether the status says the same as the one in the API; the time it was looked at does not count.
pub(crate) fn same(old: Option<&NodeStatus>, new: &NodeStatus) -> bool {
    let Some(old) = old else { return false };
    let mut new = new.clone();
    // Others' conditions and fields are not ours to compare.
    for condition in new.conditions.iter_mut().flatten() {
        let before = old.conditions.iter().flatten().find(|one| one.type_ == condition.type_);
        condition.last_heartbeat_time = before.and_then(|one| one.last_heartbeat_time.clone());
    }
    let ours = new.conditions.iter().flatten();
    let known: Vec<_> = old.conditions.iter().flatten().collect();
    ours.into_iter().all(|one| known.contains(&one))
        && old.addresses == new.addresses
        && old.allocatable == new.allocatable
        && old.capacity == new.capacity
        && old.images == new.images
        && old.volumes_in_use == new.volumes_in_use
        && old.node_info == new.node_info
        && old.daemon_endpoints == new.daemon_endpoints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_the_node_has_stays_and_ours_is_ours_to_say() {
        let list = |items: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
            items.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned()))).collect()
        };
        let mut ours = Some(list(&[("cpu", "2")]));
        besides(&mut ours, Some(&list(&[("cpu", "64"), ("example.com/card", "5")])));
        assert_eq!(ours, Some(list(&[("cpu", "2"), ("example.com/card", "5")])));
    }
}
