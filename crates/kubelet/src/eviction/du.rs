//! How much of the disk a folder takes, by open folders and following no links: containers may move what is in it at any time.
//!
//! One folder is open at a time, however deep the tree; the way back up is checked, so that a folder that was moved away
//! meanwhile ends the count there. What is on another device is another's, and what has several names counts once.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};

use super::usage::Space;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// The unit of a file's size on the disk.
const BLOCK: u64 = 512;

/// A folder on the way down.
struct Level {
    id: (u64, u64),
    below: Vec<CString>,
}

struct Count {
    device: u64,
    space: Space,
    /// Files with several names.
    seen: HashSet<u64>,
}

impl Count {
    fn add(&mut self, meta: &Stat) {
        self.space += Space { bytes: u64::try_from(meta.st_blocks).unwrap_or(0) * BLOCK, inodes: 1 };
    }

    /// Counts what is in a folder; the folders in it are for later.
    fn list(&mut self, folder: &OwnedFd) -> io::Result<Level> {
        let own = fstat(folder)?;
        self.add(&own);
        let mut below = Vec::new();
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            // What went meanwhile takes nothing.
            let Ok(meta) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if meta.st_dev != self.device {
                continue;
            }
            if FileType::from_raw_mode(meta.st_mode) == FileType::Directory {
                below.push(name.to_owned());
            } else if meta.st_nlink < 2 || self.seen.insert(meta.st_ino) {
                self.add(&meta);
            }
        }
        Ok(Level { id: (own.st_dev, own.st_ino), below })
    }
}

/// What a folder and all below it take; one that is not there takes nothing.
///
/// # Errors
/// When the disk cannot be read.
pub(crate) fn of(folder: &Path) -> io::Result<Space> {
    let mut here = match openat(CWD, folder, FOLDER, Mode::empty()) {
        Ok(here) => here,
        Err(rustix::io::Errno::NOENT) => return Ok(Space::default()),
        Err(error) => return Err(error.into()),
    };
    let mut count = Count { device: fstat(&here)?.st_dev, space: Space::default(), seen: HashSet::new() };
    let mut levels = vec![count.list(&here)?];
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.below.pop() {
            let Ok(below) = openat(&here, &name, FOLDER, Mode::empty()) else { continue };
            levels.push(count.list(&below)?);
            here = below;
            continue;
        }
        levels.pop();
        let Some(above) = levels.last() else { break };
        here = openat(&here, c"..", FOLDER, Mode::empty())?;
        let meta = fstat(&here)?;
        if (meta.st_dev, meta.st_ino) != above.id {
            break;
        }
    }
    Ok(count.space)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_by_what_they_take_once_each_and_links_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("volume");
        let deep = inside.join("a/b/c");
        std::fs::create_dir_all(&deep).unwrap();
        let empty = of(&inside).unwrap();
        assert_eq!(empty.inodes, 4);
        std::fs::write(deep.join("file"), vec![1; 1 << 20]).unwrap();
        std::fs::hard_link(deep.join("file"), inside.join("same")).unwrap();
        std::fs::write(folder.path().join("outside"), vec![1; 1 << 20]).unwrap();
        std::os::unix::fs::symlink(folder.path(), inside.join("away")).unwrap();
        let sparse = std::fs::File::create(inside.join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        let full = of(&inside).unwrap();
        assert_eq!(full.inodes, empty.inodes + 3);
        let grown = full.bytes - empty.bytes;
        assert!((1 << 20..(1 << 20) + (64 << 10)).contains(&grown), "{grown}");
        assert_eq!(of(&folder.path().join("none")).unwrap(), Space::default());
    }
}
