//! Issues what a signing request asks for.
//!
//! The certificate library makes a certificate with a stand-in subject, since it knows each part of a name once only
//! (and groups are several O); the subject's own bytes are then put in its place and the whole is signed again.

use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SerialNumber, SigningKey, SubjectPublicKeyInfo,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::request::SigningRequest;
use super::{Authority, PkiError};

const NAMES_OID: &[u64] = &[2, 5, 29, 17];
/// For clocks that are behind, as upstream's signer.
const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// What an issued certificate may be used for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usages {
    key: Vec<KeyUsagePurpose>,
    extended: Vec<ExtendedKeyUsagePurpose>,
}

impl Usages {
    /// From the words of `certificates.k8s.io` (`digital signature`, `client auth`); unknown ones are passed over.
    pub fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut usages = Self::default();
        for word in words {
            let key = match word {
                "signing" | "digital signature" => Some(KeyUsagePurpose::DigitalSignature),
                "content commitment" => Some(KeyUsagePurpose::ContentCommitment),
                "key encipherment" => Some(KeyUsagePurpose::KeyEncipherment),
                "key agreement" => Some(KeyUsagePurpose::KeyAgreement),
                "data encipherment" => Some(KeyUsagePurpose::DataEncipherment),
                "cert sign" => Some(KeyUsagePurpose::KeyCertSign),
                "crl sign" => Some(KeyUsagePurpose::CrlSign),
                "encipher only" => Some(KeyUsagePurpose::EncipherOnly),
                "decipher only" => Some(KeyUsagePurpose::DecipherOnly),
                _ => None,
            };
            let extended = match word {
                "any" => Some(ExtendedKeyUsagePurpose::Any),
                "server auth" => Some(ExtendedKeyUsagePurpose::ServerAuth),
                "client auth" => Some(ExtendedKeyUsagePurpose::ClientAuth),
                "code signing" => Some(ExtendedKeyUsagePurpose::CodeSigning),
                "email protection" | "s/mime" => Some(ExtendedKeyUsagePurpose::EmailProtection),
                "timestamping" => Some(ExtendedKeyUsagePurpose::TimeStamping),
                "ocsp signing" => Some(ExtendedKeyUsagePurpose::OcspSigning),
                _ => None,
            };
            usages.key.extend(key);
            usages.extended.extend(extended);
        }
        usages.key.dedup();
        usages.extended.dedup();
        usages
    }
}

impl Authority {
    /// The certificate (PEM) for a request: its subject, key and names, for `usages`, from a little before `now` and for
    /// as long as `validity`, though never beyond the authority's own end.
    ///
    /// # Errors
    /// If the key is of a kind that cannot be certified.
    pub fn sign(
        &self,
        request: &SigningRequest,
        usages: &Usages,
        now: SystemTime,
        validity: Duration,
    ) -> Result<String, PkiError> {
        let key = SubjectPublicKeyInfo::from_der(&request.key)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "stand-in");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages.clone_from(&usages.key);
        params.extended_key_usages.clone_from(&usages.extended);
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from_slice(uuid::Uuid::new_v4().as_bytes()));
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + validity).min(self.ends()).into();
        if let Some((value, critical)) = &request.names {
            let mut names = CustomExtension::from_oid_content(NAMES_OID, value.clone());
            names.set_criticality(*critical);
            params.custom_extensions.push(names);
        }
        let made = params.signed_by(&key, &self.issuer)?;
        let der = self.with_subject(made.der(), &request.subject)?;
        Ok(pem("CERTIFICATE", &der))
    }

    /// When the authority's own certificate ends.
    fn ends(&self) -> SystemTime {
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX));
        not_after(self.identity.cert_pem.as_bytes()).unwrap_or(far)
    }

    /// The same certificate for another subject.
    fn with_subject(&self, der: &[u8], subject: &[u8]) -> Result<Vec<u8>, PkiError> {
        let malformed = |_| PkiError::Certificate(rcgen::Error::CouldNotParseCertificate);
        let (_, certificate) = X509Certificate::from_der(der).map_err(malformed)?;
        let whole = certificate.tbs_certificate.as_ref();
        let old = certificate.tbs_certificate.subject.as_raw();
        // Both are slices of one buffer; the subject lies within.
        let start = old.as_ptr() as usize - whole.as_ptr() as usize;
        let head = header(whole);
        let mut content = whole[head..start].to_vec();
        content.extend_from_slice(subject);
        content.extend_from_slice(&whole[start + old.len()..]);
        let signed = wrapped(0x30, &content);
        let signature = self.issuer.key().sign(&signed)?;
        // What follows the signed part begins with the algorithm, which stays.
        let outer = header(der);
        let after = outer + whole.len();
        let algorithm = &der[after..after + header(&der[after..]) + length(&der[after..])];
        let mut bits = vec![0];
        bits.extend_from_slice(&signature);
        Ok(wrapped(0x30, &[signed, algorithm.to_vec(), wrapped(0x03, &bits)].concat()))
    }
}

