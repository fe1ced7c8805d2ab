//! Writes into each quota's status what the ledger says: one write for all that happened since the last one.

use std::convert::Infallible;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};
use skiff_api::ApiError;
use skiff_base::task::Tasks;

use crate::api::Api;
use crate::registry::Scope;
use crate::registry::update::{Part, Proposal, Update, update};
use crate::user::User;

/// Keeps statuses current until the server stops.
pub(crate) async fn keep(api: Arc<Api>, tasks: Tasks) -> Result<(), Infallible> {
    while api.store_is_open() {
        let seen = api.store.revision();
        let stale = {
            let mut books = api.quotas.books.lock();
            books.catch_up(&api.store);
            books.stale()
        };
        for (namespace, name, status) in stale {
            match write(&api, &namespace, &name, &status).await {
                Err(error) if error.code() != 404 => {
                    tracing::warn!(%namespace, quota = %name, %error, "a quota's status cannot be written");
                }
                _ => {}
            }
        }
        tokio::select! {
            () = tasks.stopped() => break,
            () = api.store.wait_for(seen + 1) => {}
        }
    }
    Ok(())
}

async fn write(api: &Api, namespace: &str, name: &str, status: &ResourceQuotaStatus) -> Result<(), ApiError> {
    let Some(entry) = &api.catalog.of::<ResourceQuota>() else { return Ok(()) };
    let user = User::new("system:apiserver", ["system:masters"]);
    let scope = Scope {
        namespace,
        name,
        subresource: "status",
        manager: Some("kube-apiserver"),
        ..Scope::own(api, entry, &user)
    };
    let change = |current: Option<&skiff_api::Object>| {
        let Some(current) = current else { return Err(ApiError::not_found(&entry.resource, name)) };
        let mut draft = scope.thaw(current)?;
        if let Some(quota) = draft.as_any_mut().downcast_mut::<ResourceQuota>() {
            quota.status = Some(status.clone());
        }
        Ok(Proposal::quiet(draft))
    };
    let how = Update { part: Part::Status, dry_run: false, change: &change, upsert: false };
    update(&scope, &how).await.map(|_| ())
}
