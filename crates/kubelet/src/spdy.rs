//! SPDY/3.1, the multiplexing that `kubectl exec` and `port-forward` spoke before WebSocket, and containerd still does.
//!
//! Written here because no crate under a licence we take has the server side. It follows draft 3 of the protocol,
//! with one concession: the Go library on the other side (moby/spdystream) neither sends nor obeys
//! WINDOW_UPDATE, so a sender that waited for windows would stop for ever after 64 KiB. We keep the account
//! and begin to obey it when the peer shows by a first WINDOW_UPDATE or SETTINGS that it keeps one too.
//!
//! This module knows streams with headers and bytes; what they mean (stdin, error, port) is its users' affair.

mod connection;
mod frame;
mod headers;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use connection::{Connection, Role};
pub(crate) use stream::{Closed, Sink, Source, Stream};

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpdyError {
    /// The transport failed.
    #[error("spdy transport: {0}")]
    Io(#[from] std::io::Error),
    /// A frame that the protocol does not allow.
    #[error("spdy protocol: {0}")]
    Protocol(&'static str),
    /// A header block that cannot be inflated.
    #[error("spdy header block: {0}")]
    Headers(&'static str),
}
