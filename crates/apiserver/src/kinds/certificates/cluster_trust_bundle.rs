//! ClusterTrustBundle: authorities that pods may trust, of one signer or of nobody in particular.

use std::collections::BTreeMap;

use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use skiff_api::{Errors, names};

use super::signer_name;
use crate::kinds::{Column, Kind, Row, check, row};

/// The row of ClusterTrustBundle; its names depend on the signer's, see below.
pub(crate) const KIND: Row = Row { name_rule: |_| Vec::new(), ..row::<ClusterTrustBundle>() };

const MAX_BUNDLE: usize = 1024 * 1024;

fn signer(bundle: &ClusterTrustBundle) -> Option<&str> {
    check::given(bundle.spec.signer_name.as_ref())
}

fn validate_name(bundle: &ClusterTrustBundle, errors: &mut Errors) {
    let name = bundle.metadata.name.as_deref().unwrap_or_default();
    let field = "metadata.name";
    match signer(bundle) {
        None if name.contains(':') => {
            let why = "ClusterTrustBundle without signer name must not have \":\" in its name";
            errors.invalid(field, name, why);
        }
        None => check::named(errors, field, name, names::dns1123_subdomain(name)),
        Some(signer) => {
            let prefix = format!("{}:", signer.replace('/', ":"));
            match name.strip_prefix(&prefix) {
                Some(rest) => check::named(errors, field, name, names::dns1123_subdomain(rest)),
                None => {
                    let why = format!(
                        "ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"
                    );
                    errors.invalid(field, name, why);
                }
            }
        }
    }
}

fn validate_bundle(text: &str, errors: &mut Errors) {
    const OMITTED: &str = "<value omitted>";
    let field = "spec.trustBundle";
    if text.len() > MAX_BUNDLE {
        errors.too_long(field, MAX_BUNDLE);
        return;
    }
    let before = errors.len();
    let mut anchors: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    let blocks = x509_parser::pem::Pem::iter_from_buffer(text.as_bytes()).filter_map(Result::ok);
    for (index, block) in blocks.enumerate() {
        let mut refuse = |why: String| errors.invalid(field, OMITTED, why);
        if block.label != "CERTIFICATE" {
            refuse(format!("entry {index} has bad block type: {}", block.label));
            continue;
        }
        let authority = match block.parse_x509() {
            Ok(certificate) => certificate.is_ca(),
            Err(_) => {
                refuse(format!("entry {index} does not parse as X.509"));
                continue;
            }
        };
        if !authority {
            refuse(format!("entry {index} does not have the CA bit set"));
            continue;
        }
        anchors.entry(block.contents).or_default().push(index);
    }
    if errors.len() > before {
        return;
    }
    if anchors.is_empty() {
        errors.invalid(field, OMITTED, "at least one trust anchor must be provided");
    }
    for indices in anchors.values().filter(|indices| indices.len() > 1) {
        let list: Vec<String> = indices.iter().map(ToString::to_string).collect();
        errors.invalid(field, OMITTED, format!("duplicate trust anchor (indices [{}])", list.join(" ")));
    }
}

impl Kind for ClusterTrustBundle {
    fn validate(&self, errors: &mut Errors) {
        validate_name(self, errors);
        if let Some(signer) = signer(self) {
            signer_name(errors, "spec.signerName", signer);
        }
    }

    fn validate_create(&self, errors: &mut Errors) {
        validate_bundle(&self.spec.trust_bundle, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        // What is stored already may have been judged by other rules.
        if self.spec.trust_bundle != old.spec.trust_bundle {
            validate_bundle(&self.spec.trust_bundle, errors);
        }
        errors.immutable("spec.signerName", &self.spec.signer_name, &old.spec.signer_name);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::<Self>::text("SignerName", |it, _| {
            check::or_none(signer(it).unwrap_or_default()).into()
        })]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![("spec.signerName", self.spec.signer_name.clone().unwrap_or_default())]
    }
}
