//! Watches: v1's stream, converted event by event, as chunks or as WebSocket text frames.
//!
//! In 2014 a watch without a revision began now, where v1 first tells what there is: the present revision is asked for
//! first, and the v1 watch starts after it.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::Method;
use http::request::Parts;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status as V1Status;
use serde_json::Value;
use skiff_api::v1beta1::{Row, Status};
use skiff_base::task::Tasks;

use super::answer;
use super::caller::{self, Caller};
use super::fields::Filter;
use super::verbs::revision;
use crate::stream::frames::{self, Form, Handshake};
use crate::wire::{self, Body, Response};

/// GET of `/watch/R`.
pub(super) async fn watch(caller: Caller, row: &'static Row, mut parts: Parts, tasks: Tasks) -> Response {
    let upgrade = parts.extensions.remove();
    let handshake = Handshake::of(&mut parts.headers, upgrade);
    let events = match events(&caller, row).await {
        Ok(events) => events,
        Err(status) => return caller.refuse(&status),
    };
    match handshake {
        // In 2014 a frame had no line feed at its end.
        Some(handshake) => {
            let events = events.map(|event| event.slice(..event.trim_ascii_end().len())).boxed();
            handshake.answer(&tasks, Form::Text, events)
        }
        None => wire::answer(200, wire::JSON, Body::stream(events.map(Ok))),
    }
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
    let lines = frames::lines(response.into_body());
    Ok(lines.filter_map(move |line| std::future::ready(converted(row, &filter, version, &line))).boxed())
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
            let status: V1Status = skiff_api::decode::from_tree(&object).unwrap_or_default();
            Status::from_v1(row, "", &status).json()
        }
        _ => return None,
    };
    Some(Bytes::from(format!("{{\"type\":\"{kind}\",\"object\":{shown}}}\n")))
}
