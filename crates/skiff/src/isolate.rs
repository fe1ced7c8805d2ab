//! Namespaces a node lives in, entered before the process has a second thread.
//!
//! Skiff and its containerd must see the same mounts, and changes must reach pods (`rshared`). So a node's process
//! takes a mount namespace of its own, or enters the one in which its containerd already runs. A minion that is one of
//! several also enters its network namespace and has its own host name.
//!
//! This file has unsafe code: `unshare` may pull the file system from under other threads, and there are none yet.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// Where a node lives.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The node's directory.
    pub(crate) node_dir: PathBuf,
    /// `/run/netns/NAME`, if the node has a network namespace of its own.
    pub(crate) netns: Option<PathBuf>,
    /// The host name to take in a namespace of its own.
    pub(crate) hostname: Option<String>,
}

impl Place {
    /// Enters the namespaces. The process must have one thread.
    pub(crate) fn enter(&self) -> anyhow::Result<()> {
        if let Some(netns) = &self.netns {
            join(netns, LinkNameSpaceType::Network)?;
        }
        if let Some(hostname) = &self.hostname {
            unshare(UnshareFlags::NEWUTS)?;
            rustix::system::sethostname(hostname.as_bytes()).context("set the minion's host name")?;
        }
        let socket = skiff_kubelet::runtime::cri::daemon::Options::under(&self.node_dir).socket();
        if let Some(pid) = skiff_kubelet::runtime::cri::daemon::listener(&socket) {
            return join(Path::new(&format!("/proc/{pid}/ns/mnt")), LinkNameSpaceType::Mount);
        }
        unshare(UnshareFlags::NEWNS)?;
        mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)
            .context("share mounts within the node's mount namespace")
    }
}

fn join(path: &Path, kind: LinkNameSpaceType) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(kind))
        .with_context(|| format!("enter {}", path.display()))
}

#[expect(unsafe_code, reason = "see the head of this file")]
fn unshare(flags: UnshareFlags) -> anyhow::Result<()> {
    // SAFETY: called from `main` before any thread is started, so nobody else's view of files or names changes.
    unsafe { rustix::thread::unshare_unsafe(flags) }.context("take a namespace of our own (are we root?)")
}
