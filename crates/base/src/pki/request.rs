//! Certificate signing requests (PKCS #10): read, with their signature proved.
//!
//! Subject, key and alternative names are kept as the bytes that came, so that what is issued says exactly what was
//! asked for.

use std::net::IpAddr;

use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

/// A request whose sender has the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SigningRequest {
    /// CN; empty if there is none.
    pub common_name: String,
    /// O, in order.
    pub organizations: Vec<String>,
    /// Alternative names that are host names.
    pub dns_names: Vec<String>,
    /// Alternative names that are addresses.
    pub addresses: Vec<IpAddr>,
    /// Alternative names that are e-mail addresses.
    pub emails: Vec<String>,
    /// Alternative names that are URIs.
    pub uris: Vec<String>,
    pub(super) subject: Vec<u8>,
    pub(super) key: Vec<u8>,
    /// The value of the extension with the alternative names, and whether it is critical.
    pub(super) names: Option<(Vec<u8>, bool)>,
}

/// Why a request is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No PEM, or of something else.
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    NotPem,
    /// Not PKCS #10.
    #[error("asn1: structure error: not a certificate request")]
    Malformed,
    /// Not signed by the key that it names.
    #[error("x509: signature of the certificate request does not match its key")]
    Unsigned,
}

impl SigningRequest {
    /// Reads PEM.
    ///
    /// # Errors
    /// As [`RequestError`] says.
    pub fn from_pem(pem: &[u8]) -> Result<Self, RequestError> {
        let der = CertificateSigningRequestDer::from_pem_slice(pem).map_err(|_| RequestError::NotPem)?;
        Self::from_der(&der)
    }

    /// Reads DER.
    ///
    /// # Errors
    /// As [`RequestError`] says.
    pub fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        let (_, request) = X509CertificationRequest::from_der(der).map_err(|_| RequestError::Malformed)?;
        request.verify_signature().map_err(|_| RequestError::Unsigned)?;
        let info = &request.certification_request_info;
        let mut read = Self {
            subject: info.subject.as_raw().to_vec(),
            key: info.subject_pki.raw.to_vec(),
            ..Self::default()
        };
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().unwrap_or_default().to_owned()
        };
        read.common_name = info.subject.iter_common_name().last().map(text).unwrap_or_default();
        read.organizations = info.subject.iter_organization().map(text).collect();
        for attribute in info.iter_attributes() {
            let ParsedCriAttribute::ExtensionRequest(asked) = attribute.parsed_attribute() else { continue };
            for extension in &asked.extensions {
                if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
                    read.names = Some((extension.value.to_vec(), extension.critical));
                    names.general_names.iter().for_each(|name| read.name(name));
                }
            }
        }
        Ok(read)
    }

    fn name(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => self.emails.push((*name).to_owned()),
            GeneralName::URI(name) => self.uris.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
                self.addresses.extend(v4.or(v6).ok());
            }
            _ => {}
        }
    }
}
