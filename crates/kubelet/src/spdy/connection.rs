//! A connection: one task reads frames and hands them to streams, one writes what streams and the reader queue.
//!
//! All queues are bounded. A stream whose reader is slow holds up the connection's reader, as with upstream's library: without
//! windows on the other side there is no other way to slow the peer down. Nothing waits while the lock on the table is held.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use skiff_base::Tasks;
use skiff_base::task::Policy;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::SpdyError;
use super::frame::{Decoder, Encoder, Frame, PROTOCOL_ERROR, SETTING_INITIAL_WINDOW};
use super::headers::Headers;
use super::stream::{Closed, FIRST_WINDOW, Sink, Source, Stream, Window};

/// How many pieces of data wait for a stream's reader.
const WAITING_PIECES: usize = 64;
/// How many frames wait for the socket.
const WAITING_FRAMES: usize = 64;
/// Streams one peer may hold open; upstream sets no limit, kubectl uses five for exec and two for each forwarded connection.
const MOST_STREAMS: usize = 4096;

/// Which side we are; it decides who uses the odd numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// We opened the connection.
    Client,
    /// They did.
    Server,
}

/// Our end of a SPDY connection. Dropping it ends its tasks.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    incoming: mpsc::Receiver<Stream>,
    _stop: tokio_util::sync::DropGuard,
}

struct Shared {
    role: Role,
    frames: mpsc::Sender<Frame>,
    windows_obeyed: Arc<AtomicBool>,
    table: Mutex<Table>,
    ended: CancellationToken,
}

struct Table {
    streams: HashMap<u32, Entry>,
    next: u32,
    last_seen: u32,
    first_window: i64,
    gone_away: bool,
    /// At this many streams those that are over are swept out.
    sweep_at: usize,
}

struct Entry {
    /// Gone once the peer has finished its direction.
    inbound: Option<mpsc::Sender<Bytes>>,
    window: Arc<Window>,
    replied: Option<oneshot::Sender<()>>,
}

impl Entry {
    /// Neither side has anything more to say on it.
    fn is_over(&self) -> bool {
        self.window.is_done() && self.inbound.as_ref().is_none_or(mpsc::Sender::is_closed)
    }
}

