//! Tells the audit log of every request that its policy wants told; without a log there is nothing to do.
//!
//! Bodies are read here only if the policy wants them. The answer is still JSON at this place: the layers outside change
//! its form.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::USER_AGENT;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use super::impersonation::Impersonated;
use super::{Call, Next};
use crate::api::Api;
use crate::audit::event::{Outcome, Subject};
use crate::audit::policy::{Level, Stage};
use crate::audit::{Log, Notes};
use crate::authn::Peer;
use crate::request::{Info, Verb};
use crate::verbs::input;
use crate::wire::{self, Body, Response, refusal};
use skiff_api::{cbor, protobuf};

/// The id of a request, in the log and in its answer.
pub(super) const ID: &str = "audit-id";

pub(super) fn layer(api: Arc<Api>, call: Call, next: Next) -> BoxFuture<'static, Response> {
    let Some(log) = api.audit.get().cloned() else { return next.run(api, call) };
    let user = match &call.peer {
        Peer::Known(user) => Some(user),
        Peer::FrontProxy | Peer::Unknown => None,
    };
    let decision = log.policy.judge(user, &call.info);
    if decision.level == Level::None {
        return next.run(api, call);
    }
    let headers = call.request.headers();
    let text =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let subject = Subject {
        id: text(ID),
        decision,
        uri: call.request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        info: call.info.clone(),
        user: user.cloned(),
        impersonated: None,
        source: sources(&call, &text("x-forwarded-for")),
        agent: text(USER_AGENT.as_str()),
        received: api.clock.now(),
        request: None,
        annotations: BTreeMap::new(),
    };
    Box::pin(told(api, call, next, log, subject))
}

async fn told(api: Arc<Api>, mut call: Call, next: Next, log: Log, mut subject: Subject) -> Response {
    let tell = |subject: &Subject, stage, outcome: Option<&Outcome>| {
        if subject.decision.tells(stage) {
            log.tell(subject.line(stage, api.clock.now(), outcome));
        }
    };
    tell(&subject, Stage::RequestReceived, None);
    let writes = !matches!(call.info.verb, Verb::Get | Verb::List | Verb::Watch | Verb::Other);
    if subject.decision.level >= Level::Request && writes && !is_long(&call.info) {
        let (parts, body) = call.request.into_parts();
        let bytes = match input::read(&parts.headers, body).await {
            Ok(bytes) => bytes,
            Err(error) => return refusal(&error),
        };
        subject.request = as_json(&bytes);
        call.request = http::Request::from_parts(parts, wire::incoming(Full::new(bytes)));
    }
    let other = Impersonated::default();
    call.request.extensions_mut().insert(other.clone());
    let notes = Notes::default();
    let response = notes.during(next.run(Arc::clone(&api), call)).await;
    subject.annotations = notes.take();
    subject.impersonated = other.0.get().cloned();
    let mut outcome = Outcome { code: response.status().as_u16(), response: None };
    if is_long(&subject.info) && response.status().as_u16() < 400 {
        tell(&subject, Stage::ResponseStarted, Some(&outcome));
        let ended = Ended { api: Arc::clone(&api), log: log.clone(), subject, outcome };
        return response.map(|body| body.kept_until_end(ended));
    }
    let (parts, mut body) = response.into_parts();
    let whole = subject.decision.level == Level::RequestResponse && body.is_finite();
    let bytes = match body.take_full() {
        Some(bytes) => Some(bytes),
        None if whole => body.collect().await.ok().map(http_body_util::Collected::to_bytes),
        None => return finish(&tell, &subject, &outcome, parts, body),
    };
    outcome.response = bytes.as_ref().and_then(as_json);
    finish(&tell, &subject, &outcome, parts, Body::full(bytes.unwrap_or_default()))
}

fn finish(
    tell: &impl Fn(&Subject, Stage, Option<&Outcome>),
    subject: &Subject,
    outcome: &Outcome,
    parts: http::response::Parts,
    body: Body,
) -> Response {
    tell(subject, Stage::ResponseComplete, Some(outcome));
    Response::from_parts(parts, body)
}

/// Tells of the end of a long answer when its body is gone.
struct Ended {
    api: Arc<Api>,
    log: Log,
    subject: Subject,
    outcome: Outcome,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if self.subject.decision.tells(Stage::ResponseComplete) {
            let now = self.api.clock.now();
            self.log.tell(self.subject.line(Stage::ResponseComplete, now, Some(&self.outcome)));
        }
    }
}

fn is_long(info: &Info) -> bool {
    super::deadline::is_long(info)
}

/// A body as JSON, whatever it was written in; nothing if it has no such form.
fn as_json(bytes: &Bytes) -> Option<Value> {
    if bytes.is_empty() {
        return None;
    }
    let from_cbor = || serde_json::from_slice(&cbor::to_json(bytes).ok()?).ok();
    let from_protobuf = || serde_json::from_slice(&protobuf::to_json(bytes).ok()?).ok();
    let from_yaml = || serde_json::from_slice(&skiff_api::decode::yaml_to_json(bytes).ok()?).ok();
    serde_json::from_slice(bytes).ok().or_else(from_protobuf).or_else(from_cbor).or_else(from_yaml)
}

/// The addresses a request came by, the client's first.
fn sources(call: &Call, forwarded: &str) -> Vec<String> {
    let mut found: Vec<String> =
        forwarded.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    if let Some(from) = call.request.extensions().get::<crate::serve::From>() {
        let from = from.0.ip().to_string();
        if found.last() != Some(&from) {
            found.push(from);
        }
    }
    found
}
