//! Administrators' access to devices, which others may be using, is for namespaces that say so.
//!
//! Upstream does this in the storage of the group (`pkg/registry/resource/utils.go`); the words are its.

use k8s_openapi::api::resource::v1::{DeviceClaim, ResourceClaim, ResourceClaimTemplate};
use skiff_api::{ApiError, Errors};
use skiff_store::Key;

use super::{Attempt, Plugin};
use crate::kinds::Draft;

pub(super) const CHECK: Plugin = Plugin { validate, ..Plugin::named("DeviceAdminAccess") };

/// On a namespace.
const LABEL: &str = "resource.kubernetes.io/admin-access";

fn validate(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    let any = draft.as_any();
    let field = if let Some(claim) = any.downcast_ref::<ResourceClaim>() {
        match attempt.scope.subresource {
            "" if attempt.creates() => {
                asked(claim.spec.as_ref().and_then(|spec| spec.devices.as_ref()), "spec.devices")
            }
            "status" => given(claim),
            _ => None,
        }
    } else if let Some(template) = any.downcast_ref::<ResourceClaimTemplate>().filter(|_| attempt.creates()) {
        let spec = template.spec.as_ref().and_then(|spec| spec.spec.as_ref());
        asked(spec.and_then(|spec| spec.devices.as_ref()), "spec.spec.devices")
    } else {
        None
    };
    let Some(field) = field else { return Ok(()) };
    let namespace = attempt.scope.api.store.get(&Key::new("namespaces", attempt.scope.namespace));
    let labelled = |stored: &crate::stored::Stored| {
        stored.object().meta().labels.get(LABEL).is_some_and(|value| &**value == "true")
    };
    if namespace.as_deref().is_some_and(labelled) {
        return Ok(());
    }
    let mut errors = Errors::new();
    let why =
        format!("admin access to devices requires the `{LABEL}: true` label on the containing namespace");
    errors.forbidden(&field, why);
    Err(attempt.scope.entry.invalid(draft.meta().name.as_deref().unwrap_or_default(), errors))
}

/// The field of the first request for it.
fn asked(claim: Option<&DeviceClaim>, at: &str) -> Option<String> {
    let requests = claim?.requests.as_deref().unwrap_or_default();
    let wants =
        requests.iter().position(|it| it.exactly.as_ref().is_some_and(|it| it.admin_access == Some(true)));
    wants.map(|index| format!("{at}.requests[{index}].adminAccess"))
}

/// The field of the first device that is given so.
fn given(claim: &ResourceClaim) -> Option<String> {
    let devices = claim.status.as_ref()?.allocation.as_ref()?.devices.as_ref()?;
    let first = devices.results.iter().flatten().position(|result| result.admin_access == Some(true));
    first.map(|index| format!("status.allocation.devices.results[{index}].adminAccess"))
}
