//! Signs what was approved, with the cluster's own authority.

use std::time::SystemTime;

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use skiff_base::pki::request::SigningRequest;
use skiff_base::pki::sign::Usages;
use skiff_client::controller::{Itself, Key, Next, Outcome};

use super::{conclude, plan};
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "certificate-signer",
    component: "certificate-controller",
    wakes: &[on::<CertificateSigningRequest, Itself>()],
    may: &[("patch", "certificatesigningrequests/status"), ("sign", "signers.certificates.k8s.io")],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(authority) = ctx.settings().signer.clone() else { return Ok(Next::Rest) };
    let Some(request) = ctx.get::<CertificateSigningRequest>(&key).filter(|it| plan::to_sign(it)) else {
        return Ok(Next::Rest);
    };
    let asked = SigningRequest::from_pem(&request.spec.request.0).map_err(|why| why.to_string());
    let asked = asked.and_then(|asked| plan::check(&request, &asked).map(|()| asked).map_err(str::to_owned));
    let usages = Usages::of(request.spec.usages.iter().flatten().map(String::as_str));
    let signed = asked.and_then(|asked| {
        let now = SystemTime::from(ctx.now());
        let signed = authority.sign(&asked, &usages, now, plan::validity(&request));
        signed.map_err(|error| error.to_string())
    });
    match signed {
        Ok(certificate) => {
            let mut done = (*request).clone();
            done.status.get_or_insert_default().certificate = Some(ByteString(certificate.into_bytes()));
            ctx.patch_status(&*request, &done).await?;
        }
        Err(why) => {
            conclude(&ctx, &request, "status", ("Failed", "SignerValidationFailure", &why)).await?;
        }
    }
    Ok(Next::Rest)
}
