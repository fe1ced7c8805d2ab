//! PodCertificateRequest: a kubelet asks for a certificate on behalf of one of its pods.

use k8s_openapi::api::certificates::v1::{PodCertificateRequest, PodCertificateRequestStatus};
use skiff_api::Errors;
use skiff_api::errors::Fault;
use skiff_base::pki::request::SigningRequest;

use super::{certificates, shown, signer_name};
use crate::kinds::{Column, Kind, Row, row};

/// The row of PodCertificateRequest.
pub(crate) const KIND: Row =
    Row { status: true, name_rule: |_| Vec::new(), ..row::<PodCertificateRequest>() };

const SHORTEST: i32 = 3600;
const LONGEST: i32 = 91 * 86_400;

fn state(request: &PodCertificateRequest) -> &'static str {
    let conditions = request.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut types = conditions.filter(|condition| condition.status == "True").map(|it| it.type_.as_str());
    match types.find(|kind| ["Issued", "Denied", "Failed"].contains(kind)) {
        Some("Issued") => "Issued",
        Some("Denied") => "Denied",
        Some(_) => "Failed",
        None => "Pending",
    }
}

impl Kind for PodCertificateRequest {
    fn set_defaults(&mut self) {
        self.spec.max_expiration_seconds.get_or_insert(86_400);
        self.status.get_or_insert_default();
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = Some(PodCertificateRequestStatus::default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate_create(&self, errors: &mut Errors) {
        let spec = &self.spec;
        errors.at("spec", |errors| {
            signer_name(errors, "signerName", &spec.signer_name);
            for (field, text) in [
                ("podName", &spec.pod_name),
                ("podUID", &spec.pod_uid),
                ("serviceAccountName", &spec.service_account_name),
                ("serviceAccountUID", &spec.service_account_uid),
                ("nodeName", &spec.node_name),
                ("nodeUID", &spec.node_uid),
            ] {
                if text.is_empty() {
                    errors.required(field, "");
                }
            }
            let seconds = spec.max_expiration_seconds.unwrap_or(0);
            if seconds < SHORTEST {
                errors.invalid("maxExpirationSeconds", &seconds, "must be >= 3600 (1 hour)");
            }
            if seconds > LONGEST {
                errors.invalid("maxExpirationSeconds", &seconds, "must be <= 7862400 (91 days)");
            }
            let request = &spec.stub_pkc_s10_request.0;
            if let Err(why) = SigningRequest::from_der(request) {
                errors.push(Fault::Invalid, "stubPKCS10Request", shown(request), why.to_string());
            }
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        errors.immutable("spec", &self.spec, &old.spec);
    }

    fn validate_status(&self, old: &Self, errors: &mut Errors) {
        let status = |request: &Self| request.status.clone().unwrap_or_default();
        let (new, old) = (status(self), status(old));
        errors.at("status", |errors| {
            if old.certificate_chain.is_some() {
                errors.immutable("certificateChain", &new.certificate_chain, &old.certificate_chain);
                errors.immutable("notBefore", &new.not_before, &old.not_before);
                errors.immutable("beginRefreshAt", &new.begin_refresh_at, &old.begin_refresh_at);
                errors.immutable("notAfter", &new.not_after, &old.not_after);
            } else if let Some(chain) = &new.certificate_chain
                && let Err(why) = certificates(chain.as_bytes())
            {
                errors.invalid("certificateChain", chain, why);
            }
        });
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("PodName", |it, _| it.spec.pod_name.clone().into()),
            Column::<Self>::text("ServiceAccountName", |it, _| it.spec.service_account_name.clone().into()),
            Column::<Self>::text("NodeName", |it, _| it.spec.node_name.clone().into()),
            Column::<Self>::text("SignerName", |it, _| it.spec.signer_name.clone().into()),
            Column::<Self>::text("State", |it, _| state(it).into()),
        ]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("spec.signerName", self.spec.signer_name.clone()),
            ("spec.podName", self.spec.pod_name.clone()),
            ("spec.nodeName", self.spec.node_name.clone()),
        ]
    }
}
