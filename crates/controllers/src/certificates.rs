//! Certificate signing requests: kubelets' own are approved, approved ones signed, old ones cleaned up.
//!
//! Three controllers, as upstream's `pkg/controller/certificates`; what they decide is in [`plan`].

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use serde_json::json;
use skiff_client::write::Patch;

use crate::table::Ctx;

pub(crate) mod approving;
pub(crate) mod cleaning;
mod plan;
pub(crate) mod pod_requests;
pub(crate) mod signing;

/// Adds a condition at `part` of a request, unless somebody wrote to it meanwhile.
async fn conclude(
    ctx: &Ctx,
    request: &CertificateSigningRequest,
    part: &str,
    (kind, reason, message): (&str, &str, &str),
) -> kube::Result<()> {
    let status = request.status.clone().unwrap_or_default();
    let mut conditions =
        serde_json::to_value(status.conditions.unwrap_or_default()).map_err(kube::Error::SerdeError)?;
    let now = ctx.clock_seconds().to_string();
    if let Some(list) = conditions.as_array_mut() {
        list.push(json!({
            "type": kind, "status": "True", "reason": reason, "message": message,
            "lastUpdateTime": now, "lastTransitionTime": now,
        }));
    }
    let body = json!({
        "metadata": { "resourceVersion": request.metadata.resource_version },
        "status": { "conditions": conditions },
    });
    ctx.patch_part(request, part, Patch::Merge, &body).await.map(|_| ())
}
