//! Watches: v1's stream, converted event by event, as chunks or as WebSocket text frames.
//!
//! In 2014 a watch without a revision began now, where v1 first tells what there is: the present revision is asked for
//! first, and the v1 watch starts after it.

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status as V1Status;
use serde_json::Value;
use skiff_api::v1beta1::{Row, Status};
use skiff_base::task::{Policy, Tasks};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::answer;
use super::caller::{self, Caller};
use super::fields::Filter;
use super::verbs::revision;
use crate::wire::{self, Body, Response};

/// GET of `/watch/R`.
pub(super) async fn watch(caller: Caller, row: &'static Row, mut parts: Parts, tasks: Tasks) -> Response {
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let events = match events(&caller, row).await {
        Ok(events) => events,
        Err(status) => return caller.refuse(&status),
    };
    let (Some(key), Some(upgrade)) = (websocket_key(&parts.headers), upgrade) else {
        return wire::answer(200, wire::JSON, Body::stream(events.map(Ok)));
    };
    tasks.spawn("legacy-watch", Policy::Optional, send_frames(upgrade, events, tasks.clone()));
    switching(key)
}

/// The key of a WebSocket handshake, if the request is one.
fn websocket_key(headers: &HeaderMap) -> Option<&[u8]> {
    let says = |name, word: &str| {
        let text = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        text.split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    if !says(CONNECTION, "upgrade") || !says(UPGRADE, "websocket") {
        return None;
    }
    headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes)
}

fn switching(key: &[u8]) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key)) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// Sends each event as a text frame until the stream, the client or this process ends.
async fn send_frames(
    upgrade: OnUpgrade,
    mut events: BoxStream<'static, Bytes>,
    tasks: Tasks,
) -> Result<(), Infallible> {
    // A client that goes away before or during a watch is not a fault of anybody's.
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
            event = events.next() => {
                let Some(event) = event else { break };
                let text = String::from_utf8_lossy(&event).trim_end().to_owned();
                if out.send(Message::text(text)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    // The other side may be gone already; there is nothing left to do either way.
    let _ = out.close().await;
    Ok(())
}

/// The converted events, one JSON value and a line feed each.
async fn events(caller: &Caller, row: &'static Row) -> Result<BoxStream<'static, Bytes>, Box<Status>> {
    let filter = Filter::lenient(row, caller.param("labels"), caller.param("fields"));
    let collection = caller.collection(row, caller.namespace());
    let after = match caller.param("resourceVersion") {
        "" | "0" => {
            let now = caller.fetch(row, "", &format!("{collection}?limit=1")).await?;
            revision(&now).to_string()
        }
        given => given.to_owned(),
    };
    let query = filter.query(&[("watch", "true"), ("resourceVersion", &after)]);
    let response = caller.ask(Method::GET, &format!("{collection}?{query}")).await?;
    if !response.status().is_success() {
        // `read` of a refusal never succeeds.
        return Err(match caller::read(row, "", response).await {
            Err(status) => status,
            Ok(_) => Status::error("the watch could not be opened").into(),
        });
    }
    let version = caller.version;
    let lines = lines(response.into_body());
    Ok(lines.filter_map(move |line| std::future::ready(converted(row, &filter, version, &line))).boxed())
}

/// A body cut at its line feeds; an error ends it, as it ended v1's stream.
fn lines(body: Body) -> impl futures::Stream<Item = Bytes> + Send {
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

/// One v1 event in the form of 2014; bookmarks and what the client did not ask for have none.
fn converted(row: &'static Row, filter: &Filter, version: &str, line: &[u8]) -> Option<Bytes> {
    let mut event: Value = serde_json::from_slice(line).ok()?;
    let object = event["object"].take();
    let kind = event["type"].as_str()?;
    let shown = match kind {
        "ADDED" | "MODIFIED" | "DELETED" => {
            let mut object = (row.read)(object).ok()?;
            if !filter.accepts(object.as_ref()) {
                return None;
            }
            answer::outer(object.as_mut(), version)
        }
        "ERROR" => {
            let status: V1Status = serde_json::from_value(object).unwrap_or_default();
            Status::from_v1(row, "", &status).json()
        }
        _ => return None,
    };
    Some(Bytes::from(format!("{{\"type\":\"{kind}\",\"object\":{shown}}}\n")))
}
