//! The kernel's configuration sockets, spoken directly.
//!
//! Links, routes, nftables and conntrack are all netlink: one frame format, four dictionaries. A socket here is
//! synchronous on purpose: the kernel answers within the system call, so there is nothing to wait for, and the CNI
//! plugin (a new process for every pod) needs no async runtime. Whoever calls it from async code with more than a few
//! messages does so through `spawn_blocking`.
//!
//! A socket belongs for good to the network namespace it was opened in; see [`crate::netns`].

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

pub mod conntrack;
pub mod expr;
pub mod nft;
pub mod route;
pub mod watch;

/// What went wrong between us and the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error("{what}: {errno}")]
    Refused {
        /// What we tried.
        what: &'static str,
        /// Its answer.
        errno: Errno,
    },
    /// The socket itself failed.
    #[error("netlink socket: {0}")]
    Socket(#[from] Errno),
    /// An answer that is not netlink.
    #[error("netlink answer is malformed")]
    Malformed,
}

impl Error {
    /// The kernel's error number, if that is what it is.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } | Self::Socket(errno) => Some(*errno),
            Self::Malformed => None,
        }
    }

    /// True if the thing is already there.
    pub fn exists(&self) -> bool {
        self.errno() == Some(Errno::EXIST)
    }

    /// True if the thing is not (or no longer) there.
    pub fn missing(&self) -> bool {
        matches!(
            self.errno(),
            Some(Errno::NOENT | Errno::NODEV | Errno::SRCH | Errno::ADDRNOTAVAIL | Errno::NXIO)
        )
    }
}

/// Which of the kernel's dictionaries a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subsystem {
    /// Links, addresses, routes.
    Route,
    /// nftables and conntrack.
    Netfilter,
}

pub(crate) const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
pub(crate) const DUMP: u16 = 0x300;
pub(crate) const REPLACE: u16 = 0x100;
pub(crate) const EXCLUSIVE: u16 = 0x200;
pub(crate) const CREATE: u16 = 0x400;
pub(crate) const APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;
const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// One or more netlink messages in the making.
#[derive(Debug, Default, Clone)]
pub struct Frames {
    bytes: Vec<u8>,
    messages: u32,
    last: usize,
    answered: Option<u32>,
}

impl Frames {
    /// Adds a message; `fill` writes its attributes.
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        head: &[u8],
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        self.last = start;
        self.messages += 1;
        self.bytes.extend_from_slice(&0_u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&self.messages.to_ne_bytes());
        self.bytes.extend_from_slice(&0_u32.to_ne_bytes());
        self.bytes.extend_from_slice(head);
        pad(&mut self.bytes);
        fill(&mut Attributes { bytes: &mut self.bytes });
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// True if nothing was added.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Asks for an answer to the message added last; in a batch that is the last one before its end mark.
    pub(crate) fn ask_for_answer(&mut self) {
        self.answered = Some(self.messages);
        let at = self.last + 6;
        let flags = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]) | ACK;
        self.bytes[at..at + 2].copy_from_slice(&flags.to_ne_bytes());
    }
}

