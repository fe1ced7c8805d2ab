//! Binds an open file or folder to a path of ours.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount_bind, unmount};

/// Shows what `open` refers to at `target`, instead of what was bound there before.
pub(super) fn at(open: &OwnedFd, target: &Path) -> io::Result<()> {
    // A container of the same name ran before: its own mount stays with it, ours is renewed.
    loop {
        match unmount(target, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH) {
            Ok(()) => {}
            // Not mounted, or not there.
            Err(Errno::INVAL | Errno::NOENT) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let is_folder = FileType::from_raw_mode(fstat(open)?.st_mode) == FileType::Directory;
    match fs::symlink_metadata(target) {
        Ok(meta) if meta.is_dir() && !is_folder => fs::remove_dir(target)?,
        Ok(meta) if !meta.is_dir() && is_folder => fs::remove_file(target)?,
        _ => {}
    }
    if is_folder {
        fs::create_dir_all(target)?;
    } else {
        if let Some(above) = target.parent() {
            fs::create_dir_all(above)?;
        }
        fs::OpenOptions::new().write(true).create(true).truncate(false).open(target)?;
    }
    Ok(mount_bind(format!("/proc/self/fd/{}", open.as_raw_fd()), target)?)
}
