//! What must be so before a pod can be bound to its node: promised when the node is chosen, carried out before the binding,
//! taken back if it comes to nothing (upstream's reserve, pre-bind and unreserve).

use crate::snapshot::Snapshot;
use crate::{devices, storage};

/// What a pod needs, each part by the plugin that looks after it.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    pub(crate) volumes: Option<storage::Needs>,
    pub(crate) devices: Option<devices::Needs>,
}

impl Needs {
    pub(crate) fn is_empty(&self) -> bool {
        self.volumes.is_none() && self.devices.is_none()
    }

    /// What both need.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { volumes: self.volumes.or(other.volumes), devices: self.devices.or(other.devices) }
    }

    /// Nobody else gets what this pod needs.
    pub(crate) fn promise(&self, cluster: &mut Snapshot) {
        if let Some(volumes) = &self.volumes {
            cluster.storage.promise(volumes);
        }
        for (claim, allocation) in self.devices.iter().flat_map(devices::Needs::decided) {
            let revision = devices::revision(claim);
            cluster.devices.usage.promise(devices::uid(claim), revision, allocation);
        }
    }

    /// Takes promises back that were not carried out.
    pub(crate) fn release(&self, cluster: &mut Snapshot) {
        if let Some(volumes) = &self.volumes {
            cluster.storage.release(volumes);
        }
        for (claim, _) in self.devices.iter().flat_map(devices::Needs::decided) {
            cluster.devices.usage.release(devices::uid(claim));
        }
    }
}

impl From<storage::Needs> for Needs {
    fn from(volumes: storage::Needs) -> Self {
        Self { volumes: Some(volumes), devices: None }
    }
}

impl From<devices::Needs> for Needs {
    fn from(devices: devices::Needs) -> Self {
        Self { volumes: None, devices: Some(devices) }
    }
}
