//! rustls configurations from PEM: who we are and whom we trust. The provider is aws-lc-rs, installed once.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::pki::Identity;

mod authorities;

use authorities::Authorities;

/// A configuration that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Malformed PEM.
    #[error("read PEM")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// rustls refused the certificate or key.
    #[error("configure TLS")]
    Rustls(#[from] rustls::Error),
    /// What tells certificates from others could not be made.
    #[error("configure verification")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Makes aws-lc-rs the process's provider; call it first thing in `main` and in tests. Later calls change nothing.
pub fn install_provider() {
    let _already_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Certificates of a PEM bundle.
///
/// # Errors
/// If the PEM is malformed.
pub fn certs(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    Ok(CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>()?)
}

fn roots(ca_pem: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for cert in certs(ca_pem)? {
        roots.add(cert)?;
    }
    Ok(roots)
}

fn key(identity: &Identity) -> Result<PrivateKeyDer<'static>, TlsError> {
    Ok(PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())?)
}

/// What tells certificates of `ca_pem` from others.
///
/// # Errors
/// If the PEM is malformed.
pub fn client_verifier(ca_pem: &str) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    install_provider();
    Ok(WebPkiClientVerifier::builder(Arc::new(roots(ca_pem)?)).allow_unauthenticated().build()?)
}

/// A server that asks for client certificates of `client_ca_pem` and admits clients without one (they are nobody).
///
/// # Errors
/// If a PEM is malformed or does not fit.
pub fn server(identity: &Identity, client_ca_pem: &str) -> Result<ServerConfig, TlsError> {
    let verifier = client_verifier(client_ca_pem)?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(certs(&identity.cert_pem)?, key(identity)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A client that trusts `ca_pem` and shows `identity`, if any.
///
/// # Errors
/// If a PEM is malformed or does not fit.
pub fn client(ca_pem: &str, identity: Option<&Identity>) -> Result<ClientConfig, TlsError> {
    install_provider();
    let authorities = certs(ca_pem)?;
    let builder = if authorities.is_empty() {
        // Nobody is believed.
        ClientConfig::builder().with_root_certificates(RootCertStore::empty())
    } else {
        // Not dangerous: all that it adds is that an authority may serve itself.
        let verifier = Authorities::new(roots(ca_pem)?, authorities)?;
        ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    };
    Ok(match identity {
        Some(identity) => builder.with_client_auth_cert(certs(&identity.cert_pem)?, key(identity)?)?,
        None => builder.with_no_client_auth(),
    })
}

/// A client that trusts whom this machine trusts, and shows `identity`, if any. On a machine that says nothing nobody is
/// trusted.
///
/// # Errors
/// If the identity is malformed.
pub fn system_client(identity: Option<&Identity>) -> Result<ClientConfig, TlsError> {
    const FILE: &str = "/etc/ssl/certs/ca-certificates.crt";
    install_provider();
    let mut roots = RootCertStore::empty();
    if let Ok(pem) = std::fs::read(FILE) {
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    }
    let builder = ClientConfig::builder().with_root_certificates(roots);
    Ok(match identity {
        Some(identity) => builder.with_client_auth_cert(certs(&identity.cert_pem)?, key(identity)?)?,
        None => builder.with_no_client_auth(),
    })
}

/// A client that shows `identity`, if any, to whoever answers.
///
/// # Errors
/// If the identity is malformed.
pub fn any_client(identity: Option<&Identity>) -> Result<ClientConfig, TlsError> {
    install_provider();
    let builder = ClientConfig::builder().dangerous().with_custom_certificate_verifier(any_server());
    Ok(match identity {
        Some(identity) => builder.with_client_auth_cert(certs(&identity.cert_pem)?, key(identity)?)?,
        None => builder.with_no_client_auth(),
    })
}

/// For clients that were told not to ask who answers: probes, and people who insist. The handshake must still be signed
/// by the key of the certificate that is shown.
pub fn any_server() -> Arc<dyn ServerCertVerifier> {
    Arc::new(AnyServer(rustls::crypto::aws_lc_rs::default_provider()))
}

#[derive(Debug)]
struct AnyServer(CryptoProvider);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
