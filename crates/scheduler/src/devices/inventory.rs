//! What drivers publish: slices of pools, and which pools a node reaches.
//!
//! A pool is what its newest generation says, complete once all slices of it are there. Pools whose devices belong to one
//! node are found by that node's name, so that a node's search does not look at the devices of others.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::resource::v1::{ResourceSlice, ResourceSliceSpec};
use skiff_api::quantity::Quantity;

use super::device::{Device, Reach};
use crate::snapshot::Node;

/// Amounts of counters by the names of set and counter.
pub(crate) type Counters = BTreeMap<(String, String), Quantity>;

/// All slices.
#[derive(Default)]
pub(crate) struct Inventory {
    pools: BTreeMap<Arc<str>, Pool>,
    /// The pool that a slice belongs to.
    slices: HashMap<Arc<str>, Arc<str>>,
    /// Pools with devices of a node.
    local: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Pools with devices that more than one node may reach.
    wide: BTreeSet<Arc<str>>,
}

/// A driver's pool.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// `driver/name`.
    pub(crate) id: Arc<str>,
    slices: BTreeMap<Arc<str>, Slice>,
    /// Whether all slices of the newest generation are there.
    pub(crate) complete: bool,
    /// Whether no two devices have the same name.
    pub(crate) valid: bool,
    /// Those of the newest generation.
    pub(crate) devices: Vec<Arc<Device>>,
    /// What its devices may consume together.
    pub(crate) counters: Counters,
}

#[derive(Debug)]
struct Slice {
    generation: i64,
    /// How many slices the pool has.
    of: i64,
    devices: Vec<Arc<Device>>,
    counters: Counters,
}

/// A pool, and those of its devices that a node reaches.
#[derive(Debug)]
pub(crate) struct Reachable<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) devices: Vec<&'a Arc<Device>>,
}

impl Inventory {
    /// Takes in a slice as it now is.
    pub(crate) fn put(&mut self, slice: &ResourceSlice) {
        let name: Arc<str> = slice.metadata.name.as_deref().unwrap_or_default().into();
        let spec = &slice.spec;
        let id: Arc<str> = format!("{}/{}", spec.driver, spec.pool.name).into();
        if self.slices.get(&name).is_some_and(|held| *held != id) {
            self.remove(&name);
        }
        self.slices.insert(Arc::clone(&name), Arc::clone(&id));
        self.change(&id, |pool| drop(pool.slices.insert(name, Slice::of(spec))));
    }

    /// Forgets a slice.
    pub(crate) fn remove(&mut self, name: &str) {
        if let Some(id) = self.slices.remove(name) {
            self.change(&id, |pool| drop(pool.slices.remove(name)));
        }
    }

    fn change(&mut self, id: &Arc<str>, change: impl FnOnce(&mut Pool)) {
        let mut pool = self.pools.remove(id).unwrap_or_default();
        self.unlist(&pool);
        pool.id = Arc::clone(id);
        change(&mut pool);
        if pool.slices.is_empty() {
            return;
        }
        pool.settle();
        for device in &pool.devices {
            let pools = match &device.reach {
                Reach::Node(node) => self.local.entry(Arc::clone(node)).or_default(),
                Reach::All | Reach::Selected(_) => &mut self.wide,
                Reach::Unknown => continue,
            };
            pools.insert(Arc::clone(id));
        }
        self.pools.insert(Arc::clone(id), pool);
    }

    fn unlist(&mut self, pool: &Pool) {
        self.wide.remove(&pool.id);
        for device in &pool.devices {
            let Reach::Node(node) = &device.reach else { continue };
            if let Some(pools) = self.local.get_mut(node) {
                pools.remove(&pool.id);
                if pools.is_empty() {
                    self.local.remove(node);
                }
            }
        }
    }

    /// The pools that a node reaches, in a steady order.
    pub(crate) fn reachable(&self, node: &Node) -> Vec<Reachable<'_>> {
        let none = BTreeSet::new();
        let local = self.local.get(&node.name).unwrap_or(&none);
        let pools = local.union(&self.wide).filter_map(|id| self.pools.get(id));
        let reached = pools.map(|pool| {
            let devices = pool.devices.iter().filter(|device| device.reach.covers(node));
            Reachable { pool, devices: devices.collect() }
        });
        reached.filter(|reachable| !reachable.devices.is_empty()).collect()
    }
}

impl Slice {
    fn of(spec: &ResourceSliceSpec) -> Self {
        let (driver, pool) = (spec.driver.as_str().into(), spec.pool.name.as_str().into());
        let own = Reach::of(spec.node_name.as_ref(), spec.all_nodes, spec.node_selector.as_ref());
        let each = spec.per_device_node_selection == Some(true);
        let devices = spec.devices.iter().flatten().map(|device| {
            let reach = if each {
                Reach::of(device.node_name.as_ref(), device.all_nodes, device.node_selector.as_ref())
            } else {
                own.clone()
            };
            Arc::new(Device::new(&driver, &pool, reach, device.clone()))
        });
        let counters = spec.shared_counters.iter().flatten().flat_map(|set| {
            let amount = |text| Quantity::try_from(text).unwrap_or_default();
            set.counters
                .iter()
                .map(move |(name, counter)| ((set.name.clone(), name.clone()), amount(&counter.value)))
        });
        Self {
            generation: spec.pool.generation,
            of: spec.pool.resource_slice_count,
            devices: devices.collect(),
            counters: counters.collect(),
        }
    }
}

impl Pool {
    /// Finds out anew what its newest generation says.
    fn settle(&mut self) {
        let newest = self.slices.values().map(|slice| slice.generation).max().unwrap_or_default();
        let current: Vec<&Slice> = self.slices.values().filter(|slice| slice.generation == newest).collect();
        let there = i64::try_from(current.len()).unwrap_or(i64::MAX);
        self.complete = current.iter().all(|slice| slice.of == there);
        self.devices = current.iter().flat_map(|slice| slice.devices.iter().cloned()).collect();
        self.counters = current.iter().flat_map(|slice| slice.counters.clone()).collect();
        let mut names = HashSet::new();
        self.valid = self.devices.iter().all(|device| names.insert(&device.id));
    }
}
