//! Whose pods: an owner takes in orphans that its selector matches and lets go of those it no longer matches.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Selector;
use serde_json::json;
use skiff_api::{LabelSelector, Object, Readable, pod};
use skiff_client::Change;
use skiff_client::cache::Index;
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
pub(crate) struct Claims<T = Pod> {
    pub(crate) keep: Vec<Arc<T>>,
    pub(crate) adopt: Vec<Arc<T>>,
    pub(crate) release: Vec<Arc<T>>,
}

/// Sorts pods into kept, adopted and released; finished ones and those being deleted are nobody's concern. An owner
/// that is being deleted claims nothing new.
pub(crate) fn claims(
    owned: Vec<Arc<Pod>>,
    orphans: Vec<Arc<Pod>>,
    selector: &LabelSelector,
    leaving: bool,
) -> Claims {
    let active = |pods: Vec<Arc<Pod>>| pods.into_iter().filter(|pod| pod::is_active(pod)).collect();
    claims_of(active(owned), active(orphans), selector, leaving)
}

/// As [`claims`], for objects of any kind and in any state.
pub(crate) fn claims_of<T: Readable>(
    owned: Vec<Arc<T>>,
    orphans: Vec<Arc<T>>,
    selector: &LabelSelector,
    leaving: bool,
) -> Claims<T> {
    let selected = |object: &Arc<T>| match &object.metadata().labels {
        Some(labels) => selector.matches(labels),
        None => selector.is_everything(),
    };
    let (keep, release) = owned.into_iter().partition(selected);
    let adopt = if leaving { Vec::new() } else { orphans.into_iter().filter(selected).collect() };
    Claims { keep, adopt, release: if leaving { Vec::new() } else { release } }
}

/// Carries the claims out; the objects that are the owner's afterwards.
///
/// # Errors
/// The first write that failed.
pub(crate) async fn carry_out<K: Readable, T: Readable>(
    ctx: &Ctx,
    owner: &K,
    claims: Claims<T>,
) -> write::Result<Vec<Arc<T>>> {
    let mut kept = claims.keep;
    let uid = owner.metadata().uid.as_deref().unwrap_or_default();
    for object in claims.release {
        let body = json!({ "metadata": { "uid": object.metadata().uid,
            "ownerReferences": [{ "$patch": "delete", "uid": uid }] } });
        ignore_gone(ctx.patch(&*object, Patch::Strategic, &body).await)?;
    }
    if !claims.adopt.is_empty() && still_there(ctx, owner).await? {
        for object in claims.adopt {
            let body =
                json!({ "metadata": { "uid": object.metadata().uid, "ownerReferences": [manager(owner)] } });
            if let Some(adopted) = ignore_gone(ctx.patch(&*object, Patch::Strategic, &body).await)? {
                kept.push(Arc::new(adopted));
            }
        }
    }
    Ok(kept)
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
