//! The change from HTTP to a stream of channels: which protocol, and the answer that agrees to it.
//!
//! Deciding is pure and comes first (a refusal is an HTTP answer); connecting happens after the answer is on its way.

use std::time::Duration;

use http::{HeaderMap, Response, StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use super::answer::{self, Body};
use super::websocket::{self, Socket, Wire};
use crate::spdy::{Connection, Role};

const PROTOCOL_HEADER: &str = "x-stream-protocol-version";
/// The subprotocol under which kubectl sends SPDY frames through a WebSocket.
pub(super) const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// What an endpoint speaks.
pub(super) struct Offer {
    /// Over SPDY, best first.
    pub(super) spdy: &'static [&'static str],
    /// What clients get that negotiate nothing.
    pub(super) unnamed: &'static str,
    /// Over WebSocket.
    pub(super) sockets: &'static [&'static str],
}

/// What was agreed.
pub(super) struct Agreed {
    how: How,
    protocol: String,
    /// The 101.
    pub(super) answer: Response<Body>,
}

enum How {
    Spdy,
    Socket(Wire),
    Tunnel,
}

/// Agrees on a protocol, or answers why not.
pub(super) fn agree(headers: &HeaderMap, offer: &Offer) -> Result<Agreed, Box<Response<Body>>> {
    if websocket::is_requested(headers) {
        return agree_socket(headers, offer);
    }
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !upgrade.to_ascii_lowercase().contains("spdy/3.1") {
        return Err(Box::new(answer::text(
            StatusCode::BAD_REQUEST,
            "unable to upgrade: missing upgrade headers in request",
        )));
    }
    let offered: Vec<&str> = headers
        .get_all(PROTOCOL_HEADER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    // The client's order decides; a client of 1.0 sends none.
    let chosen = match offered.iter().find(|name| offer.spdy.contains(name)) {
        Some(name) => *name,
        None if offered.is_empty() => offer.unnamed,
        None => {
            let text = format!(
                "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {:?}",
                offer.spdy
            );
            let mut refusal = answer::text(StatusCode::FORBIDDEN, &text);
            for name in offer.spdy {
                refusal
                    .headers_mut()
                    .append("x-accepted-stream-protocol-versions", http::HeaderValue::from_static(name));
            }
            return Err(Box::new(refusal));
        }
    };
    let mut answer = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
    answer.headers_mut().insert(header::CONNECTION, http::HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(header::UPGRADE, http::HeaderValue::from_static("SPDY/3.1"));
    if !offered.is_empty()
        && let Ok(name) = http::HeaderValue::from_str(chosen)
    {
        answer.headers_mut().insert(PROTOCOL_HEADER, name);
    }
    Ok(Agreed { how: How::Spdy, protocol: chosen.to_owned(), answer })
}

fn agree_socket(headers: &HeaderMap, offer: &Offer) -> Result<Agreed, Box<Response<Body>>> {
    let offered = websocket::offered(headers);
    let chosen = match offered.iter().find(|name| offer.sockets.contains(&name.as_str())) {
        Some(name) => name.clone(),
        None if offered.is_empty() => String::new(),
        None => {
            let text =
                format!("requested protocol(s) are not supported: {offered:?}; supports {:?}", offer.sockets);
            return Err(Box::new(answer::text(StatusCode::FORBIDDEN, &text)));
        }
    };
    let how = if chosen == TUNNEL {
        How::Tunnel
    } else {
        How::Socket(Wire::named(&chosen).unwrap_or(Wire { base64: false, version: 1 }))
    };
    let answer = websocket::accept(headers, &chosen)
        .map_err(|why| Box::new(answer::text(StatusCode::BAD_REQUEST, why)))?;
    Ok(Agreed { how, protocol: chosen, answer })
}

/// A connection to a client, in the protocol agreed on.
pub(super) struct Connected {
    pub(super) carrier: Carrier,
    pub(super) protocol: String,
}

pub(super) enum Carrier {
    Spdy(Connection),
    Socket(Socket, Wire),
}

impl Agreed {
    /// Whether the channels are fixed in number (WebSocket) and not opened by the client (SPDY).
    pub(super) fn has_fixed_channels(&self) -> bool {
        matches!(self.how, How::Socket(_))
    }

    /// The 101, leaving what is needed to go on afterwards.
    pub(super) fn take_answer(&mut self) -> Response<Body> {
        std::mem::replace(&mut self.answer, answer::empty(StatusCode::OK))
    }

    /// Starts the protocol. `reads` says which channels the client may write to, where they are fixed.
    pub(super) async fn connect(self, upgraded: Upgraded, reads: &[bool]) -> Connected {
        let carrier = match self.how {
            How::Spdy => Carrier::Spdy(Connection::start(TokioIo::new(upgraded), Role::Server)),
            How::Socket(wire) => Carrier::Socket(Socket::start(upgraded, wire, reads).await, wire),
            How::Tunnel => Carrier::Spdy(Connection::start(websocket::tunnel(upgraded).await, Role::Server)),
        };
        Connected { carrier, protocol: self.protocol }
    }
}

impl Carrier {
    /// Resolves when the client has hung up.
    pub(super) fn ended(&self) -> CancellationToken {
        match self {
            Self::Spdy(connection) => connection.ended(),
            Self::Socket(socket, _) => socket.ended(),
        }
    }

    /// Says goodbye.
    pub(super) async fn close(self, patience: Duration) {
        match self {
            Self::Spdy(connection) => connection.close(patience).await,
            Self::Socket(socket, _) => socket.close(patience).await,
        }
    }
}