/// Writes attributes into a message.
pub(crate) struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        pad(self.bytes);
    }

    /// A string with its closing zero.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let mut zeroed = Vec::with_capacity(value.len() + 1);
        zeroed.extend_from_slice(value.as_bytes());
        zeroed.push(0);
        self.bytes(kind, &zeroed);
    }

    /// A number as rtnetlink wants it: in the machine's byte order.
    pub(crate) fn native(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// A number as netfilter wants it: in network byte order.
    pub(crate) fn network(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&0_u16.to_ne_bytes());
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        fill(&mut Attributes { bytes: self.bytes });
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    /// Raw bytes without an attribute head, such as the peer's header inside a veth's description.
    pub(crate) fn raw(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        pad(self.bytes);
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// The attributes of a message or nest, in order.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]));
        let kind = u16::from_ne_bytes([*bytes.get(2)?, *bytes.get(3)?]) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

pub(crate) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// A netlink socket of the namespace it was opened in.
#[derive(Debug)]
pub struct Socket {
    descriptor: OwnedFd,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open(subsystem: Subsystem) -> Result<Self, Error> {
        let protocol: Option<Protocol> = match subsystem {
            Subsystem::Route => None,
            Subsystem::Netfilter => Some(rustix::net::netlink::NETFILTER),
        };
        let descriptor = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        rustix::net::bind(&descriptor, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { descriptor, buffer: vec![0; 64 * 1024] })
    }

    /// Sends the messages in one go; fails with the first refusal. The last message is acknowledged, so that on
    /// return the kernel has done it.
    pub(crate) fn request(&mut self, what: &'static str, mut frames: Frames) -> Result<(), Error> {
        if frames.answered.is_none() {
            frames.ask_for_answer();
        }
        let last = frames.answered.unwrap_or(frames.messages);
        self.send(&frames)?;
        let mut refused = None;
        loop {
            let size = self.receive()?;
            for (kind, sequence, body) in messages(&self.buffer[..size]) {
                if kind != ERROR {
                    continue;
                }
                let code = body.get(..4).ok_or(Error::Malformed)?;
                let code = i32::from_ne_bytes([code[0], code[1], code[2], code[3]]);
                if code != 0 && refused.is_none() {
                    refused = Some(Errno::from_raw_os_error(-code));
                }
                // A refused batch may be answered at its head alone.
                if sequence == last || (code != 0 && sequence <= 1) {
                    return match refused {
                        None => Ok(()),
                        Some(errno) => Err(Error::Refused { what, errno }),
                    };
                }
            }
        }
    }

    /// Asks one question; `each` sees every answer's body.
    pub(crate) fn ask(
        &mut self,
        what: &'static str,
        frames: &Frames,
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<(), Error> {
        self.send(frames)?;
        let dump = u16::from_ne_bytes([frames.bytes[6], frames.bytes[7]]) & DUMP == DUMP;
        loop {
            let size = self.receive()?;
            for (kind, _, body) in messages(&self.buffer[..size]) {
                match kind {
                    DONE => return Ok(()),
                    ERROR => {
                        let code = body.get(..4).ok_or(Error::Malformed)?;
                        let code = i32::from_ne_bytes([code[0], code[1], code[2], code[3]]);
                        if code == 0 {
                            return Ok(());
                        }
                        return Err(Error::Refused { what, errno: Errno::from_raw_os_error(-code) });
                    }
                    _ => each(kind, body),
                }
            }
            if !dump {
                return Ok(());
            }
        }
    }

    fn send(&mut self, frames: &Frames) -> Result<(), Error> {
        if frames.bytes.len() > 100_000 {
            // A transaction is one datagram; the default limit of a socket would cut ours at some 2,000 elements.
            sockopt::set_socket_send_buffer_size_force(&self.descriptor, frames.bytes.len() * 2)?;
        }
        rustix::net::send(&self.descriptor, &frames.bytes, SendFlags::empty())?;
        Ok(())
    }

    fn receive(&mut self) -> Result<usize, Error> {
        loop {
            match rustix::net::recv(&self.descriptor, self.buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((size, _)) => return Ok(size),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// The messages in one datagram: kind, sequence number, body.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    std::iter::from_fn(move || {
        let head = bytes.get(..HEADER)?;
        let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let kind = u16::from_ne_bytes([head[4], head[5]]);
        let sequence = u32::from_ne_bytes([head[8], head[9], head[10], head[11]]);
        let body = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, sequence, body))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_read_back_as_written() {
        let mut frames = Frames::default();
        frames.message(16, 0, &[0; 16], |a| {
            a.text(3, "skiff0");
            a.nest(18, |a| a.native(1, 7));
        });
        let parsed: Vec<_> = messages(&frames.bytes).collect();
        assert_eq!(parsed.len(), 1);
        let body = &parsed[0].2[16..];
        assert_eq!(attribute(body, 3), Some(&b"skiff0\0"[..]));
        let nest = attribute(body, 18).unwrap();
        assert_eq!(attribute(nest, 1), Some(&7_u32.to_ne_bytes()[..]));
    }

    #[test]
    fn several_messages_are_numbered() {
        let mut frames = Frames::default();
        frames.message(1, 0, &[], |_| {});
        frames.message(2, 0, &[1, 2, 3, 4], |_| {});
        frames.ask_for_answer();
        let seen: Vec<_> = messages(&frames.bytes).map(|(kind, sequence, _)| (kind, sequence)).collect();
        assert_eq!(seen, [(1, 1), (2, 2)]);
    }

    #[test]
    fn cut_off_answers_end_quietly() {
        assert_eq!(messages(&[9, 0, 0]).count(), 0);
        assert_eq!(attributes(&[255, 0, 1, 0, 5]).count(), 0);
    }
}
