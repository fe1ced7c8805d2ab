//! Bootstrap tokens go when they have expired. Follows upstream's `pkg/controller/bootstrap/tokencleaner.go`.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use skiff_client::controller::{Itself, Key, Next, Outcome};
use skiff_client::write;

use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "token-cleaner",
    component: "token-cleaner",
    wakes: &[on::<Secret, Itself>()],
    may: &[("delete", "secrets")],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    if key.namespace() != Some("kube-system") || !key.name().starts_with("bootstrap-token-") {
        return Ok(Next::Rest);
    }
    let Some(secret) = ctx.get::<Secret>(&key) else { return Ok(Next::Rest) };
    if secret.type_.as_deref() != Some("bootstrap.kubernetes.io/token") {
        return Ok(Next::Rest);
    }
    let Some(end) = secret.data.as_ref().and_then(|data| data.get("expiration")) else {
        return Ok(Next::Rest);
    };
    // A time that nobody can read counts as past, as it does for who shows the token.
    let end = std::str::from_utf8(&end.0).ok().and_then(|text| text.parse::<Timestamp>().ok());
    let left = end.map(|end| ctx.now().duration_until(end)).filter(|left| left.is_positive());
    if let Some(left) = left {
        return Ok(Next::After(Duration::try_from(left).unwrap_or(Duration::from_secs(1))));
    }
    match ctx.delete(&*secret, DeleteOptions::default()).await {
        Err(error) if write::is_not_found(&error) => Ok(Next::Rest),
        other => Ok(other.map(|()| Next::Rest)?),
    }
}
