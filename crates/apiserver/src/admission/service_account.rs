//! ServiceAccount: every pod runs as one; `default` unless it says otherwise.
//!
//! Mounting its token comes with TokenRequest. Until then the account `default` may be absent, so that a new namespace
//! takes pods before its controller has run; any other account must exist.

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use skiff_api::{ApiError, meta};
use skiff_store::Key;

use super::{Attempt, Plugin};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { mutate, ..Plugin::named("ServiceAccount") };

/// Marks a pod that a kubelet mirrors from a file.
const MIRROR: &str = "kubernetes.io/config.mirror";

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    if !attempt.creates() {
        return Ok(());
    }
    let Some(pod) = draft.as_any_mut().downcast_mut::<Pod>() else { return Ok(()) };
    let pod_name = pod.metadata.name.clone().unwrap_or_default();
    let mirror = pod.metadata.annotations.iter().flatten().any(|(key, _)| key == MIRROR);
    let Some(spec) = pod.spec.as_mut() else { return Ok(()) };
    let asked =
        spec.service_account_name.clone().or_else(|| spec.service_account.clone()).unwrap_or_default();
    if mirror {
        return match asked.as_str() {
            "" => Ok(()),
            _ => Err(attempt.forbidden(&pod_name, "a mirror pod may not reference service accounts")),
        };
    }
    let name = if asked.is_empty() { "default".to_owned() } else { asked };
    let key = Key::new("serviceaccounts", meta::key(Some(attempt.scope.namespace), &name));
    let account = attempt.scope.api.store.get(&key);
    if account.is_none() && name != "default" {
        let place = attempt.scope.namespace;
        let why =
            format!("error looking up service account {place}/{name}: serviceaccount \"{name}\" not found");
        return Err(attempt.forbidden(&pod_name, why));
    }
    let account = account.and_then(|stored| stored.object().decode::<ServiceAccount>().ok());
    if spec.image_pull_secrets.as_deref().unwrap_or_default().is_empty() {
        spec.image_pull_secrets = account.and_then(|account| account.image_pull_secrets.clone());
    }
    spec.service_account_name = Some(name.clone());
    spec.service_account = Some(name);
    Ok(())
}
