//! No request takes for ever, except those that are meant to: watches, streams and proxied calls.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use skiff_api::ApiError;

use super::{Call, Next};
use crate::api::Api;
use crate::request::{Info, Verb};
use crate::wire::{Response, refusal};

/// Upstream's `--request-timeout`.
const PATIENCE: Duration = Duration::from_secs(60);

/// Subresources whose answers come from elsewhere.
const LONG: [&str; 5] = ["log", "exec", "attach", "portforward", "proxy"];

pub(super) fn layer(api: Arc<Api>, call: Call, next: Next) -> BoxFuture<'static, Response> {
    if is_long(&call.info) {
        return next.run(api, call);
    }
    Box::pin(async move {
        match tokio::time::timeout(PATIENCE, next.run(api, call)).await {
            Ok(response) => response,
            Err(_) => refusal(
                &ApiError::new(
                    504,
                    "Timeout",
                    "Timeout: request did not complete within the allotted timeout",
                )
                .retry_after(1),
            ),
        }
    })
}

fn is_long(info: &Info) -> bool {
    info.verb == Verb::Watch
        || info.target.as_ref().is_some_and(|target| LONG.contains(&target.subresource.as_str()))
        // The API of 2014 watches and proxies by path.
        || info.path.starts_with("/api/v1beta1/")
}
