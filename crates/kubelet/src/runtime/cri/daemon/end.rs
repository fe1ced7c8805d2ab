//! The end of our own containerd, with everything it holds.
//!
//! First the polite way, through the runtime; then what is left is found by facts that only our instance has: shims
//! that were started with our socket's address, mounts below our directories. Nothing of another containerd
//! on the machine can match.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;
use rustix::mount::UnmountFlags;
use rustix::process::Signal;

use super::{Cri, DaemonError, Options, listener, signal, watch};
use crate::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn stop_for_good(options: &Options) -> Result<(), DaemonError> {
    let socket = options.socket();
    if let Some(pid) = listener(&socket) {
        let pidfd = watch(pid)?;
        if tokio::time::timeout(PATIENCE, remove_pods(&Cri::at(&socket))).await.is_err() {
            tracing::warn!("pods did not end in time, they are killed");
        }
        signal(pidfd.get_ref(), Signal::TERM);
        if tokio::time::timeout(PATIENCE, pidfd.readable()).await.is_err() {
            signal(pidfd.get_ref(), Signal::KILL);
        }
    }
    for pid in shims(&socket) {
        kill_tree(pid).await;
    }
    for mount in mounts_below(&[&options.state, &options.root]) {
        if let Err(errno) = rustix::mount::unmount(&mount, UnmountFlags::DETACH) {
            tracing::debug!(path = %mount.display(), %errno, "leftover mount stays");
        }
    }
    match std::fs::remove_dir_all(&options.state) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(DaemonError::Prepare { path: options.state.clone(), source })
        }
        _ => Ok(()),
    }
}

async fn remove_pods(cri: &Cri) {
    let sandboxes = cri.list_sandboxes(None).await.unwrap_or_default();
    let removals = sandboxes.iter().map(|sandbox| async {
        let containers = cri.list_containers(Some(&sandbox.uid)).await.unwrap_or_default();
        let kills = containers.iter().map(|container| cri.stop_container(&container.id, Duration::ZERO));
        join_all(kills).await;
        let stopped = cri.stop_sandbox(&sandbox.id).await;
        let removed = cri.remove_sandbox(&sandbox.id).await;
        if let Err(error) = stopped.and(removed) {
            tracing::warn!(sandbox = sandbox.id, %error, "sandbox stays");
        }
    });
    join_all(removals).await;
}

/// Shims that serve the containerd at `socket`.
fn shims(socket: &Path) -> Vec<u32> {
    let address = socket.to_string_lossy();
    let ours = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.first().is_some_and(|program| program.windows(15).any(|part| part == b"containerd-shim"))
            && words.contains(&address.as_bytes())
    };
    processes().into_iter().filter(ours).collect()
}

fn processes() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Kills a shim's containers first: a shim that loses its child may still clean up after it.
async fn kill_tree(pid: u32) {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    for victim in children.chain([pid]) {
        if let Ok(pidfd) = watch(victim) {
            signal(pidfd.get_ref(), Signal::KILL);
            let _late = tokio::time::timeout(PATIENCE, pidfd.readable()).await;
        }
    }
}

/// Mount points below any of `directories`, the deepest first.
pub(super) fn mounts_below(directories: &[&Path]) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(path.replace("\\040", " ")))
        .filter(|path| directories.iter().any(|directory| path.starts_with(directory)))
        .collect();
    found.reverse();
    found
}
