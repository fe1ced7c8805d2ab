//! Answers leave in the form that the client asked for. Inside, every object and every error is JSON; people get it with
//! line breaks.
//!
//! Lists and watches choose their form themselves, since they must not be held whole; what comes here is one piece. What
//! has no form in protobuf (custom resources, documents) or CBOR (documents) leaves as JSON if the client takes that too.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http_body_util::BodyStream;
use skiff_api::ApiError;

use super::pretty::Pretty;
use super::{Call, Next};
use crate::api::Api;
use crate::verbs::media::{self, Form};
use crate::wire::{self, Body, Response, refusal};
use skiff_api::{cbor, protobuf};

/// Makes another form of JSON; nothing if there is none.
type Write = fn(&[u8]) -> Option<Bytes>;

pub(super) fn layer(api: Arc<Api>, call: Call, next: Next) -> BoxFuture<'static, Response> {
    let (wanted, written): (_, Write) = match media::negotiate(call.request.headers()) {
        Ok(Form::Protobuf | Form::PartialProtobuf(_)) => {
            (protobuf::MEDIA, |json| protobuf::from_json(json).ok().map(Bytes::from))
        }
        Ok(Form::Cbor | Form::PartialCbor(_)) => {
            (cbor::MEDIA, |json| cbor::from_json(json).ok().map(Bytes::from))
        }
        Ok(Form::Yaml) => (media::YAML, |json| media::yaml(json).ok().map(Bytes::from)),
        _ if wants_lines(&call) => return Box::pin(in_lines(api, call, next)),
        _ => return next.run(api, call),
    };
    let headers = call.request.headers().clone();
    Box::pin(async move {
        let mut response = next.run(api, call).await;
        if !is_json(response.headers()) {
            return response;
        }
        let Some(json) = response.body_mut().take_full() else { return response };
        match written(&json) {
            Some(bytes) => {
                *response.body_mut() = Body::full(bytes);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(wanted));
                response
            }
            // An error, and what was created, must reach the client in some form.
            None if !response.status().is_success()
                || media::negotiate_with(&headers, |form| matches!(form, Form::Json | Form::Yaml))
                    .is_ok() =>
            {
                *response.body_mut() = Body::full(json);
                response
            }
            None => refusal(&ApiError::not_acceptable("application/json, application/yaml")),
        }
    })
}

/// Whether JSON is to have line breaks: if the query says so, else if the client is one that people read.
fn wants_lines(call: &Call) -> bool {
    let agent =
        call.request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let read = ["curl", "Wget", "Mozilla/5.0"].iter().any(|known| agent.starts_with(known));
    call.info.query.maybe_flag("pretty").unwrap_or(read)
}

async fn in_lines(api: Arc<Api>, call: Call, next: Next) -> Response {
    let response = next.run(api, call).await;
    if !is_json(response.headers()) || !response.body().is_finite() {
        return response;
    }
    response.map(|mut body| {
        let mut pretty = Pretty::default();
        match body.take_full() {
            Some(json) => Body::full(pretty.piece(&json)),
            None => Body::stream(BodyStream::new(body).map(move |frame| {
                frame.map(|frame| pretty.piece(&frame.into_data().unwrap_or_default()).into())
            })),
        }
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind == wire::JSON)
}
