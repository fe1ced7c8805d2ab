//! No anonymous door: who shows no certificate is told so, except where health and version are asked for.

use std::sync::Arc;

use futures::future::BoxFuture;
use skiff_api::ApiError;

use super::{Call, Next};
use crate::api::Api;
use crate::authn::Peer;
use crate::request::Verb;
use crate::user::User;
use crate::wire::{Response, refusal};

/// How upstream calls those whom it does not know.
const ANONYMOUS: &str = "system:anonymous";

pub(super) fn layer(api: Arc<Api>, mut call: Call, next: Next) -> BoxFuture<'static, Response> {
    if call.peer == Peer::Unknown {
        let public = crate::authz::is_public(&call.info.path) && call.info.verb == Verb::Get;
        if !public {
            return Box::pin(std::future::ready(refusal(&ApiError::unauthorized())));
        }
        call.peer = Peer::Known(User::anonymous(ANONYMOUS));
    }
    next.run(api, call)
}
