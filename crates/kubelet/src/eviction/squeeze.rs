//! Hears from the kernel when tasks wait for memory (pressure stall information), so that a node that runs short of it does not
//! notice only at its next look. Where the kernel does not tell, nothing is ever heard.
//!
//! Unsafe: one call, to register our own descriptor with tokio.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const FILE: &str = "/proc/pressure/memory";
/// Some task waits for a tenth of the time. Windows of two seconds are those that the kernel grants to everybody.
const TRIGGER: &[u8] = b"some 200000 2000000\0";

/// The kernel's word on memory.
pub(crate) struct Squeeze {
    fd: Option<AsyncFd<OwnedFd>>,
}

impl Squeeze {
    pub(crate) fn new() -> Self {
        let fd = register()
            .inspect_err(|error| tracing::debug!(%error, "the kernel tells nothing about waits for memory"));
        Self { fd: fd.ok() }
    }

    /// Waits until memory is hard to get; for ever where that is never told.
    pub(crate) async fn felt(&mut self) {
        let Some(fd) = &self.fd else { return std::future::pending().await };
        match fd.ready(Interest::PRIORITY).await {
            Ok(mut ready) => ready.clear_ready(),
            Err(error) => {
                tracing::debug!(%error, "the kernel tells no more about waits for memory");
                self.fd = None;
            }
        }
    }
}

fn register() -> io::Result<AsyncFd<OwnedFd>> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(FILE, flags, Mode::empty())?;
    rustix::io::write(&fd, TRIGGER)?;
    // SAFETY: the descriptor is owned by the `AsyncFd` from here on and nobody else closes it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::PRIORITY) }?)
}
