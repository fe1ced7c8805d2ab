//! An answer as the frames of a WebSocket, for clients that cannot read a body while it comes; upstream's `wsstream`.
//!
//! Nothing is expected from the client: it says which protocol it speaks, then it listens. What it sends is dropped.

use std::convert::Infallible;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{SinkExt, Stream, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use skiff_api::ApiError;
use skiff_base::task::{Policy, Tasks};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::wire::{Body, Response};

/// What a piece becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Text, for pieces that are text.
    Text,
    /// The bytes as they are.
    Binary,
    /// Text that stands for the bytes.
    Base64,
}

/// Protocols of a stream of bytes; a client that names none gets the bytes.
const BYTES: [(&str, Form); 2] = [("binary.k8s.io", Form::Binary), ("base64.binary.k8s.io", Form::Base64)];

/// A client's wish to be answered in frames.
pub(crate) struct Handshake {
    accept: HeaderValue,
    offered: Option<String>,
    protocol: Option<HeaderValue>,
    upgrade: OnUpgrade,
}

impl Handshake {
    /// Takes the handshake out of a request, if it is one: what is left is a request like any other.
    pub(crate) fn take<B>(request: &mut http::Request<B>) -> Option<Self> {
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        Self::of(request.headers_mut(), upgrade)
    }

    /// The same from a request's parts.
    pub(crate) fn of(headers: &mut HeaderMap, upgrade: Option<OnUpgrade>) -> Option<Self> {
        let says = |name, word: &str| {
            let value = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
            value.unwrap_or_default().split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
        };
        if !says(CONNECTION, "upgrade") || !says(UPGRADE, "websocket") {
            return None;
        }
        let accept = derive_accept_key(headers.get(SEC_WEBSOCKET_KEY)?.as_bytes()).parse().ok()?;
        let upgrade = upgrade?;
        let offered = headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
        let offered = offered.filter(|offered| !offered.is_empty()).map(str::to_owned);
        for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL] {
            headers.remove(name);
        }
        Some(Self { accept, offered, protocol: None, upgrade })
    }

    /// Agrees on how bytes are sent.
    ///
    /// # Errors
    /// 403 if the client speaks other protocols only.
    pub(crate) fn bytes(&mut self) -> Result<Form, ApiError> {
        let Some(offered) = &self.offered else { return Ok(Form::Binary) };
        let known = |word: &str| BYTES.into_iter().find(|(name, _)| *name == word);
        let Some((name, form)) = offered.split(',').find_map(|word| known(word.trim())) else {
            return Err(ApiError::new(403, "Forbidden", format!("no known protocol among: {offered}")));
        };
        self.protocol = Some(HeaderValue::from_static(name));
        Ok(form)
    }

    /// Switches protocols and sends each piece as one frame, until the stream, the client or this process ends.
    pub(crate) fn answer(self, tasks: &Tasks, form: Form, pieces: BoxStream<'static, Bytes>) -> Response {
        tasks.spawn("frames", Policy::Optional, send(self.upgrade, form, pieces, tasks.clone()));
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept);
        if let Some(protocol) = self.protocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        response
    }
}

async fn send(
    upgrade: OnUpgrade,
    form: Form,
    mut pieces: BoxStream<'static, Bytes>,
    tasks: Tasks,
) -> Result<(), Infallible> {
    // A client that goes away before or during the answer is not a fault of anybody's.
    let Ok(connection) = upgrade.await else { return Ok(()) };
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, None).await;
    let (mut out, mut back) = socket.split();
    loop {
        tokio::select! {
            () = tasks.stopped() => break,
            heard = back.next() => match heard {
                Some(Ok(message)) if !message.is_close() => {}
                _ => break,
            },
            piece = pieces.next() => {
                let Some(piece) = piece else { break };
                let message = match form {
                    Form::Text => Message::text(String::from_utf8_lossy(&piece).into_owned()),
                    Form::Binary => Message::binary(piece),
                    Form::Base64 => Message::text(STANDARD.encode(&piece)),
                };
                if out.send(message).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    // The other side may be gone already; there is nothing left to do either way.
    let _ = out.close().await;
    Ok(())
}

/// A body as it comes; an error ends it.
pub(crate) fn pieces(body: Body) -> impl Stream<Item = Bytes> + Send {
    futures::stream::unfold(body, |mut body| async move {
        loop {
            let frame = body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                return Some((data, body));
            }
        }
    })
}

/// A body cut at its line feeds; an error ends it.
pub(crate) fn lines(body: Body) -> impl Stream<Item = Bytes> + Send {
    futures::stream::unfold((body, BytesMut::new()), |(mut body, mut held)| async move {
        loop {
            if let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                let line = held.split_to(end + 1).freeze();
                return Some((line, (body, held)));
            }
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        held.extend_from_slice(data);
                    }
                }
                _ if held.is_empty() => return None,
                _ => return Some((held.split().freeze(), (body, held))),
            }
        }
    })
}
