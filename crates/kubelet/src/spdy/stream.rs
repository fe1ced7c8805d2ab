//! One stream of a connection: headers, bytes in, bytes out.
//!
//! The two halves are separate on purpose: an exec's stdin is only read, its stdout only written, and a
//! forwarded port's halves end at different times.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

use super::frame::{CANCEL, Frame, PROTOCOL_ERROR};
use super::headers::Headers;

/// The window every stream starts with, by the draft.
pub(super) const FIRST_WINDOW: i64 = 64 * 1024;
/// The longest data frame we send; small enough that one stream does not keep the others waiting.
const LONGEST_DATA: usize = 32 * 1024;
/// After how many bytes read the sender is told that there is room again.
const UPDATE_AFTER: usize = 16 * 1024;

/// The stream or its connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream is closed")]
pub(crate) struct Closed;

/// What may still be sent on one stream.
pub(super) struct Window {
    left: AtomicI64,
    /// Whether the peer keeps windows at all (see the module's essay).
    obeyed: Arc<AtomicBool>,
    reset: AtomicBool,
    /// We have ended our direction.
    done: AtomicBool,
    changed: Notify,
}

impl Window {
    pub(super) fn new(first: i64, obeyed: Arc<AtomicBool>) -> Self {
        Self {
            left: AtomicI64::new(first),
            obeyed,
            reset: AtomicBool::new(false),
            done: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire) || self.reset.load(Ordering::Acquire)
    }

    fn finish(&self) {
        self.done.store(true, Ordering::Release);
    }

    pub(super) fn widen(&self, delta: i64) {
        self.left.fetch_add(delta, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    pub(super) fn reset(&self) {
        self.reset.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Takes up to `wanted` bytes of the window, waiting until at least one is free.
    async fn take(&self, wanted: usize) -> Result<usize, Closed> {
        loop {
            // Made before looking, so that a change in between is not missed.
            let changed = self.changed.notified();
            if self.reset.load(Ordering::Acquire) {
                return Err(Closed);
            }
            let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
            let left = self.left.load(Ordering::Acquire);
            let now = if self.obeyed.load(Ordering::Acquire) { wanted.min(left) } else { wanted };
            if now > 0 {
                // Only the stream's one writer subtracts, so what was there still is.
                self.left.fetch_sub(now, Ordering::AcqRel);
                return Ok(usize::try_from(now).unwrap_or_default());
            }
            changed.await;
        }
    }
}

/// The writing half.
#[derive(Clone)]
pub(crate) struct Sink {
    pub(super) id: u32,
    pub(super) frames: mpsc::Sender<Frame>,
    pub(super) window: Arc<Window>,
}

impl Sink {
    /// Sends bytes, waiting while the connection is congested.
    pub(crate) async fn write(&self, mut bytes: Bytes) -> Result<(), Closed> {
        while !bytes.is_empty() {
            let now = self.window.take(bytes.len().min(LONGEST_DATA)).await?;
            let piece = bytes.split_to(now);
            self.send(Frame::Data { id: self.id, fin: false, bytes: piece }).await?;
        }
        Ok(())
    }

    /// Says that nothing more comes.
    pub(crate) async fn finish(&self) -> Result<(), Closed> {
        self.window.finish();
        self.send(Frame::Data { id: self.id, fin: true, bytes: Bytes::new() }).await
    }

    /// Breaks the stream off.
    pub(crate) async fn reset(&self) -> Result<(), Closed> {
        self.window.finish();
        self.send(Frame::Reset { id: self.id, status: CANCEL }).await
    }

    async fn send(&self, frame: Frame) -> Result<(), Closed> {
        self.frames.send(frame).await.map_err(|_| Closed)
    }
}

/// The reading half.
pub(crate) struct Source {
    pub(super) id: u32,
    pub(super) bytes: mpsc::Receiver<Bytes>,
    pub(super) frames: mpsc::Sender<Frame>,
    pub(super) unreported: usize,
}

impl Source {
    /// The next bytes; none at the end of the stream.
    pub(crate) async fn read(&mut self) -> Option<Bytes> {
        let bytes = self.bytes.recv().await?;
        self.unreported += bytes.len();
        if self.unreported >= UPDATE_AFTER {
            let delta = u32::try_from(self.unreported).unwrap_or(u32::MAX);
            self.unreported = 0;
            // A connection that has ended needs no window.
            let _ended = self.frames.send(Frame::WindowUpdate { id: self.id, delta }).await;
        }
        Some(bytes)
    }
}

/// A stream as it was opened, by them or by us.
pub(crate) struct Stream {
    pub(super) headers: Headers,
    pub(super) source: Source,
    pub(super) sink: Sink,
    pub(super) replied: Option<oneshot::Receiver<()>>,
}

impl Stream {
    /// Its number in the connection.
    pub(crate) fn id(&self) -> u32 {
        self.sink.id
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Answers the peer that opened it; nothing may be sent before.
    pub(crate) async fn accept(&self) -> Result<(), Closed> {
        let frame = Frame::SynReply { id: self.sink.id, fin: false, headers: Headers::new() };
        self.sink.send(frame).await
    }

    /// Refuses it.
    pub(crate) async fn refuse(&self) -> Result<(), Closed> {
        self.sink.window.finish();
        self.sink.send(Frame::Reset { id: self.sink.id, status: PROTOCOL_ERROR }).await
    }

    /// Waits until the peer has accepted a stream we opened.
    pub(crate) async fn accepted(&mut self) -> Result<(), Closed> {
        match self.replied.take() {
            Some(replied) => replied.await.map_err(|_| Closed),
            None => Ok(()),
        }
    }

    /// Its two halves.
    pub(crate) fn split(self) -> (Source, Sink) {
        (self.source, self.sink)
    }
}
