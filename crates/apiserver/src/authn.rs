//! Who the peer is: the name and groups of its verified client certificate (CN and O).

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::user::User;

/// What is known of a peer before it has asked anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Identified.
    Known(User),
    /// Nobody we know: only health and version are answered.
    Unknown,
}

/// The user of a certificate that TLS has verified; nobody if it has no name.
pub(crate) fn of_certificate(certificate: &CertificateDer<'_>) -> Peer {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate.as_ref()) else { return Peer::Unknown };
    let subject = parsed.subject();
    let name = subject.iter_common_name().last().and_then(|name| name.as_str().ok()).unwrap_or_default();
    if name.is_empty() {
        return Peer::Unknown;
    }
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok());
    Peer::Known(User::new(name, groups))
}

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
