//! What every kind of volume answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};

use super::payload::Payload;
use super::usage::Teller;
use super::{Inner, KINDS, Problem};

/// One kind of volume.
pub(super) trait Kind: Sync {
    /// The plugin's name, which is also the folder's.
    fn plugin(&self) -> &'static str;
    /// Whether a volume is of this kind.
    fn has(&self, volume: &Volume) -> bool;
    /// What the volume is; makes it, unless it is made of files.
    fn place<'a>(&'a self, job: &'a Job<'a>) -> BoxFuture<'a, Result<Place, Problem>>;
    /// Whether the volume is files on the node's disk that go with the pod.
    fn is_local(&self, _volume: &Volume) -> bool {
        false
    }
    /// Whether it can change while the pod runs.
    fn is_live(&self) -> bool {
        false
    }
}

/// One volume to be made.
pub(super) struct Job<'a> {
    pub(super) pod: &'a Arc<Pod>,
    pub(super) volume: &'a Volume,
    /// Its folder; made by the kind if it needs it.
    pub(super) dir: &'a Path,
    pub(super) inner: &'a Inner,
}

impl Job<'_> {
    pub(super) fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or("default")
    }
}

/// What a volume turned out to be.
pub(super) enum Place {
    /// A path of the machine, not ours.
    Host(PathBuf),
    /// A persistent volume: a path of the machine that outlives the pod.
    Kept {
        path: PathBuf,
        read_only: bool,
        /// The pod's group is to have it.
        own_group: bool,
        device: bool,
        teller: Teller,
    },
    /// Its folder, now there.
    Folder,
    /// Files that we write.
    Files(Payload),
}

/// When something in a payload must be made anew.
pub(super) type RefreshAt = Option<Timestamp>;

/// The kind of a volume.
pub(super) fn of(volume: &Volume) -> Option<&'static dyn Kind> {
    KINDS.iter().copied().find(|kind| kind.has(volume))
}
