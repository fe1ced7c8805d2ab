//! Answers leave in the form that the client asked for. Inside, every object and every error is JSON.
//!
//! Lists and watches choose their form themselves, since they must not be held whole; what comes here is one piece. What
//! has no form in protobuf (custom resources, documents) leaves as JSON if the client takes that too.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use skiff_api::ApiError;

use super::{Call, Next};
use crate::api::Api;
use crate::protobuf;
use crate::verbs::media::{self, Form};
use crate::wire::{self, Body, Response, refusal};

pub(super) fn layer(api: Arc<Api>, call: Call, next: Next) -> BoxFuture<'static, Response> {
    let wanted = match media::negotiate(call.request.headers()) {
        Ok(Form::Protobuf | Form::PartialProtobuf(_)) => protobuf::MEDIA,
        Ok(Form::Yaml) => media::YAML,
        _ => return next.run(api, call),
    };
    let headers = call.request.headers().clone();
    Box::pin(async move {
        let mut response = next.run(api, call).await;
        if !is_json(response.headers()) {
            return response;
        }
        let Some(json) = response.body_mut().take_full() else { return response };
        let changed = if wanted == media::YAML {
            media::yaml(&json).ok().map(Bytes::from)
        } else {
            protobuf::from_json(&json).ok().map(Bytes::from)
        };
        match changed {
            Some(bytes) => {
                *response.body_mut() = Body::full(bytes);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(wanted));
                response
            }
            // An error, and what was created, must reach the client in some form.
            None if !response.status().is_success() || media::negotiate_with(&headers, false).is_ok() => {
                *response.body_mut() = Body::full(json);
                response
            }
            None => refusal(&ApiError::not_acceptable("application/json, application/yaml")),
        }
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind == wire::JSON)
}
