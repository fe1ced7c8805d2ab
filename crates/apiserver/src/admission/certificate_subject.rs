//! CertificateSubjectRestriction: nobody may ask for a client certificate of the group that may do everything.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use skiff_api::ApiError;
use skiff_base::pki::request::SigningRequest;

use super::{Attempt, Plugin};
use crate::kinds::Draft;
use crate::user::MASTERS;

const SIGNER: &str = "kubernetes.io/kube-apiserver-client";

pub(super) const PLUGIN: Plugin = Plugin { validate, ..Plugin::named("CertificateSubjectRestriction") };

fn validate(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    let Some(request) = draft.as_any().downcast_ref::<CertificateSigningRequest>() else { return Ok(()) };
    if !attempt.creates() || request.spec.signer_name != SIGNER {
        return Ok(());
    }
    let asked = SigningRequest::from_pem(&request.spec.request.0).unwrap_or_default();
    if asked.organizations.iter().any(|group| group == MASTERS) {
        let name = request.metadata.name.as_deref().unwrap_or_default();
        return Err(
            attempt.forbidden(name, format!("use of {SIGNER} signer with {MASTERS} group is not allowed"))
        );
    }
    Ok(())
}
