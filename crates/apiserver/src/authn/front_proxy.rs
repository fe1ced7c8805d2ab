//! Proxies before this server, which say themselves for whom they ask: believed if their certificate is of an authority
//! kept for that alone.
//!
//! Follows upstream's `k8s.io/apiserver/pkg/authentication/request/headerrequest`.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use skiff_base::tls::{self, TlsError};

use super::{Peer, name_of, of_certificate};
use crate::aggregate::pass::{EXTRA, GROUP, UID, USER, names_somebody};
use crate::options::{FrontProxy, Tls};
use crate::user::User;

type Verifier = Arc<dyn ClientCertVerifier>;

/// Whose certificates mean what. TLS has found each of them to be of one of the authorities.
pub(crate) struct Trust {
    /// The authority of clients and that of proxies, and the names proxies may have; nothing if there are no proxies.
    proxies: Option<(Verifier, Verifier, Vec<String>)>,
}

impl Trust {
    /// # Errors
    /// If a PEM is malformed.
    pub(crate) fn new(tls: Option<&Tls>, front: Option<&FrontProxy>) -> Result<Self, TlsError> {
        let (Some(tls), Some(front)) = (tls, front) else { return Ok(Self { proxies: None }) };
        let clients = tls::client_verifier(&tls.client_ca_pem)?;
        let proxies = tls::client_verifier(&front.ca_pem)?;
        Ok(Self { proxies: Some((clients, proxies, front.names.clone())) })
    }

    /// Who shows these certificates, its own first.
    pub(crate) fn peer(&self, certificates: &[CertificateDer<'_>]) -> Peer {
        let Some((own, others)) = certificates.split_first() else { return Peer::Unknown };
        let Some((clients, proxies, names)) = &self.proxies else { return of_certificate(own) };
        let is_of = |authority: &Verifier| authority.verify_client_cert(own, others, UnixTime::now()).is_ok();
        let user = if is_of(clients) { of_certificate(own) } else { Peer::Unknown };
        let allowed = |name: &String| names.is_empty() || names.contains(name);
        match user {
            Peer::Unknown if is_of(proxies) && name_of(own).as_ref().is_some_and(allowed) => Peer::FrontProxy,
            user => user,
        }
    }
}

/// For whom a proxy asks; nobody if it does not say.
pub(super) fn named(headers: &mut HeaderMap) -> Option<User> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let all = |name: &str| headers.get_all(name).iter().map(text).collect::<Vec<_>>();
    let name = all(USER).into_iter().find(|name| !name.is_empty())?;
    let (groups, uid) = (all(GROUP), all(UID).into_iter().next().unwrap_or_default());
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &*headers {
        let Some(key) = name.as_str().strip_prefix(EXTRA) else { continue };
        let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy().into_owned();
        extra.entry(key).or_default().push(text(value));
    }
    let said: Vec<HeaderName> = headers.keys().filter(|name| names_somebody(name)).cloned().collect();
    for name in said {
        headers.remove(name);
    }
    Some(User::new(&name, groups).known_by(&uid, extra))
}

#[cfg(test)]
mod tests {
    use skiff_base::pki::{Authority, Identity, Request};

    use super::*;

    fn issued(authority: &Authority, name: &str) -> Identity {
        authority.issue(&Request { name: name.to_owned(), ..Request::default() }).unwrap()
    }

    #[test]
    fn only_proxies_of_their_own_authority_and_of_the_right_name_are_proxies() {
        let (clients, proxies) = (Authority::create("ca").unwrap(), Authority::create("front").unwrap());
        let tls = Tls { identity: issued(&clients, "server"), client_ca_pem: clients.cert_pem().to_owned() };
        let front = FrontProxy {
            identity: issued(&proxies, "front-proxy-client"),
            ca_pem: proxies.cert_pem().to_owned(),
            names: vec!["front-proxy-client".to_owned()],
        };
        let trust = Trust::new(Some(&tls), Some(&front)).unwrap();
        let peer = |identity: &Identity| trust.peer(&skiff_base::tls::certs(&identity.cert_pem).unwrap());
        assert_eq!(peer(&front.identity), Peer::FrontProxy);
        assert_eq!(peer(&issued(&proxies, "admin")), Peer::Unknown);
        let client = issued(&clients, "front-proxy-client");
        assert_eq!(peer(&client), Peer::Known(User::new("front-proxy-client", Vec::<String>::new())));
        assert_eq!(trust.peer(&[]), Peer::Unknown);
    }

    #[test]
    fn headers_tell_everything_that_is_known_of_a_user() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-remote-user", "jane"),
            ("x-remote-group", "a"),
            ("x-remote-group", "b"),
            ("x-remote-uid", "7"),
            ("x-remote-extra-a.io%2fb", "c"),
            ("accept", "x"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let extra = BTreeMap::from([("a.io/b".to_owned(), vec!["c".to_owned()])]);
        assert_eq!(named(&mut headers), Some(User::new("jane", ["a", "b"]).known_by("7", extra)));
        assert_eq!(headers.len(), 1);
        assert_eq!(named(&mut headers), None);
    }
}
