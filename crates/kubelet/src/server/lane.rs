//! One direction of one stream to a client, whichever protocol carries it.
//!
//! Exec, attach and port-forward are written once against these; SPDY and WebSocket differ only below.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::websocket;
use crate::spdy;
use crate::spdy::Closed;

/// From us to the client.
pub(super) enum Lane {
    Spdy(spdy::Sink),
    Socket(websocket::Lane),
}

impl Lane {
    pub(super) async fn write(&self, bytes: Bytes) -> Result<(), Closed> {
        match self {
            Self::Spdy(sink) => sink.write(bytes).await,
            Self::Socket(lane) => lane.write(bytes).await,
        }
    }

    /// Says that nothing more comes; WebSocket channels have no such word.
    pub(super) async fn finish(&self) {
        if let Self::Spdy(sink) = self {
            // A client that has hung up needs no goodbye.
            let _gone = sink.finish().await;
        }
    }

    /// Sends all that `reader` gives.
    pub(super) async fn copy_from<R: AsyncRead + Unpin + ?Sized>(
        &self,
        reader: &mut R,
    ) -> std::io::Result<()> {
        let mut buffer = bytes::BytesMut::new();
        loop {
            buffer.reserve(32 * 1024);
            if reader.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            if self.write(buffer.split().freeze()).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// From the client to us.
pub(super) enum Input {
    Spdy(spdy::Source),
    Socket(mpsc::Receiver<Bytes>),
}

impl Input {
    /// The next bytes; none at the end.
    pub(super) async fn read(&mut self) -> Option<Bytes> {
        match self {
            Self::Spdy(source) => source.read().await,
            Self::Socket(bytes) => bytes.recv().await,
        }
    }

    /// Writes all that comes to `writer`, and then ends it.
    pub(super) async fn copy_to<W: AsyncWrite + Unpin + ?Sized>(&mut self, writer: &mut W) {
        while let Some(bytes) = self.read().await {
            if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                return;
            }
        }
        // The other end may be gone, which is also an end.
        let _gone = writer.shutdown().await;
    }
}
