//! DefaultTolerationSeconds: a pod outlives its node's silence by five minutes, unless it says otherwise.

use k8s_openapi::api::core::v1::{Pod, Toleration};
use skiff_api::{ApiError, names};

use super::{Attempt, Plugin};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { mutate, ..Plugin::named("DefaultTolerationSeconds") };

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    // Updates as well: a configuration that is applied again does not know them.
    if !attempt.scope.subresource.is_empty() {
        return Ok(());
    }
    let settings = &attempt.scope.api.settings;
    let patience = [
        (names::TAINT_NOT_READY, settings.not_ready_toleration_seconds),
        (names::TAINT_UNREACHABLE, settings.unreachable_toleration_seconds),
    ];
    let Some(spec) = draft.as_any_mut().downcast_mut::<Pod>().and_then(|pod| pod.spec.as_mut()) else {
        return Ok(());
    };
    let tolerations = spec.tolerations.get_or_insert_default();
    for (taint, seconds) in patience {
        let tolerated = tolerations.iter().any(|toleration| {
            let key = toleration.key.as_deref().unwrap_or_default();
            let effect = toleration.effect.as_deref().unwrap_or_default();
            (key == taint || key.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        });
        if !tolerated {
            tolerations.push(Toleration {
                key: Some(taint.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some("NoExecute".to_owned()),
                toleration_seconds: Some(seconds),
                ..Toleration::default()
            });
        }
    }
    Ok(())
}
