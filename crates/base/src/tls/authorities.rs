//! Who a client believes: servers that its authorities vouch for, and the authorities themselves.
//!
//! `openssl req -x509` makes a certificate that is its own authority, and many a webhook shows it as its server's
//! certificate and gives it as the bundle to trust. Upstream accepts that; webpki does not, since an authority should not
//! serve. A certificate that is trusted by name is as good as one that it has signed.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::server::{ParsedCertificate, VerifierBuilderError};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Believes the certificates of a bundle, and those that they have signed.
#[derive(Debug)]
pub(super) struct Authorities {
    signed: Arc<WebPkiServerVerifier>,
    themselves: Vec<CertificateDer<'static>>,
}

impl Authorities {
    pub(super) fn new(
        roots: RootCertStore,
        themselves: Vec<CertificateDer<'static>>,
    ) -> Result<Self, VerifierBuilderError> {
        Ok(Self { signed: WebPkiServerVerifier::builder(Arc::new(roots)).build()?, themselves })
    }

    /// Whether the certificate is one of the authorities, for this name, and of this time.
    fn is_one(&self, shown: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
        let bad = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
        if !self.themselves.iter().any(|own| own == shown) {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        let (_, parsed) = X509Certificate::from_der(shown).map_err(bad)?;
        let (now, valid) = (i128::from(now.as_secs()), parsed.validity());
        if now < i128::from(valid.not_before.timestamp()) {
            return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
        }
        if now > i128::from(valid.not_after.timestamp()) {
            return Err(Error::InvalidCertificate(CertificateError::Expired));
        }
        verify_server_name(&ParsedCertificate::try_from(shown)?, name)
    }
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let signed = self.signed.verify_server_cert(shown, intermediates, name, ocsp, now);
        // The first refusal is the one to tell: it knows more than that the certificate is no authority.
        signed.or_else(|refusal| match self.is_one(shown, name, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(_) => Err(refusal),
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    /// What `openssl req -x509 -subj /CN=hook -addext subjectAltName=DNS:hook.blue.svc` makes.
    fn own_authority() -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["hook.blue.svc".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn verify(trusted: &CertificateDer<'static>, shown: &CertificateDer<'_>, name: &str, at: u64) -> bool {
        super::super::install_provider();
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let verifier = Authorities::new(roots, vec![trusted.clone()]).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(at));
        verifier.verify_server_cert(shown, &[], &name, &[], now).is_ok()
    }

    #[test]
    fn an_authority_serves_under_its_own_name_and_in_its_time() {
        const NOW: u64 = 1_800_000_000;
        let (own, other) = (own_authority(), own_authority());
        assert!(verify(&own, &own, "hook.blue.svc", NOW));
        assert!(!verify(&own, &own, "other.blue.svc", NOW), "another name");
        assert!(!verify(&own, &other, "hook.blue.svc", NOW), "nobody trusts this one");
        assert!(!verify(&own, &own, "hook.blue.svc", 1 << 40), "its time is over");
    }
}
