//! Every request has an id, the client's own or a new one; its answer bears it, and so does the audit log.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::HeaderValue;

use super::{Call, Next, audit};
use crate::api::Api;
use crate::wire::Response;

pub(super) fn layer(api: Arc<Api>, mut call: Call, next: Next) -> BoxFuture<'static, Response> {
    let own = call.request.headers().get(audit::ID).filter(|id| id.len() <= 64 && !id.is_empty()).cloned();
    let id = own.or_else(|| HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).ok());
    let Some(id) = id else { return next.run(api, call) };
    call.request.headers_mut().insert(audit::ID, id.clone());
    Box::pin(async move {
        let mut response = next.run(api, call).await;
        response.headers_mut().insert(audit::ID, id);
        response
    })
}
