//! Drivers of volumes that others bring (Container Storage Interface): which there are, and what their volumes need done.
//!
//! A driver makes itself known as plugins do ([`crate::plugins`]); the node tells the API which it has
//! ([`mod@announce`]); volumes of pods ask them (`volume/csi.rs`). What was given to a pod is written beside it first
//! ([`record`]), so that it is taken back after any restart. Follows upstream's `pkg/volume/csi`.

mod announce;
mod client;
pub mod proto;
pub(crate) mod record;
mod registry;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio::sync::{OwnedMutexGuard, watch};

pub(crate) use announce::run as announce;
pub(crate) use client::Plugin;
use proto::{NodeInfo, SINGLE_NODE_MULTI_WRITER, STAGE_UNSTAGE_VOLUME, VOLUME_MOUNT_GROUP};

/// A driver that registered.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) name: String,
    pub(crate) plugin: Plugin,
    pub(crate) node: NodeInfo,
    capabilities: Vec<i32>,
}

impl Driver {
    /// Whether volumes are brought to the node once before they are brought to pods.
    pub(crate) fn stages(&self) -> bool {
        self.capabilities.contains(&STAGE_UNSTAGE_VOLUME)
    }

    /// Whether it gives volumes to a group itself.
    pub(crate) fn takes_group(&self) -> bool {
        self.capabilities.contains(&VOLUME_MOUNT_GROUP)
    }

    /// Whether it tells apart one and several writers on a node.
    pub(crate) fn counts_writers(&self) -> bool {
        self.capabilities.contains(&SINGLE_NODE_MULTI_WRITER)
    }
}

type Known = BTreeMap<String, Arc<Driver>>;

/// The drivers of a node; clones are the same.
#[derive(Clone)]
pub struct Drivers {
    inner: Arc<Inner>,
}

struct Inner {
    data_dir: PathBuf,
    known: watch::Sender<Known>,
    /// One at a time does something to a volume.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// The volumes that are, or may be, on this node.
    in_use: watch::Sender<Vec<String>>,
}

impl Drivers {
    /// Knows none yet. The kubelet's files are in `data_dir`.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        let inner = Inner {
            data_dir: data_dir.to_owned(),
            known: watch::Sender::default(),
            turns: Mutex::default(),
            in_use: watch::Sender::new(record::attachable(data_dir)),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Driver>> {
        self.inner.known.borrow().get(name).cloned()
    }

    pub(crate) fn known(&self) -> watch::Receiver<Known> {
        self.inner.known.subscribe()
    }

    /// The volumes that the node says are in use, as they change.
    #[must_use]
    pub fn in_use(&self) -> watch::Receiver<Vec<String>> {
        self.inner.in_use.subscribe()
    }

    /// Looks again which volumes are in use. Waits for the disk.
    pub(crate) fn count(&self) {
        let now = record::attachable(&self.inner.data_dir);
        self.inner.in_use.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
    }

    fn add(&self, driver: Driver) {
        let driver = Arc::new(driver);
        self.inner.known.send_modify(|known| {
            known.insert(driver.name.clone(), driver);
        });
    }

    fn remove(&self, name: &str) {
        self.inner.known.send_modify(|known| {
            known.remove(name);
        });
    }

    /// Waits until nobody else does anything to the volume.
    pub(crate) async fn turn(&self, volume: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.inner.turns.lock().unwrap_or_else(PoisonError::into_inner);
            // What only the table holds nobody waits for.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(volume.to_owned()).or_default())
        };
        turn.lock_owned().await
    }

    /// Where a volume is on the node before it is in pods.
    pub(crate) fn staging(&self, driver: &str, handle: &str) -> PathBuf {
        let digest = hex(&Sha256::digest(handle));
        self.inner.data_dir.join("plugins/kubernetes.io/csi").join(driver).join(digest).join("globalmount")
    }

    /// Whether a pod on this node has the volume, besides the one with this folder. Waits for the disk.
    pub(crate) fn is_published(&self, driver: &str, handle: &str, besides: &Path) -> bool {
        let all = record::all(&self.inner.data_dir);
        all.iter().any(|(folder, one)| folder != besides && one.driver == driver && one.handle == handle)
    }
}

/// As kubelet and attacher call a volume.
pub(crate) fn unique(driver: &str, handle: &str) -> String {
    format!("kubernetes.io/csi/{driver}^{handle}")
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
