//! Leases by which API servers say who they are go when their server has not renewed them for as long as they last.
//! Follows upstream's `pkg/controlplane/controller/apiserverleasegc`.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use skiff_api::{Object, names};
use skiff_client::Change;
use skiff_client::controller::{Caches, How, Key, Next, Outcome};

use crate::Settings;
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "apiserver-lease-cleaner",
    component: "apiserver-lease-cleaner",
    wakes: &[on::<Lease, OfServers>()],
    may: &[("delete", "leases.coordination.k8s.io")],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// Where leases of API servers are.
pub(crate) const NAMESPACE: &str = "kube-system";

/// Leases of API servers, not those of the many nodes.
struct OfServers;

impl How<Settings> for OfServers {
    fn keys(change: &Change, _: &Caches, _: &Settings) -> Vec<Key> {
        let lease = change.latest();
        if is_of_server(lease) { vec![lease.meta().key().into()] } else { Vec::new() }
    }
}

/// Whether an API server says by this lease who it is.
pub(crate) fn is_of_server(lease: &Object) -> bool {
    let meta = lease.meta();
    meta.namespace.as_deref() == Some(NAMESPACE)
        && meta.labels.get(names::IDENTITY).is_some_and(|value| &**value == names::API_SERVER)
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(lease) = ctx.get::<Lease>(&key) else { return Ok(Next::Rest) };
    let left = left(&lease, ctx.now());
    if left.is_positive() {
        return Ok(Next::After(Duration::try_from(left).unwrap_or(Duration::from_secs(1))));
    }
    // Only as it was looked at: who has renewed it meanwhile keeps it.
    let conditions = Preconditions {
        uid: lease.metadata.uid.clone(),
        resource_version: lease.metadata.resource_version.clone(),
    };
    let options = DeleteOptions { preconditions: Some(conditions), ..DeleteOptions::default() };
    ctx.delete(&*lease, options).await?;
    Ok(Next::Rest)
}

/// How long it still lasts; one that does not say is over.
fn left(lease: &Lease, now: jiff::Timestamp) -> SignedDuration {
    let spec = lease.spec.as_ref();
    let renewed = spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
    let length = spec.and_then(|spec| spec.lease_duration_seconds);
    match (renewed, length) {
        (Some(renewed), Some(length)) => {
            now.duration_until(renewed + SignedDuration::from_secs(length.into()))
        }
        _ => SignedDuration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lasts_from_its_last_renewal() {
        let lease = |spec: &str| {
            serde_saphyr::from_str::<Lease>(&format!("{{metadata: {{}}, spec: {spec}}}")).unwrap()
        };
        let now = "2026-11-22T10:00:30Z".parse().unwrap();
        let held = lease("{renewTime: '2026-11-22T10:00:00.000000Z', leaseDurationSeconds: 40}");
        assert_eq!(left(&held, now).as_secs(), 10);
        assert!(left(&lease("{leaseDurationSeconds: 40}"), now).is_zero());
    }
}
