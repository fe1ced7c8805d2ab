//! How much of a volume is used: as its driver tells, or as its file system does.

use std::path::Path;
use std::sync::Arc;

use super::blocking;
use super::csi::Driven;

/// How much of a volume is used. What is not known is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Available, capacity, used.
    pub(crate) bytes: Option<[u64; 3]>,
    /// Free, all, used.
    pub(crate) inodes: Option<[u64; 3]>,
    /// Whether something is wrong with it, where that is known.
    pub(crate) abnormal: Option<bool>,
}

/// Who tells how much of a volume is used.
#[derive(Clone)]
pub(super) enum Teller {
    /// Nobody, or nobody who would surely answer: the server of a folder elsewhere may be away.
    Nobody,
    /// The file system that it is.
    Disk,
    /// The driver that brought it.
    Driver(Arc<Driven>),
}

impl Teller {
    /// The driver's part in the volume, if one brought it.
    pub(super) fn driven(&self) -> Option<&Arc<Driven>> {
        match self {
            Self::Driver(driven) => Some(driven),
            Self::Nobody | Self::Disk => None,
        }
    }

    /// Asks about the volume at this path.
    pub(super) async fn usage(&self, path: &Path) -> Option<Usage> {
        match self {
            Self::Nobody => None,
            Self::Disk => {
                let path = path.to_owned();
                blocking(move || of_disk(&path)).await.ok()
            }
            Self::Driver(driven) => driven.usage().await,
        }
    }
}

/// The file system that holds a path.
fn of_disk(path: &Path) -> std::io::Result<Usage> {
    let disk = rustix::fs::statvfs(path)?;
    let [available, capacity, free] =
        [disk.f_bavail, disk.f_blocks, disk.f_bfree].map(|it| it * disk.f_frsize);
    Ok(Usage {
        bytes: Some([available, capacity, capacity.saturating_sub(free)]),
        inodes: Some([disk.f_ffree, disk.f_files, disk.f_files.saturating_sub(disk.f_ffree)]),
        abnormal: None,
    })
}
