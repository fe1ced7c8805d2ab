//! PersistentVolumeClaimResize: a claim grows only if it is bound and the class of its volume allows it.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use skiff_api::{ApiError, volume};
use skiff_store::Key;

use super::{Attempt, Operation, Plugin, storage_classes};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { validate, ..Plugin::named("PersistentVolumeClaimResize") };

fn validate(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    if attempt.operation != Operation::Update || !attempt.scope.subresource.is_empty() {
        return Ok(());
    }
    let claim = |draft: &'_ dyn Draft| draft.as_any().downcast_ref::<PersistentVolumeClaim>().cloned();
    let Some((old, new)) = attempt.old.and_then(claim).zip(claim(draft)) else { return Ok(()) };
    if volume::requested(&new) <= volume::requested(&old) {
        return Ok(());
    }
    let bound = old.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Bound"));
    if !bound {
        return Err(
            attempt.forbidden(attempt.scope.name, "Only bound persistent volume claims can be expanded")
        );
    }
    let key =
        Key { table: storage_classes::TABLE.into(), name: volume::class(&old).unwrap_or_default().into() };
    let class = attempt.scope.api.store.get(&key);
    let class = class.and_then(|stored| stored.object().decode::<StorageClass>().ok());
    if class.is_some_and(|class| class.allow_volume_expansion == Some(true)) {
        return Ok(());
    }
    let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    Err(attempt.forbidden(attempt.scope.name, why))
}
