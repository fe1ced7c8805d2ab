//! Removes what a pod leaves behind without ever leaving its folder: mounts first, then files, by open folders.
//!
//! A container may have put links and mounts anywhere in its volumes. Links are unlinked and never followed; a folder on
//! another device is a mount that could not be undone, and stops the removal rather than being emptied.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Unmounts and removes the volumes of the pod whose folder this is.
pub(super) fn pod(dir: &Path) -> io::Result<()> {
    let pod = match openat(CWD, dir, FOLDER, Mode::empty()) {
        Ok(pod) => pod,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // Binds of parts of volumes before the volumes themselves.
    for name in ["volume-subpaths", "volumes", "volumeDevices"] {
        unmount_below(&dir.join(name))?;
        entry(&pod, name)?;
    }
    Ok(())
}

/// Unmounts everything at or below a folder, the innermost first.
pub(super) fn unmount_below(dir: &Path) -> io::Result<()> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let mut points: Vec<PathBuf> = mount_points(&table).filter(|point| point.starts_with(dir)).collect();
    // Mounts are listed in the order in which they were made, so later ones may lie on earlier ones.
    points.reverse();
    for point in points {
        match unmount(&point, UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            // Something still uses it; detached, it goes when that ends.
            Err(Errno::BUSY) => unmount(&point, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether something is mounted at a path.
pub(super) fn is_mounted(path: &Path) -> io::Result<bool> {
    let Ok(path) = path.canonicalize() else { return Ok(false) };
    is_mount_point(&path)
}

/// The same for a path without links, which is not touched.
pub(super) fn is_mount_point(path: &Path) -> io::Result<bool> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    Ok(mount_points(&table).any(|point| point == path))
}

/// The mount points of a mountinfo table.
pub(super) fn mount_points(table: &[u8]) -> impl Iterator<Item = PathBuf> + '_ {
    table.split(|byte| *byte == b'\n').filter_map(|line| {
        let point = line.split(|byte| *byte == b' ').nth(4)?;
        Some(PathBuf::from(OsString::from_vec(unescape(point))))
    })
}

/// Space, tab, newline and backslash stand as octal numbers in mountinfo.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let number = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match number {
            Some(byte) => {
                plain.push(byte);
                rest = &tail[3..];
            }
            None => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

/// Removes an entry of an open folder and all below it; one that is not there is as well.
pub(super) fn entry(folder: &OwnedFd, name: &str) -> io::Result<()> {
    let device = fstat(folder)?.st_dev;
    remove(folder, std::ffi::OsStr::from_bytes(name.as_bytes()), device)
}

fn remove(folder: impl AsFd, name: &std::ffi::OsStr, device: u64) -> io::Result<()> {
    let meta = match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(meta) => meta,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if FileType::from_raw_mode(meta.st_mode) != FileType::Directory {
        return gone(unlinkat(&folder, name, AtFlags::empty()));
    }
    let below = match openat(&folder, name, FOLDER, Mode::empty()) {
        Ok(below) => below,
        // Replaced by something else since we looked.
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::LOOP | Errno::NOTDIR) => return gone(unlinkat(&folder, name, AtFlags::empty())),
        Err(error) => return Err(error.into()),
    };
    if fstat(&below)?.st_dev != device {
        return Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!("{} is still mounted", name.display()),
        ));
    }
    for entry in Dir::read_from(&below)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            remove(&below, std::ffi::OsStr::from_bytes(entry.file_name().to_bytes()), device)?;
        }
    }
    gone(unlinkat(&folder, name, AtFlags::REMOVEDIR))
}

fn gone(outcome: rustix::io::Result<()>) -> io::Result<()> {
    match outcome {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