/// When the first certificate in PEM ends; nothing if there is none.
pub fn not_after(pem: &[u8]) -> Option<SystemTime> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    let end = pem.parse_x509().ok()?.validity().not_after.timestamp();
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(end).ok()?))
}

/// How long the tag and length of a DER element are.
fn header(der: &[u8]) -> usize {
    match der.get(1) {
        Some(long) if long & 0x80 != 0 => 2 + usize::from(long & 0x7f),
        _ => 2,
    }
}

/// How long the content of a DER element is.
fn length(der: &[u8]) -> usize {
    match der.get(1) {
        Some(long) if long & 0x80 != 0 => {
            der[2..header(der)].iter().fold(0, |length, byte| (length << 8) | usize::from(*byte))
        }
        Some(short) => usize::from(*short),
        None => 0,
    }
}

/// A DER element.
fn wrapped(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    let length = content.len().to_be_bytes();
    let digits: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    match digits.as_slice() {
        [] => der.push(0),
        [short] if *short < 0x80 => der.push(*short),
        long => {
            der.push(0x80 | u8::try_from(long.len()).unwrap_or(8));
            der.extend_from_slice(long);
        }
    }
    der.extend_from_slice(content);
    der
}

/// PEM of some DER.
fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, SanType};

    use super::super::request::RequestError;

    use super::*;

    /// A request for a client with two groups (the library can make one of them only) and a name.
    fn request() -> SigningRequest {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "alice");
        params.distinguished_name.push(DnType::OrganizationName, "blue");
        // Another O under the same number.
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 10]), "green");
        params.subject_alt_names.push(SanType::DnsName("a.example".try_into().unwrap()));
        let made = params.serialize_request(&key).unwrap();
        SigningRequest::from_pem(made.pem().unwrap().as_bytes()).unwrap()
    }

    #[test]
    fn what_is_issued_says_what_was_asked_for() {
        let (authority, request) = (Authority::create("test").unwrap(), request());
        assert_eq!((request.common_name.as_str(), request.dns_names.len()), ("alice", 1));
        let usages = Usages::of(["client auth", "digital signature"]);
        let now = SystemTime::now();
        let pem = authority.sign(&request, &usages, now, Duration::from_secs(3600)).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let issued = pem.parse_x509().unwrap();
        assert_eq!(issued.subject().as_raw(), request.subject);
        let groups: Vec<&str> =
            issued.subject().iter_organization().filter_map(|o| o.as_str().ok()).collect();
        assert_eq!(groups, ["blue", "green"]);
        assert!(issued.extended_key_usage().unwrap().unwrap().value.client_auth);
        let (_, ca) = x509_parser::pem::parse_x509_pem(authority.cert_pem().as_bytes()).unwrap();
        let ca = ca.parse_x509().unwrap();
        issued.verify_signature(Some(ca.public_key())).unwrap();
    }

    #[test]
    fn a_request_that_somebody_changed_is_refused() {
        assert_eq!(SigningRequest::from_pem(b"hello"), Err(RequestError::NotPem));
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::default().serialize_request(&key).unwrap();
        let mut der = made.der().to_vec();
        assert!(SigningRequest::from_der(&der).is_ok());
        let last = der.len() - 1;
        der[last] ^= 1;
        assert_eq!(SigningRequest::from_der(&der), Err(RequestError::Unsigned));
    }
}
