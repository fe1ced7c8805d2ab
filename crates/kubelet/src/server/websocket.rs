//! WebSocket in the shapes Kubernetes uses: numbered channels in one socket, and a tunnel for SPDY.
//!
//! The handshake is answered here and not by a library, since the subprotocol has to be chosen among ours and the request is
//! already parsed. A connection is two tasks, as with SPDY; queues are bounded.

mod wire;

use base64::Engine;
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, Response, StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use skiff_base::Tasks;
use skiff_base::task::Policy;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(super) use wire::Wire;

use crate::spdy::Closed;

/// A message above this is refused; clients send at most some tens of kilobytes at once.
const LONGEST_MESSAGE: usize = 4 * 1024 * 1024;

type Io = WebSocketStream<TokioIo<Upgraded>>;

/// Whether a request wants a WebSocket.
pub(super) fn is_requested(headers: &HeaderMap) -> bool {
    let has = |name, token: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    has(header::CONNECTION, "upgrade") && has(header::UPGRADE, "websocket")
}

/// The subprotocols the client offers, in its order.
pub(super) fn offered(headers: &HeaderMap) -> Vec<String> {
    let values =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// The answer that changes over to WebSocket, or why it cannot be given.
pub(super) fn accept<B: Default>(headers: &HeaderMap, protocol: &str) -> Result<Response<B>, &'static str> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or("missing Sec-WebSocket-Key header")?;
    let sound =
        base64::engine::general_purpose::STANDARD.decode(key.as_bytes()).is_ok_and(|key| key.len() == 16);
    if !sound {
        return Err("invalid Sec-WebSocket-Key header");
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err("unsupported Sec-WebSocket-Version");
    }
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()));
    if !protocol.is_empty() {
        response = response.header(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response.body(B::default()).map_err(|_| "invalid subprotocol")
}

async fn open(upgraded: Upgraded) -> Io {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LONGEST_MESSAGE))
        .max_frame_size(Some(LONGEST_MESSAGE))
        // Streams are interactive: nothing is kept back to make larger writes.
        .write_buffer_size(0);
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await
}

/// A socket with numbered channels. Dropping it hangs up.
pub(super) struct Socket {
    wire: Wire,
    inputs: Vec<Option<mpsc::Receiver<Bytes>>>,
    messages: mpsc::Sender<Message>,
    ended: CancellationToken,
    _stop: DropGuard,
}

/// The way to the client on one channel.
#[derive(Clone)]
pub(super) struct Lane {
    wire: Wire,
    channel: u8,
    messages: mpsc::Sender<Message>,
}

impl Lane {
    pub(super) async fn write(&self, bytes: Bytes) -> Result<(), Closed> {
        self.messages.send(self.wire.encode(self.channel, &bytes)).await.map_err(|_| Closed)
    }
}

impl Socket {
    /// Starts on an upgraded connection; `reads` says for each channel whether the client may write to it.
    pub(super) async fn start(upgraded: Upgraded, wire: Wire, reads: &[bool]) -> Self {
        let (sink, stream) = open(upgraded).await.split();
        let (messages, queue) = mpsc::channel(64);
        let ended = CancellationToken::new();
        let mut senders = Vec::new();
        let mut inputs = Vec::new();
        for wanted in reads {
            let (sender, receiver) = mpsc::channel(64);
            senders.push(wanted.then_some(sender));
            inputs.push(wanted.then_some(receiver));
        }
        let tasks = Tasks::new();
        let until = ended.clone();
        tasks.spawn("websocket reader", Policy::Optional, async move {
            tokio::select! {
                () = read(stream, wire, senders) => {}
                () = until.cancelled() => {}
            }
            until.cancel();
            Ok::<(), WsError>(())
        });
        let until = ended.clone();
        tasks.spawn("websocket writer", Policy::Optional, async move {
            if let Err(error) = write(sink, queue, until.clone()).await {
                tracing::debug!(%error, "websocket cannot be written");
            }
            until.cancel();
            Ok::<(), WsError>(())
        });
        Self { wire, inputs, messages, ended: ended.clone(), _stop: ended.drop_guard() }
    }

    /// What the client writes on a channel; once.
    pub(super) fn take_input(&mut self, channel: u8) -> Option<mpsc::Receiver<Bytes>> {
        self.inputs.get_mut(usize::from(channel))?.take()
    }

    /// The way to the client on a channel.
    pub(super) fn lane(&self, channel: u8) -> Lane {
        Lane { wire: self.wire, channel, messages: self.messages.clone() }
    }

    /// Resolves when the client has hung up.
    pub(super) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Says goodbye and waits until the client has hung up too.
    pub(super) async fn close(self, patience: Duration) {
        // Without the code for a normal end kubectl takes the end for a failure.
        let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _gone = self.messages.send(Message::Close(Some(normal))).await;
        let _impatient = tokio::time::timeout(patience, self.ended.cancelled()).await;
    }
}

async fn read(mut stream: SplitStream<Io>, wire: Wire, mut inputs: Vec<Option<mpsc::Sender<Bytes>>>) {
    while let Some(Ok(message)) = stream.next().await {
        let Some((channel, bytes)) = wire.decode(message) else { continue };
        if wire.closes_channels() && channel == wire::CLOSE_CHANNEL {
            if let Some(input) = bytes.first().and_then(|closed| inputs.get_mut(usize::from(*closed))) {
                *input = None;
            }
            continue;
        }
        if let Some(Some(input)) = inputs.get(usize::from(channel))
            && !bytes.is_empty()
        {
            // Whoever no longer reads does not want it.
            let _unread = input.send(bytes).await;
        }
    }
}

async fn write(
    mut sink: SplitSink<Io, Message>,
    mut queue: mpsc::Receiver<Message>,
    ended: CancellationToken,
) -> Result<(), WsError> {
    loop {
        let message = tokio::select! {
            biased;
            message = queue.recv() => message,
            () = ended.cancelled() => None,
        };
        let Some(message) = message else { return Ok(()) };
        tokio::select! {
            sent = sink.send(message) => sent?,
            // A client that neither reads nor hangs up must not keep us.
            () = async { ended.cancelled().await; tokio::time::sleep(Duration::from_secs(5)).await } => return Ok(()),
        }
    }
}

/// Takes the frames off a socket whose binary messages are a plain stream of bytes (kubectl's SPDY tunnel).
pub(super) async fn tunnel(upgraded: Upgraded) -> DuplexStream {
    let (mut sink, mut stream) = open(upgraded).await.split();
    let (ours, theirs) = tokio::io::duplex(128 * 1024);
    let (mut from_us, mut to_us) = tokio::io::split(ours);
    Tasks::new().spawn("websocket tunnel", Policy::Optional, async move {
        let inwards = async {
            while let Some(Ok(message)) = stream.next().await {
                if let Message::Binary(bytes) = message
                    && to_us.write_all(&bytes).await.is_err()
                {
                    return;
                }
            }
        };
        let outwards = async {
            let mut buffer = bytes::BytesMut::new();
            loop {
                buffer.reserve(32 * 1024);
                match from_us.read_buf(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => sink.send(Message::Binary(buffer.split().freeze())).await?,
                }
            }
            let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            sink.send(Message::Close(Some(normal))).await
        };
        // Whichever side ends first ends the tunnel: SPDY has its own goodbye inside.
        tokio::select! {
            () = inwards => {}
            outcome = outwards => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, "websocket tunnel cannot be written");
                }
            }
        }
        Ok::<(), WsError>(())
    });
    theirs
}
