//! Deletes requests that nobody waits for any more.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use skiff_base::pki::not_after;
use skiff_client::controller::{Itself, Key, Next, Outcome};

use super::plan;
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "certificate-cleaner",
    component: "certificate-controller",
    wakes: &[on::<CertificateSigningRequest, Itself>()],
    may: &[("delete", "certificatesigningrequests")],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(request) = ctx.get::<CertificateSigningRequest>(&key) else { return Ok(Next::Rest) };
    let ends = plan::issued(&request).and_then(not_after).and_then(|end| Timestamp::try_from(end).ok());
    let Some(stale) = plan::stale_at(&request, ends) else { return Ok(Next::Rest) };
    let left = ctx.now().duration_until(stale);
    if left.is_positive() {
        return Ok(Next::After(Duration::try_from(left).unwrap_or(Duration::from_secs(1))));
    }
    ctx.delete(&*request, DeleteOptions::default()).await?;
    Ok(Next::Rest)
}
