//! CertificateSigningRequest: somebody with a key asks for a certificate; others approve, a signer issues.
//!
//! Follows upstream's `pkg/apis/certificates/validation` and `pkg/registry/certificates/certificates/strategy.go`: who
//! asks is written down by the server, and nothing but metadata, approval and outcome changes later, each at its place.

use std::collections::HashSet;

use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition as Condition,
    CertificateSigningRequestStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use skiff_api::Errors;
use skiff_api::errors::Fault;
use skiff_base::pki::request::SigningRequest;

use super::{certificates, shown, signer_name};
use crate::kinds::{Column, Kind, Row, check, row};
use crate::user::User;

/// The row of CertificateSigningRequest.
pub(crate) const KIND: Row =
    Row { short: &["csr"], status: true, name_rule: |_| Vec::new(), ..row::<CertificateSigningRequest>() };

/// The signer of the API's beta, which requests may not name any more.
const LEGACY: &str = "kubernetes.io/legacy-unknown";
const SHORTEST: i32 = 600;
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

fn status(request: &CertificateSigningRequest) -> CertificateSigningRequestStatus {
    request.status.clone().unwrap_or_default()
}

fn conditions(request: &CertificateSigningRequest) -> &[Condition] {
    request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

fn of_type<'a>(request: &'a CertificateSigningRequest, kind: &str) -> Vec<&'a Condition> {
    conditions(request).iter().filter(|condition| condition.type_ == kind).collect()
}

fn has(request: &CertificateSigningRequest, kind: &str) -> bool {
    !of_type(request, kind).is_empty()
}

fn validate_conditions(request: &CertificateSigningRequest, errors: &mut Errors) {
    let (mut seen, mut decided) = (HashSet::new(), "");
    for (index, condition) in conditions(request).iter().enumerate() {
        errors.item("status.conditions", index, |errors| {
            let kind = condition.type_.as_str();
            if kind.is_empty() {
                errors.required("type", "");
            }
            let final_ = ["Approved", "Denied", "Failed"].contains(&kind);
            let allowed: &[&str] = if final_ { &["True"] } else { &["False", "True", "Unknown"] };
            match condition.status.as_str() {
                "" => errors.required("status", ""),
                status => check::one_of(errors, "status", status, allowed),
            }
            if ["Approved", "Denied"].contains(&kind) {
                if !decided.is_empty() && decided != kind {
                    errors.invalid("type", kind, "Approved and Denied conditions are mutually exclusive");
                }
                decided = kind;
            }
            if !seen.insert(kind) {
                errors.duplicate("type", kind);
            }
        });
    }
}

/// What each kind of update may not do. `decides` for the approval, `issues` for the status.
fn validate_change(
    new: &CertificateSigningRequest,
    old: &CertificateSigningRequest,
    (decides, issues): (bool, bool),
    errors: &mut Errors,
) {
    validate_conditions(new, errors);
    let field = "status.conditions";
    for kind in ["Approved", "Denied", "Failed"] {
        let (before, after) = (of_type(old, kind), of_type(new, kind));
        if after.len() < before.len() {
            errors.forbidden(field, format!("updates may not remove a condition of type {kind:?}"));
        } else if decides || kind == "Failed" {
        } else if after.len() > before.len() {
            errors.forbidden(field, format!("updates may not add a condition of type {kind:?}"));
        } else if before != after {
            errors.forbidden(field, format!("updates may not modify a condition of type {kind:?}"));
        }
    }
    let bytes = |request: &CertificateSigningRequest| status(request).certificate.unwrap_or_default().0;
    let (before, after) = (bytes(old), bytes(new));
    if before != after {
        let field = "status.certificate";
        if !issues {
            errors.forbidden(field, "updates may not set certificate content");
        } else if !before.is_empty() {
            errors.forbidden(field, "updates may not modify existing certificate content");
        }
        if let Some(why) = certificates(&after).err().filter(|_| !after.is_empty()) {
            errors.invalid(field, "<certificate data>", why);
        }
    }
}

