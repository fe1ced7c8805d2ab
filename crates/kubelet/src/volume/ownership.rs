//! fsGroup: gives a volume to the pod's group, walking open folders and following no links.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fchown, openat, statat,
};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What the group has of a folder that was given to it.
const SETTLED: u32 = 0o2770;

/// The group a pod wants its volumes to belong to.
pub(super) fn group(pod: &Pod) -> Option<u32> {
    let group = pod.spec.as_ref()?.security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

/// Whether a volume need not be walked through: the pod trusts its root to tell (`fsGroupChangePolicy`), and the root is the group's.
pub(super) fn is_settled(path: &Path, pod: &Pod, group: u32) -> io::Result<bool> {
    let security = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let policy = security.and_then(|security| security.fs_group_change_policy.as_deref());
    if policy != Some("OnRootMismatch") {
        return Ok(false);
    }
    let root = std::fs::metadata(path)?;
    Ok(root.gid() == group && root.mode() & SETTLED == SETTLED)
}

/// Gives a folder and all in it to `group`; files become readable for it, and writable unless `read_only`.
pub(super) fn give(folder: &Path, group: u32, read_only: bool) -> io::Result<()> {
    give_open(openat(CWD, folder, FOLDER, Mode::empty())?, group, read_only)
}

/// As [`give`], for a path that the cluster's administrator wrote: it may be a link, and what it leads to is meant.
pub(super) fn give_behind(path: &Path, group: u32) -> io::Result<()> {
    let flags = FOLDER.difference(OFlags::NOFOLLOW);
    give_open(openat(CWD, path, flags, Mode::empty())?, group, false)
}

/// As [`give`], for an open folder.
pub(super) fn give_open(folder: OwnedFd, group: u32, read_only: bool) -> io::Result<()> {
    let gid = Gid::from_raw(group);
    let bits = if read_only { 0o440 } else { 0o660 };
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let outcome = match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(meta) => match FileType::from_raw_mode(meta.st_mode) {
                FileType::Directory => match openat(&folder, name, FOLDER, Mode::empty()) {
                    Ok(below) => give_open(below, group, read_only),
                    Err(error) => Err(error.into()),
                },
                FileType::RegularFile => file(folder.as_fd(), name, gid, bits),
                // A link, a pipe, a device: its group, but nothing of what it may lead to.
                _ => chownat(&folder, name, None::<Uid>, Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(Into::into),
            },
            Err(error) => Err(error.into()),
        };
        match outcome {
            // A program in the volume may remove what we have just listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    let mode = rustix::fs::fstat(&folder)?.st_mode;
    fchown(&folder, None::<Uid>, Some(gid))?;
    // Folders hand the group on to what is made in them. After the chown, which clears such bits.
    Ok(fchmod(&folder, Mode::from_raw_mode(mode & 0o7777 | bits | 0o2110))?)
}

fn file(folder: std::os::fd::BorrowedFd<'_>, name: &std::ffi::CStr, gid: Gid, bits: u32) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(folder, name, flags, Mode::empty()) {
        Ok(file) => file,
        // Became a link meanwhile.
        Err(Errno::LOOP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mode = rustix::fs::fstat(&file)?.st_mode;
    fchown(&file, None::<Uid>, Some(gid))?;
    Ok(fchmod(&file, Mode::from_raw_mode(mode & 0o7777 | bits))?)
}
