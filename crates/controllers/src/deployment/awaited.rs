//! Writes to replica sets that the cache does not show yet.
//!
//! Sizes are decided by what all sets together may have. A set that was made or grown a moment ago and is counted as it
//! was before, or not at all, would let the others have too much. The runner waits for the caches, but not for ever, and
//! knows nothing of a write whose answer was lost; so every write that grows a set is kept here until the cache shows it
//! or the server itself says that there is no such set, and until then nothing further is decided.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::ReplicaSet;
use parking_lot::Mutex;
use skiff_client::cache::Written;
use skiff_client::controller::Key;
use skiff_client::write::{self, Place};

use crate::table::Ctx;

/// By the set's key: at which revision it was written, if that is known.
type Sets = HashMap<Arc<str>, Option<u64>>;

/// What is awaited for each deployment.
#[derive(Default)]
pub(crate) struct Awaited {
    of: Mutex<HashMap<Key, Sets>>,
}

/// The key of a set.
fn place(set: &ReplicaSet) -> Arc<str> {
    skiff_api::meta::key(set.metadata.namespace.as_deref(), set.metadata.name.as_deref().unwrap_or_default())
}

fn revision(set: &ReplicaSet) -> Option<u64> {
    set.metadata.resource_version.as_deref().and_then(|text| text.parse().ok())
}

impl Awaited {
    /// A set is about to be written; how that ends is not known before [`Awaited::ended`].
    pub(super) fn begun(&self, deployment: &Key, set: &ReplicaSet) {
        self.of.lock().entry(deployment.clone()).or_default().insert(place(set), None);
    }

    /// How it ended. After an error that is no refusal it may have happened or not.
    pub(super) fn ended(&self, deployment: &Key, set: &ReplicaSet, result: &write::Result<ReplicaSet>) {
        let mut of = self.of.lock();
        let Some(sets) = of.get_mut(deployment) else { return };
        match result {
            Ok(made) => drop(sets.insert(place(set), revision(made))),
            Err(error) if (400..500).contains(&write::code(error)) && !write::already_exists(error) => {
                sets.remove(&place(set));
            }
            Err(_) => {}
        }
    }

    /// The deployment is gone.
    pub(super) fn forget(&self, deployment: &Key) {
        self.of.lock().remove(deployment);
    }

    /// True once the cache shows all that is awaited.
    ///
    /// # Errors
    /// If the server had to be asked and could not answer.
    pub(super) async fn is_over(&self, ctx: &Ctx, deployment: &Key) -> write::Result<bool> {
        let Some(sets) = self.of.lock().get(deployment).cloned() else { return Ok(true) };
        let mut left = Sets::new();
        for (set, known) in sets {
            if shown(ctx, &set, known).await {
                continue;
            }
            match ask(ctx, &set).await? {
                Some(written) if !shown(ctx, &set, Some(written)).await => {
                    left.insert(set, Some(written));
                }
                _ => {}
            }
        }
        let over = left.is_empty();
        let mut of = self.of.lock();
        if over {
            drop(of.remove(deployment))
        } else {
            drop(of.insert(deployment.clone(), left))
        }
        Ok(over)
    }
}

async fn shown(ctx: &Ctx, set: &Arc<str>, known: Option<u64>) -> bool {
    let Some(revision) = known else { return false };
    ctx.cache::<ReplicaSet>().wait_for(&Written::At(Arc::clone(set), revision), Duration::ZERO).await
}

/// The revision of the set that the server has.
async fn ask(ctx: &Ctx, set: &Arc<str>) -> write::Result<Option<u64>> {
    let key = Key::from(Arc::clone(set));
    let place = Place::new(&skiff_api::Resource::of::<ReplicaSet>(), key.namespace(), key.name());
    match write::get::<ReplicaSet>(ctx.link(), &place).await {
        Ok(held) => Ok(revision(&held)),
        Err(error) if write::is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
