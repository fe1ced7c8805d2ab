//! No anonymous door: who shows neither certificate nor token is told so, except where health and version are asked for,
//! or where the configuration lets everybody in. What they may do there is a question of rights as for anybody.

use std::sync::Arc;

use futures::future::BoxFuture;
use skiff_api::ApiError;

use super::{Call, Next};
use crate::api::Api;
use crate::authn::{self, Peer};
use crate::request::Verb;
use crate::user::User;
use crate::wire::{Response, refusal};

/// Whether somebody may come who has not shown who they are.
fn is_open(api: &Api, call: &Call) -> bool {
    match &api.settings.anonymous {
        Some(anonymous) => {
            let paths = &anonymous.paths;
            anonymous.enabled && (paths.is_empty() || paths.contains(&call.info.path))
        }
        None => crate::authz::is_public(&call.info.path) && call.info.verb == Verb::Get,
    }
}

pub(super) fn layer(api: Arc<Api>, mut call: Call, next: Next) -> BoxFuture<'static, Response> {
    Box::pin(async move {
        let user = match authn::identify(&api, &call.peer, call.request.headers_mut()).await {
            Ok(Some(user)) => user,
            Ok(None) if is_open(&api, &call) => User::anonymous(),
            Ok(None) => return refusal(&ApiError::unauthorized()),
            Err(error) => return refusal(&error),
        };
        call.peer = Peer::Known(user);
        next.run(api, call).await
    })
}
