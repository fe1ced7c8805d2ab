//! `Impersonate-User` and its companions: a request in another's name, if its sender may use that name.
//!
//! Follows upstream's `k8s.io/apiserver/pkg/endpoints/filters/impersonation`: each part of the other identity is a
//! right of its own. From here on nobody sees who really asked; the audit log has seen it before.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use http::HeaderMap;
use skiff_api::ApiError;

use super::{Call, Next};
use crate::api::Api;
use crate::authn::Peer;
use crate::authz::{self, Ask};
use crate::user::{ACCOUNT_PREFIX, ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User};
use crate::wire::{Response, refusal};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// Where the audit log learns of the other identity.
#[derive(Clone, Default)]
pub(super) struct Impersonated(pub(super) Arc<OnceLock<User>>);

pub(super) fn layer(api: Arc<Api>, mut call: Call, next: Next) -> BoxFuture<'static, Response> {
    let headers = call.request.headers();
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return next.run(api, call);
    }
    Box::pin(async move {
        let Peer::Known(real) = &call.peer else { return refusal(&ApiError::unauthorized()) };
        let wanted = match Wanted::of(call.request.headers()) {
            Ok(wanted) => wanted,
            Err(error) => return refusal(&error),
        };
        if let Err(error) = wanted.check(&api, real).await {
            return refusal(&error);
        }
        tracing::debug!(user = %real.name, as_user = wanted.name, "impersonation");
        let user = wanted.user();
        if let Some(told) = call.request.extensions().get::<Impersonated>() {
            // Only this call sets it.
            let _is_new = told.0.set(user.clone());
        }
        call.peer = Peer::Known(user);
        let headers = call.request.headers_mut();
        let named = headers.keys().filter(|name| name.as_str().starts_with("impersonate-"));
        for name in named.cloned().collect::<Vec<_>>() {
            headers.remove(name);
        }
        next.run(api, call).await
    })
}

/// Who the sender wants to be.
#[derive(Debug, Default)]
struct Wanted {
    name: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Wanted {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let one = |name: &str| headers.get(name).map(text).unwrap_or_default();
        let mut wanted = Self { name: one(USER), uid: one(UID), ..Self::default() };
        wanted.groups = headers.get_all(GROUP).iter().map(text).collect();
        for (name, value) in headers {
            let Some(key) = name.as_str().strip_prefix(EXTRA) else { continue };
            let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy().into_owned();
            wanted.extra.entry(key).or_default().push(text(value));
        }
        if wanted.name.is_empty() {
            let why = "requested to impersonate a group, uid or extra without impersonating a user";
            return Err(ApiError::new(400, "BadRequest", why));
        }
        Ok(wanted)
    }

    /// Namespace and name, if it is a service account.
    fn account(&self) -> Option<(&str, &str)> {
        self.name.strip_prefix(ACCOUNT_PREFIX)?.split_once(':')
    }

    /// Whether `real` may use each part.
    async fn check(&self, api: &Api, real: &User) -> Result<(), ApiError> {
        let ask = Ask { verb: "impersonate", version: "v1", ..Ask::nothing(real) };
        let details = Ask { group: "authentication.k8s.io", ..ask };
        let mut asks = vec![match self.account() {
            Some((namespace, name)) => Ask { resource: "serviceaccounts", namespace, name, ..ask },
            None => Ask { resource: "users", name: &self.name, ..ask },
        }];
        asks.extend(self.groups.iter().map(|name| Ask { resource: "groups", name, ..ask }));
        if !self.uid.is_empty() {
            asks.push(Ask { resource: "uids", name: &self.uid, ..details });
        }
        for (key, values) in &self.extra {
            let each = |name| Ask { resource: "userextras", subresource: key, name, ..details };
            asks.extend(values.iter().map(|value| each(value)));
        }
        for ask in &asks {
            match authz::judge(api, ask).await {
                authz::Verdict::Allow(_) => {}
                authz::Verdict::Deny(why) | authz::Verdict::NoOpinion(why) => return Err(ask.refusal(&why)),
            }
        }
        Ok(())
    }

    fn user(&self) -> User {
        let mut groups = self.groups.clone();
        if let Some((namespace, name)) = self.account().filter(|_| groups.is_empty()) {
            let account = User::service_account(namespace, name);
            return account.known_by(&self.uid, self.extra.clone());
        }
        let known = groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED);
        if !known {
            let group = if self.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
            groups.push(group.to_owned());
        }
        User::new(&self.name, groups).known_by(&self.uid, self.extra.clone())
    }
}
