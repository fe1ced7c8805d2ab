//! The API of 2014 as a conversion at the door: paths, selectors, objects, watches and errors of `/api/v1beta1` become
//! v1 requests to this same server, and their answers are converted back. Nothing behind the door knows of it.
//!
//! The door stands after authentication and before authorisation: each v1 request it makes carries the extensions of
//! the request it came from (who is asking among them) and passes every check a v1 client's would. What it may do that
//! a v1 client may not is one thing: create pods and replication controllers under names of 2014, which travels as the
//! typed extension [`LegacyName`].
//!
//! # What it answers where the profiles differ
//! Input of A (v0.4), B (v0.5 to v0.7) and L (up to 2015) is accepted, answers have A's shape. Without `namespace=` a
//! list is of `default` (A). Status codes are those of the v0.7.4 integration test, kept in this module's tests; a path
//! or method that is not in the table is A's plain-text 404. Every write is finished when it is answered, so `sync` and
//! `timeout` are accepted and there is never an operation to poll. `/logs/` and `/static/` of 2014 are not served: the
//! one would publish the machine's logs, the other is the dashboard's.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::{Method, StatusCode};
use skiff_base::task::Tasks;

use crate::user::User;
use crate::wire::{self, Request, Response};

mod answer;
mod caller;
mod fields;
mod html;
mod proxy;
mod redirect;
mod route;
mod selector;
mod service;
mod validate;
mod verbs;
mod watch;

#[cfg(test)]
mod tests;

use caller::Caller;
use route::Route;

/// Marks a v1 request whose object may have a name of 2014: the registry skips the format check of names, for pods and
/// replication controllers only. What must hold instead is that [`skiff_api::v1beta1::name_fault`] finds nothing.
#[derive(Clone, Copy, Debug)]
pub struct LegacyName;

/// The v1 server from after authentication on.
pub trait Backend: Send + Sync + 'static {
    /// Answers a v1 request with the caller's extensions attached.
    fn call(&self, request: Request) -> BoxFuture<'static, Response>;
}

/// The door.
#[derive(Clone)]
pub struct Door {
    backend: Arc<dyn Backend>,
    tasks: Tasks,
}

impl Door {
    /// A door in front of `backend`; `tasks` own the watches that run over WebSockets.
    pub fn new(backend: Arc<dyn Backend>, tasks: Tasks) -> Self {
        Self { backend, tasks }
    }

    /// Answers a request whose path [`claims`] is true for.
    pub fn answer(&self, request: Request) -> BoxFuture<'static, Response> {
        // Boxed here: conversions are large futures, and most requests are not for this door.
        Box::pin(self.clone().route(request))
    }

    async fn route(self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let (version, route) = route::route(&parts.method, parts.uri.path());
        let caller = Caller::new(Arc::clone(&self.backend), &parts, version, &query);
        match route {
            Route::Index => answer::index(version),
            Route::List(row) if caller.flag("watch") => watch::watch(caller, row, parts, self.tasks).await,
            Route::List(row) => verbs::list(&caller, row).await,
            Route::Get(row, id) => verbs::get(&caller, row, &id).await,
            Route::Create(row) => verbs::create(&caller, row, body).await,
            Route::Update(row, id) => verbs::update(&caller, row, &id, body).await,
            Route::Delete(row, id) => verbs::delete(&caller, row, &id).await,
            Route::Bind => verbs::bind(&caller, body).await,
            Route::Watch(row) => watch::watch(caller, row, parts, self.tasks).await,
            Route::Redirect(row, id) => redirect::redirect(&caller, row, &id).await,
            Route::Proxy(to) => proxy::proxy(&caller, &to, parts, body).await,
            Route::Operations => answer::operations(version),
            Route::Validate => validate::validate(&caller).await,
            Route::Refused(status) => answer::status(&status, version),
            Route::Unknown => answer::unknown(&parts.uri),
        }
    }
}

/// Whether a path is the door's.
pub fn claims(path: &str) -> bool {
    let under =
        |base: &str| path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    under("/api/v1beta1")
        || under("/api/v1beta2")
        || path == "/validate"
        || path.starts_with("/proxy/minion/")
}

/// The plain port of 2014: whoever reaches it is `user`. To be bound to loopback only.
#[derive(Clone)]
pub struct PlainPort {
    door: Door,
    backend: Arc<dyn Backend>,
    user: User,
}

impl PlainPort {
    /// What clients of 2014 find on port 8080.
    pub fn new(door: Door, backend: Arc<dyn Backend>, user: User) -> Self {
        Self { door, backend, user }
    }

    /// Answers a request of anybody's.
    pub async fn answer(&self, mut request: Request) -> Response {
        request.extensions_mut().insert(self.user.clone());
        let path = request.uri().path();
        if claims(path) {
            return self.door.answer(request).await;
        }
        if matches!(path, "/" | "/index.html") && request.method() == Method::GET {
            let page = "<html><body>Welcome to Kubernetes, as it was in 2014</body></html>\n";
            return wire::answer(StatusCode::OK.as_u16(), "text/html", wire::Body::full(page));
        }
        self.backend.call(request).await
    }
}
