//! subPath: a part of a volume, found by the kernel beneath the volume's root and pinned by a bind mount.
//!
//! A path given to the runtime would be resolved again later, when a container may have replaced a folder by a link; so the part is
//! opened here with `RESOLVE_BENEATH` and the open file itself is bound to a place of ours, which the runtime gets.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2};
use rustix::io::Errno;

use super::bind;

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// Why a sub-path cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum SubPathError {
    #[error("subPath {0:?} must not be an absolute path")]
    Absolute(String),
    #[error("subPath {0:?} must not contain '..'")]
    Backwards(String),
    #[error("subPath {path:?} is not within its volume: {source}")]
    Open { path: String, source: io::Error },
    #[error("cannot bind subPath {path:?}: {source}")]
    Bind { path: String, source: io::Error },
}

/// Shows `path` of the volume at `root` at `target`.
pub(super) fn show(root: &Path, path: &str, target: &Path) -> Result<(), SubPathError> {
    if path.starts_with('/') {
        return Err(SubPathError::Absolute(path.to_owned()));
    }
    if Path::new(path).components().any(|part| part == Component::ParentDir) {
        return Err(SubPathError::Backwards(path.to_owned()));
    }
    let opened = open(root, path).map_err(|source| SubPathError::Open { path: path.to_owned(), source })?;
    bind::at(&opened, target).map_err(|source| SubPathError::Bind { path: path.to_owned(), source })
}

/// Opens a part of a volume; folders that are missing are made.
fn open(root: &Path, path: &str) -> io::Result<OwnedFd> {
    let place = OFlags::PATH | OFlags::CLOEXEC;
    // The volume's own path is ours (or the administrator's, for hostPath) and may contain links.
    let root = openat(CWD, root, place, Mode::empty())?;
    let mut missing = match openat2(&root, path, place, Mode::empty(), BENEATH) {
        Ok(found) => return Ok(found),
        Err(Errno::NOENT) => Path::new(path).components(),
        Err(error) => return Err(error.into()),
    };
    let mode = Mode::from_raw_mode(fstat(&root)?.st_mode & 0o7777);
    let mut folder = openat2(&root, ".", place | OFlags::DIRECTORY, Mode::empty(), BENEATH)?;
    let mut walked = std::path::PathBuf::new();
    for part in missing.by_ref() {
        let Component::Normal(name) = part else { continue };
        walked.push(name);
        // Resolved from the root each time, so that links inside the volume work and none leads out.
        folder = match openat2(&root, &walked, place | OFlags::DIRECTORY, Mode::empty(), BENEATH) {
            Ok(next) => next,
            Err(Errno::NOENT) => {
                match mkdirat(&folder, name, mode) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                let next = openat2(&root, &walked, place | OFlags::DIRECTORY, Mode::empty(), BENEATH)?;
                // The umask takes bits away that the volume's root has.
                let reopened =
                    openat(&next, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
                rustix::fs::fchmod(&reopened, mode)?;
                next
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(folder)
}
