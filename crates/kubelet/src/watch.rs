//! Tells when something in a folder changed, by inotify, without a thread and without polling.
//!
//! One instance per watcher: the kernel allows 128 of them to a user by default, and upstream's kubelet spends one per followed
//! log as well. The watcher is read by whoever awaits it, so there is nothing to stop.
//!
//! Unsafe: one call, to register our own descriptor with tokio.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

/// What happened to an entry of a watched folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The entry; none if the folder itself changed, or changes were lost.
    pub(crate) name: Option<OsString>,
    /// Another file may now be under this name (created, or moved here or away).
    pub(crate) replaced: bool,
}

/// Watches one folder.
pub(crate) struct FolderWatch {
    fd: AsyncFd<OwnedFd>,
}

impl FolderWatch {
    /// Starts to watch; what happens from now on is not missed.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let what = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&fd, folder, what)?;
        // SAFETY: the descriptor is owned by the `AsyncFd` from here on and nobody else closes it.
        let fd = unsafe { AsyncFd::register(fd) }?;
        Ok(Self { fd })
    }

    /// Waits for changes; several that happened close to each other come together.
    pub(crate) async fn changes(&mut self) -> io::Result<Vec<Change>> {
        loop {
            let mut ready = self.fd.readable().await?;
            let outcome = ready.try_io(|fd| read(fd.get_ref()));
            if let Ok(outcome) = outcome {
                return outcome;
            }
        }
    }
}

fn read(fd: &OwnedFd) -> io::Result<Vec<Change>> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(fd, &mut buffer);
    let mut changes = Vec::new();
    loop {
        let event = match reader.next() {
            Ok(event) => event,
            Err(_) if !changes.is_empty() => return Ok(changes),
            Err(error) => return Err(error.into()),
        };
        let lost = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
        let replacing = ReadFlags::CREATE
            | ReadFlags::MOVED_TO
            | ReadFlags::MOVED_FROM
            | ReadFlags::DELETE
            | ReadFlags::DELETE_SELF;
        changes.push(Change {
            name: event.file_name().map(|name| OsString::from_vec(name.to_bytes().to_vec())),
            replaced: lost || event.events().intersects(replacing),
        });
        if reader.is_buffer_empty() {
            return Ok(changes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_what_changed() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = FolderWatch::new(folder.path()).unwrap();
        std::fs::write(folder.path().join("a"), "x").unwrap();
        let changes = watch.changes().await.unwrap();
        assert_eq!(changes[0], Change { name: Some("a".into()), replaced: true });
    }
}
