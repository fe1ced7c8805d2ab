//! What every worker of a node shares.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use skiff_base::clock::Clock;

use crate::cgroup::Cgroups;
use crate::cluster::Cluster;
use crate::device_plugins::DevicePlugins;
use crate::dra::Devices;
use crate::handle::Handle;
use crate::image::Images;
use crate::node::shares::Shares;
use crate::pod::config::Places;
use crate::pod::hosts::ClusterDns;
use crate::pod::security::Filters;
use crate::probe::Prober;
use crate::record::Record;
use crate::runtime::{Dns, Runtime};
use crate::volume::Volumes;

/// Facts about the node that pods are made with.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) runtime_name: String,
    /// In bytes.
    pub(crate) memory: u64,
    /// In thousandths.
    pub(crate) cpu_milli: i64,
    pub(crate) cluster_dns: ClusterDns,
    /// The machine's own way to resolve names.
    pub(crate) dns: Dns,
    pub(crate) filters: Filters,
    /// Whether the runtime knows what stands behind the names of devices.
    pub(crate) cdi: bool,
    /// Marks what this kubelet made in a runtime that it may share with others.
    pub(crate) owner: String,
}

/// Which pod a container or sandbox belongs to. Written before anything can happen to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Routes(Arc<Mutex<HashMap<String, String>>>);

impl Routes {
    pub(crate) fn add(&self, id: &str, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), uid.to_owned());
    }

    pub(crate) fn find(&self, id: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(crate) fn remove_pod(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, owner| owner != uid);
    }

    pub(crate) fn remove(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// What every worker of a node shares; cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) record: Arc<dyn Record>,
    pub(crate) images: Images,
    pub(crate) volumes: Volumes,
    pub(crate) devices: Devices,
    pub(crate) device_plugins: DevicePlugins,
    pub(crate) prober: Prober,
    pub(crate) cgroups: Cgroups,
    pub(crate) places: Places,
    pub(crate) routes: Routes,
    pub(crate) handle: Handle,
    pub(crate) clock: Clock,
    pub(crate) shares: Arc<Shares>,
    pub(crate) node: Arc<Node>,
}
