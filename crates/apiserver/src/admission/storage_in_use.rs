//! StorageObjectInUseProtection: claims and volumes begin with the finalizers that keep them while they are used.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use skiff_api::ApiError;
use skiff_api::volume::{CLAIM_PROTECTION, VOLUME_PROTECTION};

use super::{Attempt, Plugin};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { mutate, ..Plugin::named("StorageObjectInUseProtection") };

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    if !attempt.creates() {
        return Ok(());
    }
    let any = draft.as_any_mut();
    let (metadata, finalizer) = if let Some(claim) = any.downcast_mut::<PersistentVolumeClaim>() {
        (&mut claim.metadata, CLAIM_PROTECTION)
    } else if let Some(volume) = any.downcast_mut::<PersistentVolume>() {
        (&mut volume.metadata, VOLUME_PROTECTION)
    } else {
        return Ok(());
    };
    let finalizers = metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|held| held == finalizer) {
        finalizers.push(finalizer.to_owned());
    }
    Ok(())
}
