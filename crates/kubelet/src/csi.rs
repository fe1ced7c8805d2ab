//! Drivers of volumes that others bring (Container Storage Interface): which there are, and what their volumes need done.
//!
//! A driver makes itself known as plugins do ([`crate::plugins`]); the node tells the API which it has
//! ([`mod@announce`]); volumes of pods ask them (`volume/csi.rs`). What was given to a pod is written beside it first
//! ([`record`]), so that it is taken back after any restart. Follows upstream's `pkg/volume/csi`.

mod announce;
mod client;
pub(crate) mod paths;
pub mod proto;
pub(crate) mod record;
mod registry;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use skiff_api::quantity::Quantity;
use tokio::sync::{OwnedMutexGuard, watch};

pub(crate) use announce::run as announce;
pub(crate) use client::Plugin;
pub(crate) use paths::Paths;
use proto::{
    EXPAND_VOLUME, GET_VOLUME_STATS, NodeInfo, SINGLE_NODE_MULTI_WRITER, STAGE_UNSTAGE_VOLUME,
    VOLUME_CONDITION, VOLUME_MOUNT_GROUP,
};

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

    /// Whether it is told of volumes that have grown.
    pub(crate) fn expands(&self) -> bool {
        self.capabilities.contains(&EXPAND_VOLUME)
    }

    /// Whether it tells how much of a volume is used.
    pub(crate) fn counts_usage(&self) -> bool {
        self.capabilities.contains(&GET_VOLUME_STATS)
    }

    /// Whether it tells how volumes are.
    pub(crate) fn knows_condition(&self) -> bool {
        self.capabilities.contains(&VOLUME_CONDITION)
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
    /// How large each volume here is known to be.
    sizes: Mutex<HashMap<String, Quantity>>,
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
            sizes: Mutex::default(),
            in_use: watch::Sender::new(record::attachable(data_dir)),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Driver>> {
        self.inner.known.borrow().get(name).cloned()
    }

    /// Waits until a driver is there: after a restart of the kubelet it has yet to be heard.
    pub(crate) async fn registered(&self, name: &str) {
        let mut known = self.known();
        if known.wait_for(|known| known.contains_key(name)).await.is_err() {
            std::future::pending::<()>().await;
        }
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

    /// Where a pod's volume is on the node.
    pub(crate) fn paths(&self, uid: &str, name: &str, of: (&str, &str), block: bool) -> Paths {
        Paths::new(&self.inner.data_dir, uid, name, of, block)
    }

    /// Whether a pod on this node has the volume, besides the one with this folder. Waits for the disk.
    pub(crate) fn is_published(&self, driver: &str, handle: &str, besides: &Path) -> bool {
        let all = record::all(&self.inner.data_dir);
        let same = |record: &record::Record| record.driver == driver && record.handle == handle;
        all.iter().any(|held| held.folder != besides && same(&held.record))
    }

    /// How large the volume is on this node: as its claim says, until the driver was told otherwise here.
    pub(crate) fn size(&self, volume: &str, claimed: Quantity) -> Quantity {
        let mut sizes = self.inner.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        *sizes.entry(volume.to_owned()).or_insert(claimed)
    }

    /// The driver has made the volume so large on this node.
    pub(crate) fn grown(&self, volume: &str, size: Quantity) {
        let mut sizes = self.inner.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.insert(volume.to_owned(), size);
    }

    /// The volume is no longer on this node.
    pub(crate) fn left(&self, volume: &str) {
        self.inner.sizes.lock().unwrap_or_else(PoisonError::into_inner).remove(volume);
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
