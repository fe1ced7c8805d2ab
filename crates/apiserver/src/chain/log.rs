//! One line and one count for every request.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{Call, Next};
use crate::api::Api;
use crate::authn::Peer;
use crate::wire::Response;

pub(super) fn layer(api: Arc<Api>, call: Call, next: Next) -> BoxFuture<'static, Response> {
    Box::pin(async move {
        let started = tokio::time::Instant::now();
        let method = call.info.method.clone();
        let verb = call.info.verb;
        let path = call.info.path.clone();
        let plural = call.info.target.as_ref().map(|target| target.plural.clone()).unwrap_or_default();
        let user = match &call.peer {
            Peer::Known(user) => Arc::clone(&user.name),
            Peer::FrontProxy | Peer::Unknown => "".into(),
        };
        let response = next.run(Arc::clone(&api), call).await;
        let code = response.status().as_u16();
        api.counters.request(verb, &plural, code, started.elapsed());
        tracing::debug!(%method, path, %user, code, elapsed = ?started.elapsed(), "request");
        response
    })
}
