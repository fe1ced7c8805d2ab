//! Certificates: an authority of our own and what it issues.
//!
//! Keys are ECDSA P-256: small, quick to make (start-up time counts) and accepted by every client. An identity is a
//! name (CN) and groups (O), as Kubernetes reads client certificates.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

pub mod request;
pub mod sign;

pub use sign::not_after;

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub cert_pem: String,
    /// The private key.
    pub key_pem: String,
}

/// What could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The certificate library refused.
    #[error("make or read a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A file could not be read or written.
    #[error("read or write {path}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// What a certificate is for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// CN: the user's or server's name.
    pub name: String,
    /// O: the user's groups.
    pub groups: Vec<String>,
    /// Names a server answers to; addresses are recognised. Empty for clients.
    pub hosts: Vec<String>,
}

/// A certificate authority.
pub struct Authority {
    identity: Identity,
    issuer: Issuer<'static, KeyPair>,
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl Authority {
    /// Makes a new authority called `name`, valid for ten years.
    ///
    /// # Errors
    /// If the key cannot be made.
    pub fn create(name: &str) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = params(name, &[], 10 * YEAR);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let cert_pem = params.self_signed(&key)?.pem();
        Self::from_pem(Identity { cert_pem, key_pem: key.serialize_pem() })
    }

    /// An authority from its PEM.
    ///
    /// # Errors
    /// If the PEM is malformed.
    pub fn from_pem(identity: Identity) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(&identity.key_pem)?;
        let issuer = Issuer::from_ca_cert_pem(&identity.cert_pem, key)?;
        Ok(Self { identity, issuer })
    }

    /// The authority kept in `folder` (`NAME.crt`, `NAME.key`), made at the first call.
    ///
    /// # Errors
    /// If the files cannot be read or written, or are malformed.
    pub fn open(folder: &Path, name: &str) -> Result<Self, PkiError> {
        let identity = load_or_make(folder, name, || Ok(Self::create(name)?.identity))?;
        Self::from_pem(identity)
    }

    /// The authority's certificate, PEM: what others must trust.
    pub fn cert_pem(&self) -> &str {
        &self.identity.cert_pem
    }

    /// The authority's own certificate and key.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Issues a certificate for a client and, if it names hosts, a server; valid for a year.
    ///
    /// # Errors
    /// If the key cannot be made.
    pub fn issue(&self, request: &Request) -> Result<Identity, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = params(&request.name, &request.groups, YEAR);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !request.hosts.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        for host in &request.hosts {
            params.subject_alt_names.push(match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(host.as_str().try_into()?),
            });
        }
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }

    /// The identity kept in `folder` as `file`.crt and .key, issued at the first call.
    ///
    /// # Errors
    /// As [`Authority::issue`], or if files cannot be read or written.
    pub fn issue_once(&self, folder: &Path, file: &str, request: &Request) -> Result<Identity, PkiError> {
        load_or_make(folder, file, || self.issue(request))
    }
}

/// A private key kept in `folder` as `NAME.key` (P-256, PKCS #8, PEM), made at the first call.
///
/// # Errors
/// If the file cannot be read or written, or the key cannot be made.
pub fn key_once(folder: &Path, name: &str) -> Result<String, PkiError> {
    let path = folder.join(format!("{name}.key"));
    let failed = |source| PkiError::File { path: path.display().to_string(), source };
    match std::fs::read_to_string(&path) {
        Ok(pem) => return Ok(pem),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let pem = KeyPair::generate()?.serialize_pem();
    crate::fs::write_atomically(&path, pem.as_bytes(), 0o600).map_err(failed)?;
    Ok(pem)
}

fn params(name: &str, groups: &[String], validity: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    for group in groups {
        subject.push(DnType::OrganizationName, group);
    }
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    // An hour of grace for machines whose clocks disagree.
    let now = std::time::SystemTime::now();
    params.not_before = (now - Duration::from_secs(3600)).into();
    params.not_after = (now + validity).into();
    params
}

fn load_or_make(
    folder: &Path,
    file: &str,
    make: impl FnOnce() -> Result<Identity, PkiError>,
) -> Result<Identity, PkiError> {
    let (cert, key) = (folder.join(format!("{file}.crt")), folder.join(format!("{file}.key")));
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source| PkiError::File { path, source }
    };
    if cert.exists() && key.exists() {
        return Ok(Identity {
            cert_pem: std::fs::read_to_string(&cert).map_err(failed(&cert))?,
            key_pem: std::fs::read_to_string(&key).map_err(failed(&key))?,
        });
    }
    let identity = make()?;
    crate::fs::write_atomically(&key, identity.key_pem.as_bytes(), 0o600).map_err(failed(&key))?;
    crate::fs::write_atomically(&cert, identity.cert_pem.as_bytes(), 0o644).map_err(failed(&cert))?;
    Ok(identity)
}
