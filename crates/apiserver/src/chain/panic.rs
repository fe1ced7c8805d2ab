//! A fault of ours in one request must not reach another: a panic becomes a 500.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use skiff_api::ApiError;

use super::{Call, Next};
use crate::api::Api;
use crate::wire::{Response, refusal};

pub(super) fn layer(api: Arc<Api>, call: Call, next: Next) -> BoxFuture<'static, Response> {
    Box::pin(async move {
        let (method, path) = (call.info.method.clone(), call.info.path.clone());
        // What a panic leaves half-done is the request's own; shared state changes through the store alone.
        match AssertUnwindSafe(next.run(api, call)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                tracing::error!(%method, path, "a request handler panicked");
                let message = "This request caused apiserver to panic. Look in the logs for details.";
                refusal(&ApiError::new(500, "InternalError", message))
            }
        }
    })
}
