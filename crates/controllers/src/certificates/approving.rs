//! Approves the client certificates that kubelets ask for, if whoever asks may have them.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use skiff_base::pki::request::SigningRequest;
use skiff_client::controller::{Itself, Key, Next, Outcome};
use skiff_client::write;

use super::{conclude, plan};
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "certificate-approver",
    component: "certificate-controller",
    wakes: &[on::<CertificateSigningRequest, Itself>()],
    may: &[
        ("patch", "certificatesigningrequests/approval"),
        ("approve", "signers.certificates.k8s.io"),
        ("create", "subjectaccessreviews.authorization.k8s.io"),
    ],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(request) = ctx.get::<CertificateSigningRequest>(&key) else { return Ok(Next::Rest) };
    if ["Approved", "Denied", "Failed"].iter().any(|kind| plan::has(&request, kind)) {
        return Ok(Next::Rest);
    }
    let Ok(asked) = SigningRequest::from_pem(&request.spec.request.0) else { return Ok(Next::Rest) };
    for (permission, message) in plan::approvals(&request, &asked) {
        let review = write::create(ctx.link(), &review(&request, permission)).await?;
        if review.status.is_some_and(|status| status.allowed) {
            conclude(&ctx, &request, "approval", ("Approved", "AutoApproved", message)).await?;
            break;
        }
    }
    Ok(Next::Rest)
}

/// May whoever asks have a kubelet's certificate?
fn review(request: &CertificateSigningRequest, permission: &str) -> SubjectAccessReview {
    let spec = &request.spec;
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: Some("certificates.k8s.io".to_owned()),
                resource: Some("certificatesigningrequests".to_owned()),
                verb: Some("create".to_owned()),
                subresource: Some(permission.to_owned()),
                version: Some("*".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}
