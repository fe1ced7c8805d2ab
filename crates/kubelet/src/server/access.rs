//! Who asks, and what for: the peer's certificate and the attributes upstream's kubelet authorises by.
//!
//! There is no anonymous door. Without a certificate of the cluster's authority the answer is 401, also for `/healthz`.

use std::sync::Arc;

use http::{Method, StatusCode};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The holder of a client certificate: common name and organisations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The user name.
    pub name: String,
    /// The groups.
    pub groups: Vec<String>,
}

/// What a request would do, in the words of a SubjectAccessReview on `nodes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `create` and so on, from the HTTP method.
    pub verb: &'static str,
    /// `proxy`, `log`, `stats`, `metrics`, `healthz`, `pods`.
    pub subresource: &'static str,
}

/// Decides whether a peer may.
pub type Authorise = Arc<dyn Fn(&Peer, &Attributes) -> bool + Send + Sync>;

/// Admits the named users and members of `system:masters`: enough where no one else may talk to kubelets.
#[must_use]
pub fn only(users: Vec<String>) -> Authorise {
    Arc::new(move |peer, _| {
        peer.groups.iter().any(|group| group == "system:masters") || users.contains(&peer.name)
    })
}

pub(super) fn peer(certificates: &[CertificateDer<'_>]) -> Option<Peer> {
    let (_, certificate) = X509Certificate::from_der(certificates.first()?).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups =
        subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned).collect();
    Some(Peer { name, groups })
}

pub(super) fn attributes(method: &Method, path: &str) -> Attributes {
    let verb = match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    };
    let begins =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let subresource = match () {
        () if begins("/stats") => "stats",
        () if begins("/metrics") => "metrics",
        // Only the machine's logs: a container's are `proxy` upstream.
        () if begins("/logs") => "log",
        () if begins("/healthz") => "healthz",
        () if begins("/pods") || begins("/runningpods") => "pods",
        () => "proxy",
    };
    Attributes { verb, subresource }
}

/// The answer to a peer that may not.
pub(super) fn forbidden(peer: &Peer, attributes: &Attributes) -> (StatusCode, String) {
    let Attributes { verb, subresource } = attributes;
    let text = format!(
        "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{subresource}])",
        peer.name
    );
    (StatusCode::FORBIDDEN, text)
}
