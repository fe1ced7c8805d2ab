//! `/proxy/R/ID/rest`: passes a request on to what is behind a service, pod or minion, by way of v1's own proxy, and
//! makes the links of the pages that come back lead through here again.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;

use super::caller::{self, Caller};
use super::html;
use super::route::Onward;
use crate::wire::{self, Body, Incoming, Response};

/// Any verb.
pub(super) async fn proxy(caller: &Caller, to: &Onward, parts: Parts, body: Incoming) -> Response {
    let base = format!("{}/proxy", caller.object(to.row, caller.namespace(), &to.id));
    // Without this slash v1 would answer with a redirect to a path the client must not see.
    let rest = if to.rest.is_empty() { "/" } else { &to.rest };
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut request = match caller::request(parts.method, &format!("{base}{rest}{query}"), body) {
        Ok(request) => request,
        Err(status) => return caller.refuse(&status),
    };
    *request.headers_mut() = parts.headers;
    // A compressed page could not be read here; and the host is not ours to tell.
    request.headers_mut().remove(ACCEPT_ENCODING);
    request.headers_mut().remove(HOST);
    if let Some(upgrade) = parts.extensions.get::<hyper::upgrade::OnUpgrade>() {
        request.extensions_mut().insert(upgrade.clone());
    }
    let response = caller.send(request).await;
    passed_back(caller, to, &base, response).await
}

async fn passed_back(caller: &Caller, to: &Onward, base: &str, mut response: Response) -> Response {
    let links = html::Links { inner: base, outer: &to.prefix };
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    if let Some(location) = location.and_then(|location| links.rewrite(location))
        && let Ok(location) = HeaderValue::from_str(&location)
    {
        response.headers_mut().insert(LOCATION, location);
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let page = kind.starts_with("text/html");
    // A Status of v1's own is worded anew; an application's JSON error is passed on as it is.
    let refusal = !response.status().is_success() && kind.starts_with(wire::JSON);
    if !page && !refusal {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return wire::text(503, error.to_string()),
    };
    if refusal {
        if let Some(refused) = refused(caller, to, parts.status, &bytes) {
            return refused;
        }
        return Response::from_parts(parts, Body::full(bytes));
    }
    parts.headers.remove(CONTENT_LENGTH);
    let text = html::rewrite(&String::from_utf8_lossy(&bytes), &links);
    Response::from_parts(parts, Body::full(text))
}

fn refused(caller: &Caller, to: &Onward, code: StatusCode, body: &Bytes) -> Option<Response> {
    let status: Value = serde_json::from_slice(body).ok()?;
    if status["kind"] != "Status" || status["apiVersion"] != "v1" {
        return None;
    }
    if code.as_u16() >= 502 {
        // Nobody there: 2014 said so in plain text.
        let message = status["message"].as_str().unwrap_or("the backend cannot be reached");
        return Some(wire::text(503, message.to_owned()));
    }
    Some(caller.refuse(&caller::refusal(to.row, &to.id, code.as_u16(), body)))
}
