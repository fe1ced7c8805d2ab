//! Writes a volume's files so that a reader sees all of the old ones or all of the new ones.
//!
//! The layout is upstream's, since programs watch for it: files live in a folder named by time, `..data` is a link to it, and each
//! visible name is a link through `..data`. Replacing `..data` by a rename is the one moment of change. All steps are
//! relative to open folders and follow no links, so nothing planted in the volume can lead a write elsewhere.

use std::collections::BTreeSet;
use std::fs::File as OsFile;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Uid, chownat, fchmod, mkdirat, openat, readlinkat, renameat, statat,
    symlinkat, unlinkat,
};
use rustix::io::Errno;
use skiff_base::Clock;

use super::ownership;
use super::payload::{File, Payload};
use super::remove;

const DATA: &str = "..data";
const NEXT: &str = "..data_tmp";

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Brings the files under `target` up to date. Writes nothing if they already are.
pub(super) fn write(target: &Path, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    std::fs::create_dir_all(target)?;
    let root = openat(CWD, target, FOLDER, Mode::empty())?;
    // Others in the pod must be able to enter, whatever the umask says.
    fchmod(&root, Mode::from_raw_mode(0o755))?;
    let old = match readlinkat(&root, DATA, Vec::new()) {
        Ok(name) => name.into_string().ok().filter(|name| name.starts_with("..") && !name.contains('/')),
        Err(Errno::NOENT) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(old) = &old
        && is_current(&root, old, payload)?
    {
        return link_names(&root, payload);
    }
    let new = fresh_folder(&root)?;
    let outcome = fill(&root, &new, payload, group).and_then(|()| {
        match unlinkat(&root, NEXT, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        symlinkat(&new, &root, NEXT)?;
        Ok(renameat(&root, NEXT, &root, DATA)?)
    });
    if let Err(error) = outcome {
        // What was begun is of no use; the first error is the one to tell.
        let _still_there = remove::entry(&root, &new);
        return Err(error);
    }
    link_names(&root, payload)?;
    drop_stale_names(&root, payload)?;
    match old {
        Some(old) => remove::entry(&root, &old),
        None => Ok(()),
    }
}

/// A new folder named by the time, in upstream's form.
fn fresh_folder(root: &OwnedFd) -> io::Result<String> {
    let stamp = Clock::system().now().strftime("%Y_%m_%d_%H_%M_%S").to_string();
    loop {
        let name = format!("..{stamp}.{:010}", rand::random::<u32>());
        match mkdirat(root, &name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                let folder = openat(root, &name, FOLDER, Mode::empty())?;
                fchmod(&folder, Mode::from_raw_mode(0o755))?;
                return Ok(name);
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn fill(root: &OwnedFd, new: &str, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    let folder = openat(root, new, FOLDER, Mode::empty())?;
    for (path, file) in &payload.files {
        let mut parts: Vec<&str> = path.split('/').collect();
        let name = parts.pop().unwrap_or_default();
        let mut place = folder.try_clone()?;
        for part in parts {
            match mkdirat(&place, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            let below = openat(&place, part, FOLDER, Mode::empty())?;
            fchmod(&below, Mode::from_raw_mode(0o755))?;
            place = below;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut written = OsFile::from(openat(&place, name, flags, Mode::from_raw_mode(0o600))?);
        written.write_all(&file.data)?;
        fchmod(&written, Mode::from_raw_mode(file.mode))?;
        if let Some(owner) = file.owner {
            chownat(&place, name, Some(Uid::from_raw(owner)), None::<Gid>, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    match group {
        Some(group) => ownership::give_open(folder, group, true),
        None => Ok(()),
    }
}

/// Whether a folder holds exactly these files.
fn is_current(root: &OwnedFd, old: &str, payload: &Payload) -> io::Result<bool> {
    let folder = match openat(root, old, FOLDER, Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let mut present = BTreeSet::new();
    list(&folder, "", &mut present)?;
    if present.len() != payload.files.len() || !payload.files.keys().all(|path| present.contains(path)) {
        return Ok(false);
    }
    for (path, file) in &payload.files {
        if !same(&folder, path, file)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same(folder: &OwnedFd, path: &str, file: &File) -> io::Result<bool> {
    let meta = statat(folder, path, AtFlags::SYMLINK_NOFOLLOW)?;
    // A group adds bits of its own; what must not differ is what the owner may.
    let owner_bits = meta.st_mode & 0o700 == file.mode & 0o700;
    if !owner_bits
        || file.owner.is_some_and(|owner| owner != meta.st_uid)
        || meta.st_size != file.data.len() as i64
    {
        return Ok(false);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut data = Vec::new();
    OsFile::from(openat(folder, path, flags, Mode::empty())?).read_to_end(&mut data)?;
    Ok(data == file.data)
}

fn list(folder: impl AsFd, prefix: &str, into: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in rustix::fs::Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." {
            continue;
        }
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        if entry.file_type() == rustix::fs::FileType::Directory {
            list(openat(&folder, &name, FOLDER, Mode::empty())?, &path, into)?;
        } else {
            into.insert(path);
        }
    }
    Ok(())
}

/// The visible names: first components of the paths.
fn names(payload: &Payload) -> BTreeSet<&str> {
    payload.files.keys().filter_map(|path| path.split('/').next()).collect()
}

fn link_names(root: &OwnedFd, payload: &Payload) -> io::Result<()> {
    for name in names(payload) {
        match symlinkat(format!("{DATA}/{name}"), root, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Removes visible names that are no longer in the payload, and folders that a crash left behind.
fn drop_stale_names(root: &OwnedFd, payload: &Payload) -> io::Result<()> {
    let wanted = names(payload);
    let current = readlinkat(root, DATA, Vec::new())?;
    let mut stale = Vec::new();
    for entry in rustix::fs::Dir::read_from(root)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let keep = name == "." || name == ".." || name == DATA || wanted.contains(name.as_str());
        if !keep && entry.file_name() != current.as_c_str() {
            stale.push(name);
        }
    }
    stale.iter().try_for_each(|name| remove::entry(root, name))
}