impl Connection {
    /// Starts to speak SPDY on `io`.
    pub(crate) fn start<T>(io: T, role: Role) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let tasks = Tasks::new();
        let (reader, writer) = tokio::io::split(io);
        let (frames, queue) = mpsc::channel(WAITING_FRAMES);
        let (offer, incoming) = mpsc::channel(16);
        let ended = CancellationToken::new();
        let table = Table {
            streams: HashMap::new(),
            next: if role == Role::Client { 1 } else { 2 },
            last_seen: 0,
            first_window: FIRST_WINDOW,
            gone_away: false,
            sweep_at: 64,
        };
        let shared = Arc::new(Shared {
            role,
            frames,
            windows_obeyed: Arc::default(),
            table: Mutex::new(table),
            ended: ended.clone(),
        });
        let reading = Arc::clone(&shared);
        let until = ended.clone();
        tasks.spawn("spdy reader", Policy::Optional, async move {
            let outcome = tokio::select! {
                outcome = reading.read(reader, offer) => outcome,
                () = until.cancelled() => Ok(()),
            };
            reading.end();
            if let Err(error) = outcome {
                tracing::debug!(%error, "spdy connection ended");
            }
            Ok::<(), SpdyError>(())
        });
        let until = ended.clone();
        tasks.spawn("spdy writer", Policy::Optional, async move {
            if let Err(error) = write(writer, queue, until.clone()).await {
                tracing::debug!(%error, "spdy connection cannot be written");
            }
            until.cancel();
            Ok::<(), SpdyError>(())
        });
        Self { shared, incoming, _stop: ended.drop_guard() }
    }

    /// The next stream the peer opens; none when the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Stream> {
        self.incoming.recv().await
    }

    /// Opens a stream. Wait for [`Stream::accepted`] before writing: Go's library drops what comes earlier.
    pub(crate) async fn open(&self, headers: Headers) -> Result<Stream, Closed> {
        let (tell, replied) = oneshot::channel();
        let (id, mut stream) = {
            let mut table = self.shared.lock();
            if table.gone_away || self.shared.ended.is_cancelled() {
                return Err(Closed);
            }
            let id = table.next;
            table.next += 2;
            (id, self.shared.enter(&mut table, id, headers.clone(), false, Some(tell)))
        };
        let syn = Frame::SynStream { id, fin: false, unidirectional: false, headers };
        self.shared.frames.send(syn).await.map_err(|_| Closed)?;
        stream.replied = Some(replied);
        Ok(stream)
    }

    /// Resolves when the connection has ended, whoever ended it.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.shared.ended.clone()
    }

    /// Says goodbye, and waits until the peer has hung up: data still under way must not be lost to a reset.
    pub(crate) async fn close(mut self, patience: std::time::Duration) {
        let last = self.shared.lock().last_seen;
        let _ended = self.shared.frames.send(Frame::GoAway { last, status: 0 }).await;
        let _impatient = tokio::time::timeout(patience, async {
            while let Some(stream) = self.incoming.recv().await {
                let _ended = stream.refuse().await;
            }
        })
        .await;
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(
        &self,
        table: &mut Table,
        id: u32,
        headers: Headers,
        finished: bool,
        replied: Option<oneshot::Sender<()>>,
    ) -> Stream {
        let (inbound, bytes) = mpsc::channel(WAITING_PIECES);
        let window = Arc::new(Window::new(table.first_window, Arc::clone(&self.windows_obeyed)));
        let entry = Entry { inbound: (!finished).then_some(inbound), window: Arc::clone(&window), replied };
        if table.streams.len() >= table.sweep_at {
            table.streams.retain(|_, entry| !entry.is_over());
            table.sweep_at = (table.streams.len() * 2).max(64);
        }
        table.streams.insert(id, entry);
        let frames = self.frames.clone();
        Stream {
            headers,
            source: Source { id, bytes, frames: frames.clone(), unreported: 0 },
            sink: Sink { id, frames, window },
            replied: None,
        }
    }

    /// Everything ends: readers see the end of their streams, writers fail.
    fn end(&self) {
        self.ended.cancel();
        for (_, entry) in self.lock().streams.drain() {
            entry.window.reset();
        }
    }

    async fn read<R: AsyncRead + Unpin>(
        &self,
        mut io: R,
        offer: mpsc::Sender<Stream>,
    ) -> Result<(), SpdyError> {
        let mut decoder = Decoder::new();
        let mut input = BytesMut::with_capacity(64 * 1024);
        loop {
            while let Some(frame) = decoder.decode(&mut input)? {
                self.handle(frame, &offer).await?;
            }
            input.reserve(32 * 1024);
            if io.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn handle(&self, frame: Frame, offer: &mpsc::Sender<Stream>) -> Result<(), SpdyError> {
        match frame {
            Frame::SynStream { id, fin, headers, .. } => self.opened(id, fin, headers, offer).await,
            Frame::SynReply { id, fin, .. } => {
                let told = self.lock().streams.get_mut(&id).and_then(|entry| entry.replied.take());
                if let Some(told) = told {
                    let _nobody_waits = told.send(());
                }
                self.finished(id, fin);
            }
            Frame::Data { id, fin, bytes } => {
                let inbound = self.lock().streams.get(&id).and_then(|entry| entry.inbound.clone());
                if let Some(inbound) = inbound
                    && !bytes.is_empty()
                {
                    let delta = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                    if inbound.send(bytes).await.is_err() {
                        // Whoever no longer reads does not want it; but a sender that keeps windows must not be stuck
                        // on it, and a reset would end our own direction too.
                        let update = Frame::WindowUpdate { id, delta };
                        self.frames.send(update).await.map_err(|_| SpdyError::Protocol("writer ended"))?;
                    }
                }
                self.finished(id, fin);
            }
            Frame::Headers { id, fin, .. } => self.finished(id, fin),
            Frame::Reset { id, .. } => {
                if let Some(entry) = self.lock().streams.remove(&id) {
                    entry.window.reset();
                }
            }
            Frame::Ping(id) => {
                // Their numbers have their parity; ours come back as answers, and we send none.
                let theirs = (id % 2 == 1) == (self.role == Role::Server);
                if theirs {
                    self.frames
                        .send(Frame::Ping(id))
                        .await
                        .map_err(|_| SpdyError::Protocol("writer ended"))?;
                }
            }
            Frame::GoAway { .. } => self.lock().gone_away = true,
            Frame::WindowUpdate { id, delta } => {
                self.windows_obeyed.store(true, Ordering::Release);
                if let Some(entry) = self.lock().streams.get(&id) {
                    entry.window.widen(i64::from(delta));
                }
            }
            Frame::Settings(entries) => {
                for (_, value) in entries.into_iter().filter(|(id, _)| *id == SETTING_INITIAL_WINDOW) {
                    self.windows_obeyed.store(true, Ordering::Release);
                    let mut table = self.lock();
                    let delta = i64::from(value) - table.first_window;
                    table.first_window = i64::from(value);
                    for entry in table.streams.values() {
                        entry.window.widen(delta);
                    }
                }
            }
            Frame::Unknown(kind) => tracing::debug!(kind, "unknown spdy frame skipped"),
        }
        Ok(())
    }

    async fn opened(&self, id: u32, fin: bool, headers: Headers, offer: &mpsc::Sender<Stream>) {
        let theirs = (id % 2 == 1) == (self.role == Role::Server);
        let stream = {
            let mut table = self.lock();
            let sound =
                theirs && id > table.last_seen && !table.gone_away && table.streams.len() < MOST_STREAMS;
            sound.then(|| {
                table.last_seen = id;
                self.enter(&mut table, id, headers, fin, None)
            })
        };
        match stream {
            Some(stream) => {
                let _nobody_listens = offer.send(stream).await;
            }
            None => {
                let _ended = self.frames.send(Frame::Reset { id, status: PROTOCOL_ERROR }).await;
            }
        }
    }

    /// The peer has ended its direction of a stream.
    fn finished(&self, id: u32, fin: bool) {
        if fin && let Some(entry) = self.lock().streams.get_mut(&id) {
            entry.inbound = None;
        }
    }
}

async fn write<W: AsyncWrite + Unpin>(
    mut io: W,
    mut queue: mpsc::Receiver<Frame>,
    ended: CancellationToken,
) -> Result<(), SpdyError> {
    let mut encoder = Encoder::new();
    let mut output = BytesMut::with_capacity(64 * 1024);
    loop {
        let frame = tokio::select! {
            biased;
            frame = queue.recv() => frame,
            () = ended.cancelled() => None,
        };
        let Some(frame) = frame else { break };
        encoder.encode(&frame, &mut output)?;
        // What else is ready goes out with the same write.
        while output.len() < 64 * 1024
            && let Ok(frame) = queue.try_recv()
        {
            encoder.encode(&frame, &mut output)?;
        }
        tokio::select! {
            outcome = async { io.write_all_buf(&mut output).await?; io.flush().await } => outcome?,
            // A peer that neither reads nor hangs up must not keep us.
            () = async { ended.cancelled().await; tokio::time::sleep(std::time::Duration::from_secs(5)).await } => break,
        }
    }
    Ok(io.shutdown().await?)
}