/// `Approved,Issued`: how far a request has come.
fn progress(request: &CertificateSigningRequest) -> String {
    let mut text = match (has(request, "Denied"), has(request, "Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has(request, "Failed") {
        text.push_str(",Failed");
    }
    if status(request).certificate.is_some_and(|bytes| !bytes.0.is_empty()) {
        text.push_str(",Issued");
    }
    text
}

impl Kind for CertificateSigningRequest {
    fn set_defaults(&mut self) {
        if self.spec.usages.as_ref().is_none_or(Vec::is_empty) && self.spec.signer_name == LEGACY {
            self.spec.usages = Some(vec!["digital signature".to_owned(), "key encipherment".to_owned()]);
        }
        self.status.get_or_insert_default();
    }

    fn prepare_create(&mut self) {
        self.status = Some(CertificateSigningRequestStatus::default());
    }

    fn requested_by(&mut self, user: &User) {
        self.spec.username = Some(user.name.to_string());
        self.spec.groups = Some(user.groups.to_vec());
        self.spec.uid = Some(user.uid.to_string()).filter(|uid| !uid.is_empty());
        self.spec.extra = Some((*user.extra).clone()).filter(|extra| !extra.is_empty());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn prepare_approval(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
        let conditions = self.status.take().and_then(|status| status.conditions);
        self.status = Some(CertificateSigningRequestStatus { conditions, ..status(old) });
    }

    fn date(&mut self, old: &Self, now: &Time) {
        let conditions = self.status.as_mut().and_then(|status| status.conditions.as_mut());
        for condition in conditions.into_iter().flatten() {
            condition.last_update_time.get_or_insert_with(|| now.clone());
            let before = of_type(old, &condition.type_).into_iter().find(|it| it.status == condition.status);
            let since = before.and_then(|before| before.last_transition_time.clone());
            condition.last_transition_time.get_or_insert_with(|| since.unwrap_or_else(|| now.clone()));
        }
    }

    fn validate_create(&self, errors: &mut Errors) {
        let spec = &self.spec;
        errors.at("spec", |errors| {
            if let Err(why) = SigningRequest::from_pem(&spec.request.0) {
                errors.push(Fault::Invalid, "request", shown(&spec.request.0), why.to_string());
            }
            let usages = spec.usages.as_deref().unwrap_or_default();
            if usages.is_empty() {
                errors.required("usages", "");
            }
            let mut seen = HashSet::new();
            for (index, usage) in usages.iter().enumerate() {
                check::one_of(errors, &format!("usages[{index}]"), usage, USAGES);
                if !seen.insert(usage) {
                    errors.duplicate(&format!("usages[{index}]"), usage);
                }
            }
            match spec.signer_name.as_str() {
                LEGACY => {
                    let why = "the legacy signerName is not allowed via this API version";
                    errors.invalid("signerName", LEGACY, why);
                }
                name => signer_name(errors, "signerName", name),
            }
            if let Some(short) = spec.expiration_seconds.filter(|seconds| *seconds < SHORTEST) {
                let why = "may not specify a duration less than 600 seconds (10 minutes)";
                errors.invalid("expirationSeconds", &short, why);
            }
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        validate_change(self, old, (false, false), errors);
    }

    fn validate_status(&self, old: &Self, errors: &mut Errors) {
        validate_change(self, old, (false, true), errors);
    }

    fn validate_approval(&self, old: &Self, errors: &mut Errors) {
        validate_change(self, old, (true, false), errors);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::age(),
            Column::<Self>::text("SignerName", |it, _| check::or_none(&it.spec.signer_name).into()),
            Column::<Self>::text("Requestor", |it, _| it.spec.username.clone().unwrap_or_default().into()),
            Column::<Self>::text("RequestedDuration", |it, now| match it.spec.expiration_seconds {
                Some(seconds) => {
                    let before = now - jiff::SignedDuration::from_secs(i64::from(seconds));
                    skiff_api::table::age(before, now).into()
                }
                None => check::or_none("").into(),
            }),
            Column::<Self>::text("Condition", |it, _| progress(it).into()),
        ]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![("spec.signerName", self.spec.signer_name.clone())]
    }
}
