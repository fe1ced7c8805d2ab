//! Hearing when somebody removes our rules: `nft flush ruleset` is one command, and firewalls reload that way.
//!
//! Unsafe here: only the registration of the socket with the runtime, once, of a descriptor that nobody else has.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Error, attribute, messages};

/// "A table was removed" among the kernel's messages.
const TABLE_REMOVED: u16 = 10 << 8 | 2;
/// The kernel's seventh group: changes of nftables.
const GROUP: u32 = 1 << 6;

/// Hears of removed tables in one namespace.
#[derive(Debug)]
pub struct Removals(AsyncFd<OwnedFd>);

impl Removals {
    /// Starts to listen, in the calling thread's namespace; must be called inside a runtime.
    pub fn open() -> Result<Self, Error> {
        let protocol = Some(rustix::net::netlink::NETFILTER);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let descriptor = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        rustix::net::bind(&descriptor, &SocketAddrNetlink::new(0, GROUP))?;
        // SAFETY: the descriptor is owned and was opened above; the `AsyncFd` takes it and closes it only
        // after deregistering it, so it stays open and the same for as long.
        #[expect(unsafe_code, reason = "tokio can't check that a descriptor stays the same")]
        let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
        let watched = watched.map_err(std::io::Error::from);
        Ok(Self(watched.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?))
    }

    /// Waits until a table of that name was removed, or may have been. It may be there again: our own replacing looks
    /// the same, so whoever waits has to look.
    pub async fn of(&self, table: &str) -> Result<(), Error> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let mut ready = self.0.readable().await.map_err(|_| Error::Malformed)?;
            match rustix::net::recv(self.0.get_ref(), buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((size, _)) => {
                    let named = |body: &[u8]| {
                        let name = body.get(4..).and_then(|rest| attribute(rest, 1));
                        name.is_some_and(|name| name.strip_suffix(&[0]) == Some(table.as_bytes()))
                    };
                    if messages(&buffer[..size]).any(|(kind, _, body)| kind == TABLE_REMOVED && named(body)) {
                        return Ok(());
                    }
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                // More happened than the socket could hold.
                Err(Errno::NOBUFS) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
