//! Which devices there are, which are given to whom, and which a container gets next: pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, Pod};
use serde::{Deserialize, Serialize};
use skiff_api::pod::{is_sidecar, requests};

use super::proto::ContainerAllocated;

/// What a node has of a resource: all of it, and what can be given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) all: u64,
    pub(crate) healthy: u64,
}

/// What a container got for its devices of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Given {
    pub(super) devices: BTreeSet<String>,
    pub(super) envs: BTreeMap<String, String>,
    /// In the container, on the machine, only to be read.
    pub(super) mounts: Vec<(String, String, bool)>,
    /// In the container, on the machine, permissions.
    pub(super) nodes: Vec<(String, String, String)>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) cdi: Vec<String>,
}

impl Given {
    pub(super) fn new(devices: BTreeSet<String>, told: ContainerAllocated) -> Self {
        let mounts = told.mounts.into_iter().map(|it| (it.container_path, it.host_path, it.read_only));
        let nodes = told.devices.into_iter().map(|it| (it.container_path, it.host_path, it.permissions));
        Self {
            devices,
            envs: told.envs.into_iter().collect(),
            mounts: mounts.collect(),
            nodes: nodes.collect(),
            annotations: told.annotations.into_iter().collect(),
            cdi: told.cdi_devices.into_iter().map(|it| it.name).collect(),
        }
    }
}

/// By container and resource.
type OfPod = BTreeMap<String, BTreeMap<String, Given>>;

/// All of it; what is written down is what was given, and which resources there were.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    /// The devices of each resource, and whether they can be given.
    #[serde(skip)]
    devices: BTreeMap<String, BTreeMap<String, bool>>,
    /// The resources that a plugin ever told of.
    registered: BTreeSet<String>,
    /// By the pod's uid.
    pods: BTreeMap<String, OfPod>,
}

/// What a container may get.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// What its pod's init containers have left.
    pub(super) left: BTreeSet<String>,
    /// What nobody has.
    pub(super) free: BTreeSet<String>,
    pub(super) needed: usize,
}

impl Choice {
    /// The devices, where a plugin prefers some of them.
    pub(super) fn take(&self, preferred: &BTreeSet<String>) -> BTreeSet<String> {
        let own = self.left.iter().take(self.needed);
        let liked = preferred.intersection(&self.free);
        let others = self.free.difference(preferred);
        own.chain(liked.chain(others).filter(|id| !self.left.contains(*id)))
            .take(self.needed)
            .cloned()
            .collect()
    }
}

/// The resources of plugins, or of somebody else who counts devices, that a container asks for.
pub(crate) fn asked(container: &Container) -> Vec<(String, usize)> {
    let limits = container.resources.as_ref().and_then(|it| it.limits.as_ref());
    let amounts = limits.map(requests::Amounts::of).unwrap_or_default();
    let others = amounts.iter().filter(|(name, amount)| *amount > 0 && is_extended(name));
    others.map(|(name, amount)| (name.to_owned(), usize::try_from(amount).unwrap_or(usize::MAX))).collect()
}

/// Whether a container asks for any.
pub(crate) fn asks(container: &Container) -> bool {
    let limits = container.resources.iter().flat_map(|it| it.limits.iter().flatten());
    limits.into_iter().any(|(name, _)| is_extended(name))
}

/// Whether a plugin may call its devices so: what Kubernetes itself counts has no domain, or its own.
pub(crate) fn is_extended(name: &str) -> bool {
    let domain = name.split_once('/').map(|(domain, _)| domain).unwrap_or_default();
    let own = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
    !domain.is_empty()
        && !own
        && !name.starts_with("requests.")
        && skiff_api::names::qualified_name(name).is_empty()
}

/// The containers in the order in which they get devices, and whether each leaves them to those after it.
pub(super) fn in_order(pod: &Pod) -> impl Iterator<Item = (&Container, bool)> {
    let spec = pod.spec.as_ref();
    let init = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let mains = spec.into_iter().flat_map(|spec| &spec.containers);
    init.map(|container| (container, !is_sidecar(container))).chain(mains.map(|container| (container, false)))
}

impl Table {
    /// What a plugin says it has now; whether it is the first word of the resource ever.
    pub(super) fn set(&mut self, resource: &str, devices: BTreeMap<String, bool>) -> bool {
        self.devices.insert(resource.to_owned(), devices);
        self.registered.insert(resource.to_owned())
    }

    /// A plugin is gone: nothing of it can be given.
    pub(super) fn lose(&mut self, resource: &str) {
        self.devices
            .entry(resource.to_owned())
            .or_default()
            .values_mut()
            .for_each(|healthy| *healthy = false);
    }

    /// What the node has; resources whose plugin has not come again since the last start are there and none of them.
    pub(super) fn amounts(&self) -> BTreeMap<String, Amount> {
        let none = BTreeMap::new();
        let amount = |resource: &String| {
            let devices = self.devices.get(resource).unwrap_or(&none);
            let healthy = devices.values().filter(|healthy| **healthy).count();
            let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
            (resource.clone(), Amount { all: count(devices.len()), healthy: count(healthy) })
        };
        self.registered.iter().map(amount).collect()
    }

    fn in_use(&self, resource: &str) -> BTreeSet<&String> {
        let given = self.pods.values().flat_map(BTreeMap::values).filter_map(|of| of.get(resource));
        given.flat_map(|given| &given.devices).collect()
    }

    /// What a container has of a resource.
    pub(super) fn given(&self, pod: &str, container: &str) -> Option<&BTreeMap<String, Given>> {
        self.pods.get(pod)?.get(container)
    }

    /// The pods that have something.
    pub(super) fn pods(&self) -> impl Iterator<Item = &String> {
        self.pods.keys()
    }

