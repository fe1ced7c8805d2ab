//! Pods' requests for certificates go after a quarter of an hour, whatever became of them: who asked has its answer or has
//! asked again. Follows upstream's `pkg/controller/certificates/cleaner/pcrcleaner.go`.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::certificates::v1::PodCertificateRequest;
use skiff_client::controller::{Itself, Key, Next, Outcome};

use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "podcertificaterequest-cleaner",
    component: "podcertificaterequest-cleaner",
    wakes: &[on::<PodCertificateRequest, Itself>()],
    may: &[("delete", "podcertificaterequests.certificates.k8s.io")],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

const LIFE: SignedDuration = SignedDuration::from_mins(15);

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(request) = ctx.get::<PodCertificateRequest>(&key) else { return Ok(Next::Rest) };
    let Some(created) = request.metadata.creation_timestamp.as_ref() else { return Ok(Next::Rest) };
    let left = ctx.now().duration_until(created.0 + LIFE);
    if left.is_positive() {
        return Ok(Next::After(Duration::try_from(left).unwrap_or(Duration::from_secs(1))));
    }
    ctx.delete(&*request, Default::default()).await?;
    Ok(Next::Rest)
}
