//! Collections that are no kinds: what is posted there is answered and not kept. One table.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::{Value, json};
use skiff_api::ApiError;
use skiff_api::decode::Legible;

use crate::api::Api;
use crate::authz::Authorized;
use crate::request::Target;
use crate::request::options::WriteOptions;
use crate::user::User;
use crate::verbs::input;
use crate::wire::{self, Response};

mod access;
mod rules;
mod token;
mod whoami;

/// Answers what was posted.
type Handler = fn(Arc<Api>, Authorized) -> BoxFuture<'static, Result<Response, ApiError>>;

/// One collection.
pub(crate) struct Review {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) namespaced: bool,
    pub(crate) handle: Handler,
}

/// All of them.
pub(crate) static ALL: &[&Review] = &[
    &crate::subresource::BINDINGS,
    &token::REVIEW,
    &whoami::REVIEW,
    &access::LOCAL,
    &access::OWN,
    &access::ANY,
    &rules::REVIEW,
];

/// The one of `answered` that a path names; it must be a collection of its own, not an object in it.
pub(crate) fn find(answered: &[&'static Review], target: &Target) -> Option<&'static Review> {
    let here = |review: &&&Review| {
        review.group == target.group
            && review.version == target.version
            && review.plural == target.plural
            && review.namespaced != target.namespace.is_empty()
    };
    answered.iter().find(here).copied().filter(|_| target.name.is_empty())
}

/// The body, as a `K`.
async fn posted<K: Legible>(call: Authorized, api_version: &str, kind: &str) -> Result<(K, User), ApiError> {
    let options = WriteOptions::parse(&call.info.query, "CreateOptions")?;
    let (parts, body) = call.request.into_parts();
    let json = input::json(&parts.headers, body).await?;
    Ok((input::typed(api_version, kind, &json, options.strictness)?.object, call.user))
}

/// The review with its answer.
fn answered(review: &impl Serialize, status: Value) -> Result<Response, ApiError> {
    let mut whole = serde_json::to_value(review).map_err(ApiError::internal)?;
    whole["status"] = status;
    Ok(wire::encoded(201, &whole))
}

/// A user as reviews tell of it.
fn shown(user: &User) -> Value {
    let mut shown = json!({ "username": user.name, "groups": user.groups.as_ref() });
    if !user.uid.is_empty() {
        shown["uid"] = (*user.uid).into();
    }
    if !user.extra.is_empty() {
        shown["extra"] = json!(*user.extra);
    }
    shown
}
