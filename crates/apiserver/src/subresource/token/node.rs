//! Which tokens a node may ask for: those of its own pods, for whom these pods' volumes want them.
//!
//! Follows upstream's `plugin/pkg/admission/noderestriction` (ServiceAccountNodeAudienceRestriction).

use k8s_openapi::api::authentication::v1::TokenRequestSpec;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::api::storage::v1::CSIDriver;
use skiff_api::{ApiError, meta, volume};
use skiff_store::Key;

use crate::api::Api;
use crate::authz::{self, Ask};
use crate::user::User;
use crate::verbs::Context;

/// What a role grants to a node that asks for tokens for an audience of its own (the resource) and an account (the name).
const ANY_AUDIENCE: &str = "request-serviceaccounts-token-audience";

/// Refuses what a node has no use for.
pub(super) async fn allow(context: &Context, user: &User, spec: &TokenRequestSpec) -> Result<(), ApiError> {
    let name = &context.target.name;
    let refuse = |why: &str| Err(ApiError::forbidden(&context.entry.resource, name, why));
    let reference = spec.bound_object_ref.as_ref();
    let Some(reference) = reference.filter(|reference| reference.kind.as_deref() == Some("Pod")) else {
        return refuse("node requested token not bound to a pod");
    };
    if reference.uid.as_deref().unwrap_or_default().is_empty() {
        return refuse("node requested token with a pod binding without a uid");
    }
    let (api, namespace) = (&context.api, context.target.namespace.as_str());
    let wanted = reference.name.as_deref().unwrap_or_default();
    let key = Key::new("pods", meta::key(Some(namespace), wanted));
    let found = api.store.get(&key).and_then(|stored| stored.object().decode::<Pod>().ok());
    let Some(pod) = found else { return refuse(&format!("pod \"{wanted}\" not found")) };
    let own = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    if own != authz::node::name(user) {
        return refuse("node requested token bound to a pod scheduled on a different node");
    }
    let audience = match spec.audiences.as_deref().unwrap_or_default() {
        [] => "",
        [one] => one,
        _ => return refuse("node may only request 0 or 1 audiences"),
    };
    if wants(api, &pod, audience) {
        return Ok(());
    }
    let ask =
        Ask { verb: ANY_AUDIENCE, version: "v1", resource: audience, namespace, name, ..Ask::nothing(user) };
    if authz::judge(api, &ask).await.is_allowed() {
        return Ok(());
    }
    let user = &user.name;
    refuse(&format!(
        "audience {audience:?} not found in pod spec volume, {user} is not authorized to request tokens for this audience"
    ))
}

/// Whether a volume of the pod wants a token for the audience.
fn wants(api: &Api, pod: &Pod, audience: &str) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let projected = |volume: &Volume| {
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        let mut tokens = sources.filter_map(|source| source.service_account_token.as_ref());
        tokens.any(|token| token.audience.as_deref().unwrap_or_default() == audience)
    };
    let driven = |volume: &Volume| {
        driver(api, pod, volume).is_some_and(|driver| {
            let mut asked = driver.spec.token_requests.iter().flatten();
            asked.any(|asked| asked.audience == audience)
        })
    };
    volumes.into_iter().any(|volume| projected(volume) || driven(volume))
}

/// The driver behind a volume, inline or through a claim.
fn driver(api: &Api, pod: &Pod, volume: &Volume) -> Option<std::sync::Arc<CSIDriver>> {
    let name = match &volume.csi {
        Some(inline) => inline.driver.clone(),
        None => {
            let (claim, _) = volume::claim_name(pod, volume)?;
            let key = meta::key(pod.metadata.namespace.as_deref(), &claim);
            let claim = api.store.get(&Key::new("persistentvolumeclaims", key))?;
            let claim = claim.object().decode::<PersistentVolumeClaim>().ok()?;
            let bound = api
                .store
                .get(&Key::new("persistentvolumes", claim.spec.as_ref()?.volume_name.as_deref()?))?;
            bound.object().decode::<PersistentVolume>().ok()?.spec.as_ref()?.csi.as_ref()?.driver.clone()
        }
    };
    let driver = api.store.get(&Key::new("storage.k8s.io/csidrivers", name.as_str()))?;
    driver.object().decode::<CSIDriver>().ok()
}
