//! Whose pods: an owner takes in orphans that its selector matches and lets go of those it no longer matches.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Selector;
use serde_json::json;
use skiff_api::{LabelSelector, Object, Readable};
use skiff_client::Change;
use skiff_client::cache::{BY_CONTROLLER, Index, decode};
use skiff_client::controller::{Caches, How, Key};
use skiff_client::write::{self, Patch};

use crate::Settings;
use crate::shared::pods::manager;
use crate::table::Ctx;

/// Finds the objects of a namespace that nobody manages.
pub(crate) const ORPHANS: Index = Index {
    name: "orphans",
    values: |object: &Object| {
        let meta = object.meta();
        let namespace = meta.namespace.as_deref().filter(|_| meta.controller().is_none());
        namespace.map(Into::into).into_iter().collect()
    },
};

/// A kind that takes in pods by their labels.
pub(crate) trait Selects: Readable {
    /// Which pods it takes in; one without takes in nothing.
    fn selector(&self) -> Option<LabelSelector>;
}

/// A selector that is there and does not select everything.
pub(crate) fn some(selector: &Selector) -> Option<LabelSelector> {
    LabelSelector::of(selector).ok().filter(|selector| !selector.is_everything())
}

/// A pod that nobody manages wakes the controllers that would take it in.
pub(crate) struct OrphanOf<K>(std::marker::PhantomData<K>);

impl<K: Selects> How<Settings> for OrphanOf<K> {
    fn keys(change: &Change, caches: &Caches, settings: &Settings) -> Vec<Key> {
        let Some(pod) = change.new.as_ref().filter(|pod| pod.meta().controller().is_none()) else {
            return Vec::new();
        };
        let namespace = pod.meta().namespace.as_deref().unwrap_or_default();
        let takes_in = |controller: &&Arc<skiff_api::Object>| {
            let selector = settings.selectors.of::<K>(controller, K::selector);
            selector.is_some_and(|selector| selector.matches(&pod.meta().labels))
        };
        let controllers = caches.of::<K>().within(namespace);
        controllers.iter().filter(takes_in).map(|controller| controller.meta().key().into()).collect()
    }
}

/// What is to be done about objects an owner might have.
#[derive(Debug)]
pub(crate) struct Claims {
    pub(crate) keep: Vec<Arc<Object>>,
    pub(crate) adopt: Vec<Arc<Object>>,
    pub(crate) release: Vec<Arc<Object>>,
}

/// Sorts objects into kept, adopted and released ones. An owner that is being deleted does neither.
pub(crate) fn claims(
    owned: Vec<Arc<Object>>,
    orphans: Vec<Arc<Object>>,
    selector: &LabelSelector,
    leaving: bool,
) -> Claims {
    let selected = |object: &Arc<Object>| selector.matches(&object.meta().labels);
    let (keep, release) = owned.into_iter().partition(selected);
    let adopt = if leaving { Vec::new() } else { orphans.into_iter().filter(selected).collect() };
    Claims { keep, adopt, release: if leaving { Vec::new() } else { release } }
}

/// The objects of kind `T` that the owner has. Those that it selects and nobody manages are taken in first, of which
/// those that are not `eligible` are left alone, and strangers are let go: then there is no answer, since the cache shows
/// it in a moment, which wakes the owner again.
///
/// # Errors
/// The first write that failed.
pub(crate) async fn own<K: Readable, T: Readable>(
    ctx: &Ctx,
    owner: &K,
    selector: &LabelSelector,
    eligible: impl Fn(&Object) -> bool,
) -> write::Result<Option<Vec<Arc<Object>>>> {
    let (cache, meta) = (ctx.cache::<T>(), owner.metadata());
    let owned = cache.by(&BY_CONTROLLER, meta.uid.as_deref().unwrap_or_default());
    let mut orphans = cache.by(&ORPHANS, meta.namespace.as_deref().unwrap_or_default());
    orphans.retain(|object| eligible(object));
    let claims = claims(owned, orphans, selector, meta.deletion_timestamp.is_some());
    let changed = carry_out::<K, T>(ctx, owner, &claims).await?;
    Ok((!changed).then_some(claims.keep))
}

/// Carries the claims out; whether that may have changed anything.
///
/// # Errors
/// The first write that failed.
pub(crate) async fn carry_out<K: Readable, T: Readable>(
    ctx: &Ctx,
    owner: &K,
    claims: &Claims,
) -> write::Result<bool> {
    let uid = owner.metadata().uid.as_deref().unwrap_or_default();
    let gone = json!([{ "$patch": "delete", "uid": uid }]);
    for object in claims.release.iter().filter_map(|object| decode::<T>(object)) {
        let body = json!({ "metadata": { "uid": object.metadata().uid, "ownerReferences": gone } });
        ignore_gone(ctx.patch(&*object, Patch::Strategic, &body).await)?;
    }
    // One that is gone, too: the news of its end wakes us, since it was ours.
    let mut changed = !claims.release.is_empty();
    if !claims.adopt.is_empty() && still_there(ctx, owner).await? {
        for object in claims.adopt.iter().filter_map(|object| decode::<T>(object)) {
            let body =
                json!({ "metadata": { "uid": object.metadata().uid, "ownerReferences": [manager(owner)] } });
            changed |= ignore_gone(ctx.patch(&*object, Patch::Strategic, &body).await)?.is_some();
        }
    }
    Ok(changed)
}

/// Asks the server itself: the cache may not know yet that the owner is being deleted, and an adopted pod would be
/// deleted with it.
async fn still_there<K: Readable>(ctx: &Ctx, owner: &K) -> write::Result<bool> {
    match write::get::<K>(ctx.link(), &write::Place::of(owner)).await {
        Ok(fresh) => {
            let fresh = fresh.metadata();
            Ok(fresh.uid == owner.metadata().uid && fresh.deletion_timestamp.is_none())
        }
        Err(error) if write::is_not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A pod that is gone, or another by now, needs neither adoption nor release.
fn ignore_gone<T>(result: write::Result<T>) -> write::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(write::code(&error), 404 | 422) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, app: &str) -> Arc<Object> {
        let json = json!({"metadata": {"name": name, "labels": {"app": app}}});
        Arc::new(Object::parse(json.to_string().into()).unwrap())
    }

    #[test]
    fn orphans_that_match_are_adopted_and_strangers_released() {
        let selector = LabelSelector::of_map(&[("app".to_owned(), "web".to_owned())].into());
        let owned = vec![object("kept", "web"), object("stray", "other")];
        let orphans = vec![object("found", "web"), object("foreign", "other")];
        let names = |all: &[Arc<Object>]| all.iter().map(|it| it.meta().name.to_string()).collect::<Vec<_>>();
        let found = claims(owned.clone(), orphans.clone(), &selector, false);
        assert_eq!(names(&found.keep), ["kept"]);
        assert_eq!(names(&found.adopt), ["found"]);
        assert_eq!(names(&found.release), ["stray"]);
        let found = claims(owned, orphans, &selector, true);
        assert!(found.adopt.is_empty() && found.release.is_empty());
    }
}