    /// Whether a plugin ever told of the resource: others' are not ours to give.
    pub(super) fn knows(&self, resource: &str) -> bool {
        self.registered.contains(resource)
    }

    /// What a container may get of a resource; nothing if it has it already.
    ///
    /// # Errors
    /// In upstream's words, if there is not enough.
    pub(super) fn choose(
        &self,
        pod: &str,
        container: &str,
        (resource, needed): (&str, usize),
        left: &BTreeSet<String>,
    ) -> Result<Option<Choice>, String> {
        if let Some(given) = self.given(pod, container).and_then(|of| of.get(resource)) {
            let held = given.devices.len();
            if held == needed {
                return Ok(None);
            }
            return Err(format!(
                "pod {pod:?} container {container:?} changed request for resource {resource:?} from {held} to {needed}"
            ));
        }
        let devices = self.devices.get(resource);
        let Some(devices) = devices else {
            return Err(format!("cannot allocate unregistered device {resource}"));
        };
        let healthy: BTreeSet<&String> =
            devices.iter().filter(|(_, healthy)| **healthy).map(|(id, _)| id).collect();
        if healthy.is_empty() {
            return Err(format!("no healthy devices present; cannot allocate unhealthy devices {resource}"));
        }
        let used = self.in_use(resource);
        let free: BTreeSet<String> = healthy.difference(&used).map(|id| (*id).clone()).collect();
        let left: BTreeSet<String> = left.iter().filter(|id| healthy.contains(id)).cloned().collect();
        let more = needed.saturating_sub(left.len());
        if free.len() < more {
            return Err(format!(
                "requested number of devices unavailable for {resource}. Requested: {more}, Available: {}",
                free.len()
            ));
        }
        Ok(Some(Choice { left, free, needed }))
    }

    pub(super) fn give(&mut self, pod: &str, container: &str, resource: &str, given: Given) {
        let of = self.pods.entry(pod.to_owned()).or_default().entry(container.to_owned()).or_default();
        of.insert(resource.to_owned(), given);
    }

    /// Takes back what a pod has; whether it had anything.
    pub(super) fn release(&mut self, pod: &str) -> bool {
        self.pods.remove(pod).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = "x.test/card";

    fn set(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn table(devices: &[(&str, bool)]) -> Table {
        let mut table = Table::default();
        table.set(CARD, devices.iter().map(|(id, healthy)| ((*id).to_owned(), *healthy)).collect());
        table
    }

    fn give(table: &mut Table, pod: &str, container: &str, ids: &[&str]) {
        table.give(pod, container, CARD, Given { devices: set(ids), ..Given::default() });
    }

    #[test]
    fn nobody_gets_what_another_has_or_what_is_ill() {
        let mut table = table(&[("a", true), ("b", false), ("c", true), ("d", true)]);
        give(&mut table, "p", "c", &["a"]);
        let choice = table.choose("q", "c", (CARD, 2), &set(&[])).unwrap().unwrap();
        assert_eq!(choice.free, set(&["c", "d"]));
        let error = table.choose("q", "c", (CARD, 3), &set(&[])).unwrap_err();
        let expected = "requested number of devices unavailable for x.test/card. Requested: 3, Available: 2";
        assert_eq!(error, expected);
        assert_eq!(table.choose("p", "c", (CARD, 1), &set(&[])), Ok(None));
        assert!(table.choose("p", "c", (CARD, 2), &set(&[])).unwrap_err().contains("from 1 to 2"));
        assert!(table.release("p") && !table.release("p"));
        assert!(table.choose("q", "c", (CARD, 3), &set(&[])).is_ok());
        assert_eq!(table.amounts()[CARD], Amount { all: 4, healthy: 3 });
        table.lose(CARD);
        assert_eq!(table.amounts()[CARD], Amount { all: 4, healthy: 0 });
        assert!(table.choose("q", "c", (CARD, 1), &set(&[])).unwrap_err().starts_with("no healthy devices"));
    }

    #[test]
    fn what_is_left_comes_first_then_what_is_preferred() {
        let choice = Choice { left: set(&["z"]), free: set(&["a", "b", "c"]), needed: 3 };
        assert_eq!(choice.take(&set(&["c", "nobody"])), set(&["z", "c", "a"]));
        let enough = Choice { needed: 1, ..choice };
        assert_eq!(enough.take(&set(&["c"])), set(&["z"]));
    }

    #[test]
    fn what_was_given_is_remembered_and_of_what_there_was_the_names() {
        let mut table = table(&[("a", true)]);
        give(&mut table, "p", "c", &["a"]);
        let read: Table = serde_json::from_str(&serde_json::to_string(&table).unwrap()).unwrap();
        assert_eq!(read.given("p", "c"), table.given("p", "c"));
        assert!(read.knows(CARD) && !read.knows("x.test/other"));
        assert_eq!(read.amounts()[CARD], Amount::default());
        let error = read.choose("q", "c", (CARD, 1), &set(&[])).unwrap_err();
        assert_eq!(error, "cannot allocate unregistered device x.test/card");
    }

    #[test]
    fn only_resources_with_a_domain_of_their_own_are_a_plugins() {
        let container: Container = serde_saphyr::from_str(
            "{name: c, resources: {limits: {cpu: 1, hugepages-2Mi: 2Mi, x.test/card: 2, x.test/none: 0, a.kubernetes.io/b: 1}}}",
        )
        .unwrap();
        assert_eq!(asked(&container), [(CARD.to_owned(), 2)]);
        assert!(!is_extended("requests.x.test/card") && !is_extended("card") && !is_extended("x.test/a b"));
    }
}
