//! What a pod uses of its node, as far as evictions ask; plain data.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::signal::Signal;

/// A part of a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) bytes: u64,
    pub(crate) inodes: u64,
}

impl AddAssign for Space {
    fn add_assign(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.inodes = self.inodes.saturating_add(other.inodes);
    }
}

impl std::iter::Sum for Space {
    fn sum<I: Iterator<Item = Self>>(spaces: I) -> Self {
        spaces.fold(Self::default(), |mut sum, space| {
            sum += space;
            sum
        })
    }
}

/// What a container uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ContainerUse {
    /// Memory that cannot be given back at once.
    pub(crate) memory: u64,
    /// What it wrote over its image.
    pub(crate) root: Space,
    pub(crate) logs: Space,
}

/// What a pod uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PodUse {
    pub(crate) containers: BTreeMap<String, ContainerUse>,
    /// Volumes on the node's disk that go with the pod.
    pub(crate) volumes: BTreeMap<String, Space>,
    pub(crate) processes: u64,
}

impl PodUse {
    pub(crate) fn memory(&self) -> u64 {
        self.containers.values().map(|one| one.memory).sum()
    }

    pub(crate) fn root(&self) -> Space {
        self.containers.values().map(|one| one.root).sum()
    }

    /// Logs and volumes, which lie with the kubelet's files.
    pub(crate) fn beside_root(&self) -> Space {
        self.containers.values().map(|one| one.logs).chain(self.volumes.values().copied()).sum()
    }

    /// All of the disk.
    pub(crate) fn storage(&self) -> Space {
        [self.root(), self.beside_root()].into_iter().sum()
    }

    /// What it has of the disk that a signal is about. `apart`: images and what is written over them have one of their own.
    pub(crate) fn on(&self, signal: Signal, apart: bool) -> Space {
        match signal {
            Signal::ImageFsAvailable | Signal::ImageFsInodesFree if apart => self.root(),
            _ if apart => self.beside_root(),
            _ => self.storage(),
        }
    }
}
