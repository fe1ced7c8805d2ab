//! GET of one object: its stored bytes.

use std::sync::Arc;
use std::time::Duration;

use skiff_api::ApiError;

use super::{Context, media};
use crate::api::Api;
use crate::authz::Authorized;
use crate::wire::Response;

/// How long a read waits for a revision that is yet to come.
const PATIENCE: Duration = Duration::from_secs(3);

/// Answers with one object.
pub(crate) async fn get(context: &Context, call: Authorized) -> Result<Response, ApiError> {
    let form = media::negotiate(call.request.headers())?;
    if let Some(text) = call.info.query.get("resourceVersion") {
        let revision = text.parse().map_err(|_| {
            ApiError::bad_request(format!("Invalid value: {text:?}: must be a resource version"))
        })?;
        not_older(&context.api, revision).await?;
    }
    let object = match context.entry.computed {
        Some(computed) => {
            let found = computed(&context.api).into_iter().find(|it| *it.meta().name == *context.target.name);
            Arc::new(found.ok_or_else(|| ApiError::not_found(&context.entry.resource, &context.target.name))?)
        }
        None => context.scope(&call.user).existing().await?,
    };
    context.object(&call.info, &form, 200, object.bytes().clone())
}

/// Waits until readers see `revision`.
///
/// # Errors
/// 504 if it does not come in time.
pub(crate) async fn not_older(api: &Api, revision: u64) -> Result<(), ApiError> {
    if tokio::time::timeout(PATIENCE, api.store.wait_for(revision)).await.is_ok() {
        return Ok(());
    }
    Err(too_large(revision, api.store.revision()))
}

/// 504: a revision from the future.
pub(crate) fn too_large(revision: u64, current: u64) -> ApiError {
    let message = format!("Too large resource version: {revision}, current: {current}");
    ApiError::new(504, "Timeout", message)
        .cause("ResourceVersionTooLarge", "Too large resource version", "")
        .retry_after(1)
}
