//! Finished Jobs with a time to live go when it is over.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use skiff_client::controller::{Itself, Key, Next, Outcome};

use crate::job;
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "ttl-after-finished-controller",
    component: "ttl-after-finished-controller",
    wakes: &[on::<Job, Itself>()],
    may: &[("delete", "jobs")],
    workers: 2,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(job) = ctx.get::<Job>(&key).filter(|job| job.metadata.deletion_timestamp.is_none()) else {
        return Ok(Next::Rest);
    };
    let live = job.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished);
    let (Some(live), Some(end)) = (live, job::ended(&job)) else { return Ok(Next::Rest) };
    let left = ctx.now().duration_until(end + SignedDuration::from_secs(i64::from(live)));
    if left.is_positive() {
        return Ok(Next::After(Duration::try_from(left).unwrap_or(Duration::from_secs(1))));
    }
    let options =
        DeleteOptions { propagation_policy: Some("Foreground".to_owned()), ..DeleteOptions::default() };
    ctx.delete(&*job, options).await?;
    Ok(Next::Rest)
}
