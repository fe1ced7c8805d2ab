//! Who the peer is: by its client certificate, else by the token it bears.
//!
//! A certificate's CN and O are name and groups; that of a proxy before this server has the headers say who asks. Tokens are shown to the authenticators of [`BEARERS`] one after the
//! other; the first that knows one decides. Who shows nothing is nobody; who shows something that nobody believes is
//! refused, also where nobody would have been let in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use rustls::pki_types::CertificateDer;
use skiff_api::ApiError;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::api::Api;
use crate::user::User;

pub use configuration::{Anonymous, AuthenticationConfiguration, AuthenticationConfigurationError};
pub(crate) use front_proxy::Trust;
pub use oidc::OidcOptions;
pub use webhook::TokenWebhookOptions;

pub(crate) mod account;
mod bootstrap;
mod configuration;
mod front_proxy;
pub(crate) mod jwt;
pub(crate) mod oidc;
pub(crate) mod static_file;
pub(crate) mod webhook;

/// What is known of a peer before it has asked anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Identified.
    Known(User),
    /// A proxy before this server: its headers say for whom it asks.
    FrontProxy,
    /// Nobody we know yet: the request may bear a token.
    Unknown,
}

/// Whom a token stands for.
pub(crate) struct Identity {
    pub(crate) user: User,
    /// Those of the audiences asked about that the token is for.
    pub(crate) audiences: Vec<String>,
}

/// An authenticator's answer about a token.
pub(crate) enum Outcome {
    Known(Identity),
    /// Not of this kind, or not known here.
    NotMine,
    /// Of this kind, and not to be believed; why.
    Refused(String),
}

/// One kind of token.
struct Bearer {
    name: &'static str,
    /// The token, and the audiences of which it must be for one.
    check: for<'a> fn(&'a Api, &'a str, &'a [String]) -> BoxFuture<'a, Outcome>,
}

/// Every kind of token, in upstream's order.
static BEARERS: &[&Bearer] =
    &[&static_file::BEARER, &account::BEARER, &bootstrap::BEARER, &oidc::BEARER, &webhook::BEARER];

/// The protocol by which browsers, who set no headers, bear a token over a WebSocket.
const SOCKET_TOKEN: &str = "base64url.bearer.authorization.k8s.io.";

/// Whom a token stands for.
///
/// # Errors
/// Why nobody believes it; not fit for who shows it.
pub(crate) async fn of_token(api: &Api, token: &str, audiences: &[String]) -> Result<Identity, String> {
    let mut reasons = Vec::new();
    for bearer in BEARERS {
        match (bearer.check)(api, token, audiences).await {
            Outcome::Known(identity) => return Ok(identity),
            Outcome::NotMine => {}
            Outcome::Refused(why) => reasons.push(format!("{}: {why}", bearer.name)),
        }
    }
    if reasons.is_empty() {
        reasons.push("invalid bearer token".to_owned());
    }
    Err(format!("[{}]", reasons.join(", ")))
}

/// Who sends a request; nobody if it shows nothing. What it shows is taken out of its headers: no other server must see
/// it.
///
/// # Errors
/// 401.
pub(crate) async fn identify(
    api: &Api,
    peer: &Peer,
    headers: &mut HeaderMap,
) -> Result<Option<User>, ApiError> {
    let token = bearer_token(headers);
    headers.remove(AUTHORIZATION);
    let known = match peer {
        Peer::Known(user) => Some(user.clone()),
        Peer::FrontProxy => front_proxy::named(headers),
        Peer::Unknown => None,
    };
    if known.is_some() {
        return Ok(known);
    }
    let Some(token) = token else { return Ok(None) };
    match of_token(api, &token, &api.issuer.audiences).await {
        Ok(identity) => Ok(Some(identity.user)),
        Err(why) => {
            tracing::debug!(why, "a token was refused");
            Err(ApiError::unauthorized())
        }
    }
}

fn bearer_token(headers: &mut HeaderMap) -> Option<String> {
    if let Some(value) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        let (scheme, token) = value.trim().split_once(' ')?;
        let token = token.trim();
        return (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned());
    }
    let offered = headers.get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?.to_owned();
    let (tokens, others): (Vec<&str>, Vec<&str>) =
        offered.split(',').map(str::trim).partition(|protocol| protocol.starts_with(SOCKET_TOKEN));
    let encoded = tokens.first()?.strip_prefix(SOCKET_TOKEN)?;
    let token = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
    // The rest is what is really to be spoken.
    headers.insert(SEC_WEBSOCKET_PROTOCOL, others.join(", ").parse().ok()?);
    Some(token)
}

/// The user of a certificate that TLS has verified; nobody if it has no name.
pub(crate) fn of_certificate(certificate: &CertificateDer<'_>) -> Peer {
    let Some(name) = name_of(certificate) else { return Peer::Unknown };
    let Ok((_, parsed)) = X509Certificate::from_der(certificate.as_ref()) else { return Peer::Unknown };
    let groups = parsed.subject().iter_organization().filter_map(|group| group.as_str().ok());
    Peer::Known(User::new(&name, groups))
}

/// The name on a certificate.
fn name_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate.as_ref()).ok()?;
    let name = parsed.subject().iter_common_name().last()?.as_str().ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod elsewhere;

#[cfg(test)]
mod tests {
    use skiff_base::pki::{Authority, Request};

    use super::*;

    #[test]
    fn common_name_and_organisations_become_user_and_groups() {
        let authority = Authority::create("test").unwrap();
        let request = Request {
            name: "system:node:one".to_owned(),
            groups: vec!["system:nodes".to_owned()],
            hosts: Vec::new(),
        };
        let identity = authority.issue(&request).unwrap();
        let certs = skiff_base::tls::certs(&identity.cert_pem).unwrap();
        let expected = User::new("system:node:one", ["system:nodes"]);
        assert_eq!(of_certificate(&certs[0]), Peer::Known(expected));
    }
}
