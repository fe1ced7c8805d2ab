//! A request passed on to the server behind an APIService, with the name of who asks on it.
//!
//! Follows upstream's `kube-aggregator/pkg/apiserver/handler_proxy.go`. The other server believes the name because our
//! certificate is of the authority that `kube-system/extension-apiserver-authentication` names.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::Service;
use crate::api::Api;
use crate::authz::Authorized;
use crate::stream::relay;
use crate::user::{MASTERS, User};
use crate::wire::{self, Body, Response};

/// Who asks.
pub(crate) const USER: &str = "x-remote-user";
/// The groups of who asks, one a header.
pub(crate) const GROUP: &str = "x-remote-group";
/// What tells users of one name apart.
pub(crate) const UID: &str = "x-remote-uid";
/// What the headers of all else begin with.
pub(crate) const EXTRA: &str = "x-remote-extra-";

/// How long another server may take to say what it serves: everybody's clients wait for it.
const DISCOVERY: Duration = Duration::from_secs(5);

/// Who we are when we ask for ourselves.
pub(super) fn ourselves() -> User {
    User::new("system:kube-aggregator", [MASTERS])
}

/// True for headers by which somebody may speak in another's name.
pub(crate) fn names_somebody(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name, USER | GROUP | UID) || name.starts_with(EXTRA)
}

/// Writes into the headers who asks, in the place of what they say themselves.
pub(super) fn introduce(headers: &mut HeaderMap, user: &User) {
    let said: Vec<HeaderName> = headers.keys().filter(|name| names_somebody(name)).cloned().collect();
    for name in said {
        headers.remove(name);
    }
    let mut say = |name: &str, value: &str| {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    };
    say(USER, &user.name);
    if !user.uid.is_empty() {
        say(UID, &user.uid);
    }
    user.groups.iter().for_each(|group| say(GROUP, group));
    for (key, values) in &*user.extra {
        let name = format!("{EXTRA}{}", escaped(key));
        values.iter().for_each(|value| say(&name, value));
    }
}

/// A key as it can stand in a header's name.
fn escaped(key: &str) -> String {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
    let shown = |byte: u8| if legal(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    key.bytes().map(shown).collect()
}

/// Passes a request on and its answer back.
pub(crate) async fn pass(api: &Arc<Api>, service: &Service, call: Authorized) -> Response {
    let Some(backend) = &service.backend else { return unavailable("service unavailable") };
    if !service.available {
        return unavailable("service unavailable");
    }
    let Authorized { info, user, mut request, .. } = call;
    let is_discovery = info.target.is_none();
    introduce(request.headers_mut(), &user);
    let path = request.uri().path_and_query().map_or_else(|| info.path.clone(), ToString::to_string);
    let failed = |why: String| {
        tracing::debug!(name = %service.name, why, "another API server could not be asked");
        unavailable(&format!("error trying to reach service: {why}"))
    };
    if relay::wants_upgrade(request.headers()) {
        let (io, authority) = match backend.connect(api).await {
            Ok(connected) => connected,
            Err(why) => return failed(why),
        };
        return relay::pass(api, io, &authority, &path, request).await.unwrap_or_else(failed);
    }
    if let Err(why) = relay::prepare(&mut request, &path) {
        return failed(why);
    }
    let sent = backend.send(api, request);
    let answer = if is_discovery {
        let late = |_| Err("context deadline exceeded".to_owned());
        tokio::time::timeout(DISCOVERY, sent).await.unwrap_or_else(late)
    } else {
        sent.await
    };
    match answer {
        Ok(response) => relay::answer(response),
        Err(why) => failed(why),
    }
}

/// 503 as Go's `http.Error` writes it.
fn unavailable(why: &str) -> Response {
    let mut response = wire::answer(503, "text/plain; charset=utf-8", Body::full(format!("{why}\n")));
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn nobody_but_us_says_who_asks() {
        let mut headers = HeaderMap::new();
        headers.insert(USER, HeaderValue::from_static("root"));
        headers.insert("x-remote-extra-power", HeaderValue::from_static("all"));
        let extra = BTreeMap::from([("a.io/b c".to_owned(), vec!["1".to_owned(), "2".to_owned()])]);
        let user = User::new("jane", ["devs"]).known_by("7", extra);
        introduce(&mut headers, &user);
        let mut shown: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        shown.sort();
        assert_eq!(
            shown,
            [
                "x-remote-extra-a.io%2fb%20c=1",
                "x-remote-extra-a.io%2fb%20c=2",
                "x-remote-group=devs",
                "x-remote-group=system:authenticated",
                "x-remote-uid=7",
                "x-remote-user=jane",
            ]
        );
    }
}
