//! The way in: the layers every request passes, in one list, read from top to bottom.
//!
//! Long answers (watches, logs, upgrades) leave through the same layers at once, with a body that goes on; no layer may
//! hold back or bound a body.

use std::sync::Arc;

use futures::future::BoxFuture;
use skiff_api::ApiError;

use crate::api::Api;
use crate::authn::Peer;
use crate::request::Info;
use crate::wire::{Request, Response, refusal};
use crate::{authz, verbs};

mod audit;
mod deadline;
mod fairness;
mod form;
mod gzip;
mod id;
mod identity;
mod impersonation;
mod log;
mod panic;
mod pretty;

/// A request on its way through the layers.
pub(crate) struct Call {
    pub(crate) request: Request,
    pub(crate) info: Info,
    pub(crate) peer: Peer,
}

/// One layer: looks at the call, lets the rest deal with it, looks at the answer.
type Layer = fn(Arc<Api>, Call, Next) -> BoxFuture<'static, Response>;

/// From the outermost to the innermost; behind the last one authorisation decides and the verbs act.
static LAYERS: &[Layer] = &[
    id::layer,
    panic::layer,
    log::layer,
    gzip::layer,
    form::layer,
    deadline::layer,
    identity::layer,
    audit::layer,
    impersonation::layer,
    fairness::layer,
];

/// The rest of the chain.
#[derive(Clone, Copy)]
pub(crate) struct Next(usize);

impl Next {
    /// Lets the rest of the chain answer.
    pub(crate) fn run(self, api: Arc<Api>, call: Call) -> BoxFuture<'static, Response> {
        match LAYERS.get(self.0) {
            Some(layer) => layer(api, call, Self(self.0 + 1)),
            None => Box::pin(act(api, call)),
        }
    }
}

/// Answers a request.
pub(crate) fn serve(api: Arc<Api>, peer: Peer, request: Request) -> BoxFuture<'static, Response> {
    let uri = request.uri();
    let info = Info::parse(request.method(), uri.path(), uri.query().unwrap_or_default());
    Next(0).run(api, Call { request, info, peer })
}

async fn act(api: Arc<Api>, call: Call) -> Response {
    let Peer::Known(user) = call.peer else { return refusal(&ApiError::unauthorized()) };
    match authz::decide(&api, call.info, user, call.request).await {
        Ok(authorized) => verbs::serve(&api, authorized).await,
        Err(error) => refusal(&error),
    }
}
