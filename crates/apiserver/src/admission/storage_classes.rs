//! DefaultStorageClass: a claim that names no class gets the cluster's default one.

use std::sync::Arc;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use skiff_api::{ApiError, volume};

use super::{Attempt, Plugin};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { mutate, ..Plugin::named("DefaultStorageClass") };

/// Where classes are stored.
pub(super) const TABLE: &str = "storage.k8s.io/storageclasses";

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    if !attempt.creates() {
        return Ok(());
    }
    let Some(claim) = draft.as_any_mut().downcast_mut::<PersistentVolumeClaim>() else { return Ok(()) };
    if volume::class(claim).is_some() {
        return Ok(());
    }
    let stored = attempt.scope.api.store.snapshot(TABLE).objects;
    let classes = stored.iter().filter_map(|(_, stored)| stored.object().decode::<StorageClass>().ok());
    let classes: Vec<Arc<StorageClass>> = classes.collect();
    if let Some(class) = volume::default_class(classes.iter()) {
        claim.spec.get_or_insert_default().storage_class_name.clone_from(&class.metadata.name);
    }
    Ok(())
}
