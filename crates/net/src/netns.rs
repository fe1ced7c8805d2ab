//! Network namespaces: making, naming, entering.
//!
//! A thread belongs to one network namespace, so whatever must happen in another happens on a thread of its own that
//! ends with it: the caller's thread never changes its place. A socket keeps the namespace it was opened in, which is
//! how one process configures another's links.
//!
//! Unsafe here: only `unshare`, once, on a thread that shares no file descriptors or memory by it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Where named namespaces live, as `ip netns` has it.
pub const FOLDER: &str = "/run/netns";

/// The path of a named namespace.
pub fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Moves the calling thread into the namespace, for good: for threads that belong to a node, such as those of a
/// runtime of its own.
pub fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?)
}

/// Runs `work` on a thread of its own inside the namespace.
pub fn within<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(namespace)?;
            Ok(work())
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the work in the namespace panicked")))
    })
}

/// Runs `work` inside the namespace at `path`.
pub fn within_path<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let file = File::open(path)?;
    within(file.as_fd(), work)
}

/// Makes a named namespace; false if it is already there.
pub fn create(name: &str) -> io::Result<bool> {
    std::fs::create_dir_all(FOLDER)?;
    let path = path(name);
    if is_namespace(&path) {
        return Ok(false);
    }
    let _file = File::create(&path)?;
    let made: io::Result<()> = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: CLONE_NEWNET alone changes only this thread's network namespace; descriptors, memory and
            // signal handling stay shared as before. The thread ends right after.
            #[expect(unsafe_code, reason = "the one call that makes a namespace")]
            unsafe {
                rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)?;
            }
            rustix::mount::mount("/proc/thread-self/ns/net", &path, c"none", MountFlags::BIND, None)?;
            Ok(())
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("making the namespace panicked")))
    });
    if made.is_err() {
        let _leave_nothing = std::fs::remove_file(&path);
    }
    made.map(|()| true)
}

/// Removes a named namespace; absent is fine.
pub fn remove(name: &str) -> io::Result<()> {
    let path = path(name);
    match rustix::mount::unmount(&path, UnmountFlags::DETACH) {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// True if a namespace (and not a leftover empty file) is at `path`.
pub fn is_namespace(path: &Path) -> bool {
    const NSFS: u64 = 0x6e73_6673;
    rustix::fs::statfs(path).is_ok_and(|about| u64::try_from(about.f_type).is_ok_and(|kind| kind == NSFS))
}
