//! CertificateApproval, CertificateSigning and ClusterTrustBundleAttest: who may speak for a signer.
//!
//! RBAC names signers as a resource of its own that nobody stores: `approve`, `sign` and `attest` on `signers`, by the
//! signer's name or by its domain and `/*`.

use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, ClusterTrustBundle};
use skiff_api::ApiError;

use super::{Attempt, Operation, Plugin};
use crate::authz::{self, Ask};
use crate::kinds::Draft;

pub(super) const APPROVAL: Plugin = Plugin { validate: approval, ..Plugin::named("CertificateApproval") };
pub(super) const SIGNING: Plugin = Plugin { validate: signing, ..Plugin::named("CertificateSigning") };
pub(super) const ATTEST: Plugin = Plugin { validate: attest, ..Plugin::named("ClusterTrustBundleAttest") };

fn may(attempt: &Attempt<'_>, verb: &str, signer: &str) -> bool {
    let (api, user) = (attempt.scope.api, attempt.scope.user);
    let domain = signer.split_once('/').map_or(signer, |(domain, _)| domain);
    let allowed = |name: &str| {
        let ask = Ask {
            verb,
            group: "certificates.k8s.io",
            version: "*",
            resource: "signers",
            name,
            ..Ask::nothing(user)
        };
        authz::judge_now(api, &ask).is_allowed()
    };
    allowed(signer) || allowed(&format!("{domain}/*"))
}

/// The object before and after an update of one of its parts.
fn updated<'a, K: 'static>(
    attempt: &'a Attempt<'_>,
    draft: &'a dyn Draft,
    part: &str,
) -> Option<(&'a K, &'a K)> {
    if attempt.operation != Operation::Update || attempt.scope.subresource != part {
        return None;
    }
    attempt.old?.as_any().downcast_ref().zip(draft.as_any().downcast_ref())
}

fn approval(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    let Some((old, _)) = updated::<CertificateSigningRequest>(attempt, draft, "approval") else {
        return Ok(());
    };
    let signer = &old.spec.signer_name;
    if may(attempt, "approve", signer) {
        return Ok(());
    }
    let why = format!("user not permitted to approve requests with signerName {signer:?}");
    Err(attempt.forbidden(attempt.scope.name, why))
}

fn signing(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    let Some((old, new)) = updated::<CertificateSigningRequest>(attempt, draft, "status") else {
        return Ok(());
    };
    // Metadata alone is not the signer's business.
    let signer = &old.spec.signer_name;
    if old.status == new.status || may(attempt, "sign", signer) {
        return Ok(());
    }
    let why = format!("user not permitted to sign requests with signerName {signer:?}");
    Err(attempt.forbidden(attempt.scope.name, why))
}

fn attest(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    let Some(new) = draft.as_any().downcast_ref::<ClusterTrustBundle>() else { return Ok(()) };
    let old = attempt.old.and_then(|old| old.as_any().downcast_ref::<ClusterTrustBundle>());
    let signer = new.spec.signer_name.as_deref().unwrap_or_default();
    if signer.is_empty() || old.is_some_and(|old| old.spec == new.spec) || may(attempt, "attest", signer) {
        return Ok(());
    }
    let name = new.metadata.name.as_deref().unwrap_or_default();
    Err(attempt.forbidden(name, format!("user not permitted to attest for signerName {signer:?}")))
}
