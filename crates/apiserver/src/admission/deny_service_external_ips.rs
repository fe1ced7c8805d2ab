//! DenyServiceExternalIPs: nobody adds an external address to a service, and with it takes others' traffic. Off unless
//! asked for.

use k8s_openapi::api::core::v1::Service;
use skiff_api::ApiError;

use super::{Attempt, Plugin};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { validate, ..Plugin::optional("DenyServiceExternalIPs") };

fn addresses(draft: &dyn Draft) -> Vec<String> {
    let service = draft.as_any().downcast_ref::<Service>();
    service.and_then(|service| service.spec.as_ref()?.external_ips.clone()).unwrap_or_default()
}

fn validate(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    let before = attempt.old.map(addresses).unwrap_or_default();
    if addresses(draft).iter().all(|address| before.contains(address)) {
        return Ok(());
    }
    let name = draft.meta().name.as_deref().unwrap_or_default();
    Err(attempt.forbidden(name, "Use of external IPs is denied by admission control"))
}
