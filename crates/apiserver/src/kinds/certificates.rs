//! Kinds of the group `certificates.k8s.io`, and what they have in common.

use skiff_api::{Errors, names};

pub mod certificate_signing_request;
pub mod cluster_trust_bundle;
pub mod pod_certificate_request;

/// The name of a signer: `example.com/signer-name`.
pub(super) fn signer_name(errors: &mut Errors, field: &str, name: &str) {
    if name.is_empty() {
        errors.required(field, "");
    }
    let parts: Vec<&str> = name.split('/').collect();
    let [domain, path] = parts.as_slice() else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.invalid(field, name, why);
        return;
    };
    if domain.len() > 253 {
        errors.too_long(field, 253);
    }
    let mut label = |part: &str, rule: fn(&str) -> Vec<String>| {
        let bad = part.split('.').find_map(|label| rule(label).pop().map(|why| (label, why)));
        if let Some((label, why)) = bad {
            errors.invalid(field, part, format!("validating label {label:?}: {why}"));
        }
    };
    label(domain, names::dns1123_label);
    label(path, names::dns1123_subdomain);
    if !domain.contains('.') {
        errors.invalid(field, *domain, "should be a domain with at least two segments separated by dots");
    }
}

/// Bytes as upstream's errors show them.
pub(super) fn shown(bytes: &[u8]) -> String {
    let list: Vec<String> = bytes.iter().map(|byte| format!("{byte:#x}")).collect();
    format!("[]byte{{{}}}", list.join(", "))
}

/// The certificates in PEM: nothing else may be there.
///
/// # Errors
/// In upstream's words.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<x509_parser::pem::Pem>, String> {
    let mut found = Vec::new();
    for block in x509_parser::pem::Pem::iter_from_buffer(text) {
        let Ok(block) = block else { continue };
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        block.parse_x509().map_err(|error| format!("x509: malformed certificate: {error}"))?;
        found.push(block);
    }
    if found.is_empty() {
        return Err("must contain at least one CERTIFICATE PEM block".to_owned());
    }
    Ok(found)
}
