//! Deployments: a rolling succession of replica sets, one for each template there was.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::json;
use skiff_api::{LabelSelector, Object};
use skiff_client::Change;
use skiff_client::cache::{BY_CONTROLLER, decode};
use skiff_client::controller::{Caches, How, Itself, Key, ManagedBy, Next, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write::{self, Patch};

use crate::Settings;
use crate::shared::adopt::{self, ORPHANS};
use crate::table::{Ctx, Row, on};

mod awaited;
mod plan;
mod revision;
mod status;

pub(crate) use awaited::Awaited;
use plan::{Scene, Step};
use status::News;

/// How long to wait for what the cache does not show yet; it wakes us as soon as it does.
const AWHILE: Duration = Duration::from_secs(1);

pub(crate) const CONTROLLER: Row = Row {
    name: "deployment-controller",
    component: "deployment-controller",
    wakes: &[
        on::<Deployment, Itself>(),
        on::<ReplicaSet, ManagedBy<Deployment>>().indexed(&[BY_CONTROLLER, ORPHANS]),
        on::<ReplicaSet, OrphanOf>(),
        on::<Pod, LastPod>(),
    ],
    may: &[
        ("get patch", "deployments"),
        ("get create update patch delete", "replicasets"),
        ("patch", "deployments/status"),
        ("update", "deployments/finalizers"),
        ("create patch", "events"),
    ],
    workers: 5,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// A replica set that nobody manages wakes the deployments that would take it in.
struct OrphanOf;

impl How<Settings> for OrphanOf {
    fn keys(change: &Change, caches: &Caches, settings: &Settings) -> Vec<Key> {
        let Some(set) = change.new.as_ref().filter(|set| set.meta().controller().is_none()) else {
            return Vec::new();
        };
        let takes_in = |deployment: &&Arc<Object>| {
            let selector = settings.selectors.of::<Deployment>(deployment, selector);
            selector.is_some_and(|selector| selector.matches(&set.meta().labels))
        };
        let namespace = set.meta().namespace.as_deref().unwrap_or_default();
        let deployments = caches.of::<Deployment>().within(namespace);
        deployments.iter().filter(takes_in).map(|deployment| deployment.meta().key().into()).collect()
    }
}

/// A pod that is gone wakes the deployment of its replica set, which may wait for it (`Recreate`).
struct LastPod;

impl How<Settings> for LastPod {
    fn keys(change: &Change, caches: &Caches, settings: &Settings) -> Vec<Key> {
        settings.flocks.note::<ReplicaSet>(change);
        if change.new.is_some() {
            return Vec::new();
        }
        let pod = change.latest();
        let namespace = pod.meta().namespace.as_deref();
        let Some(owner) = pod.meta().controller().filter(|owner| &*owner.kind == "ReplicaSet") else {
            return Vec::new();
        };
        let set = caches.of::<ReplicaSet>().get(Key::new(namespace, &owner.name).as_str());
        let Some(set) = set else { return Vec::new() };
        let deployment = set.meta().controller().filter(|owner| &*owner.kind == "Deployment");
        deployment.map(|owner| Key::new(namespace, &owner.name)).into_iter().collect()
    }
}

fn selector(deployment: &Deployment) -> Option<LabelSelector> {
    LabelSelector::of(&deployment.spec.selector).ok().filter(|selector| !selector.is_everything())
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let awaited = &ctx.settings().awaited;
    let Some(deployment) = ctx.get::<Deployment>(&key) else {
        awaited.forget(&key);
        return Ok(Next::Rest);
    };
    let Some(selector) = selector(&deployment) else { return Ok(Next::Rest) };
    if !awaited.is_over(&ctx, &key).await? {
        return Ok(Next::After(AWHILE));
    }
    let leaving = deployment.metadata.deletion_timestamp.is_some();
    let sets = adopt::own::<Deployment, ReplicaSet>(&ctx, &deployment, &selector, |_| true).await?;
    let Some(sets) = sets else { return Ok(Next::Rest) };
    let sets: Vec<Arc<ReplicaSet>> = sets.iter().filter_map(|set| decode(set)).collect();
    let scene = Scene::new(&deployment, &sets);
    let mut news = None;
    if !leaving {
        let steps = scene.next(has_pods(&ctx, &scene.old));
        news = carry_out(&ctx, &scene, steps).await?;
        number(&ctx, &scene).await?;
    }
    let now = ctx.now();
    let status = status::status(&scene, news.as_ref(), now);
    let times_out = status::times_out(&deployment, &status);
    let mut wanted = Deployment::clone(&deployment);
    wanted.status = Some(status);
    ctx.patch_status(&*deployment, &wanted).await?;
    if let Some(News::Failed(_, error)) = news {
        // Said, and to be tried again: nothing else may ever wake us.
        return Err(error.into());
    }
    let wait = times_out.map(|at| now.duration_until(at)).filter(|wait| wait.is_positive());
    let wait = wait.and_then(|wait| Duration::try_from(wait).ok());
    // A little later than the deadline, so that it has passed for everyone.
    Ok(wait.map_or(Next::Rest, |wait| Next::After(wait + Duration::from_secs(1))))
}

/// Whether any pod of these sets is still about, be it on its way out.
fn has_pods(ctx: &Ctx, sets: &[Arc<ReplicaSet>]) -> bool {
    sets.iter().any(|set| {
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        let flocks = &ctx.settings().flocks;
        flocks.look(uid, ctx.cache::<Pod>(), |flock| flock.active() + flock.ending() > 0)
    })
}

/// Keeps the deployment's own revision that of its current set.
async fn number(ctx: &Ctx, scene: &Scene<'_>) -> write::Result<()> {
    let Some(new) = &scene.new else { return Ok(()) };
    let held = revision::number(scene.deployment.metadata.annotations.as_ref(), revision::REVISION);
    let own = revision::of(new);
    if own == 0 || held == Some(own) {
        return Ok(());
    }
    let body = json!({ "metadata": { "annotations": { revision::REVISION: own.to_string() } } });
    ctx.patch(scene.deployment, Patch::Merge, &body).await.map(|_| ())
}

async fn carry_out(ctx: &Ctx, scene: &Scene<'_>, steps: Vec<Step>) -> write::Result<Option<News>> {
    let mut news = None;
    for step in steps {
        match step {
            Step::Create(set) => news = create(ctx, scene, &set).await?,
            Step::Update(set) => {
                ctx.replace(&*set).await?;
            }
            Step::Scale(set, size) => {
                let wanted = scene.resized(&set, size);
                grow(ctx, scene, &wanted, ctx.replace(&wanted)).await?;
                told(ctx, scene, &set, plan::replicas(&set), size);
            }
            Step::Delete(set) => ctx.delete(&*set, DeleteOptions::default()).await?,
        }
    }
    Ok(news)
}

/// Writes a set, and remembers that it is awaited.
async fn grow(
    ctx: &Ctx,
    scene: &Scene<'_>,
    set: &ReplicaSet,
    write: impl Future<Output = write::Result<ReplicaSet>>,
) -> write::Result<ReplicaSet> {
    let meta = &scene.deployment.metadata;
    let key = Key::new(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default());
    let awaited = &ctx.settings().awaited;
    awaited.begun(&key, set);
    let result = write.await;
    awaited.ended(&key, set, &result);
    result
}

async fn create(ctx: &Ctx, scene: &Scene<'_>, set: &ReplicaSet) -> write::Result<Option<News>> {
    match grow(ctx, scene, set, ctx.create(set)).await {
        Ok(made) => {
            told(ctx, scene, &made, 0, plan::replicas(&made));
            Ok(made.metadata.name.map(News::Created))
        }
        Err(error) if write::already_exists(&error) => {
            let place = write::Place::of(set);
            let there: ReplicaSet = write::get(ctx.link(), &place).await?;
            let owner =
                there.metadata.owner_references.iter().flatten().find(|it| it.controller == Some(true));
            let ours = owner.is_some_and(|owner| Some(&owner.uid) == scene.deployment.metadata.uid.as_ref())
                && revision::is_current(scene.deployment, &there);
            // Ours: the cache will know it in a moment, which wakes us.
            Ok((!ours).then_some(News::Collision))
        }
        Err(error) if write::is_terminating(&error) => Ok(None),
        Err(error) => {
            let name = set.metadata.name.as_deref().unwrap_or_default();
            let why = format!("Failed to create new replica set \"{name}\": {}", write::words(&error));
            let about = reference(scene.deployment);
            ctx.event(about, EventKind::Warning, "ReplicaSetCreateError", why.clone());
            Ok(Some(News::Failed(why, error)))
        }
    }
}

fn told(ctx: &Ctx, scene: &Scene<'_>, set: &ReplicaSet, from: i32, to: i32) {
    if from == to {
        return;
    }
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let way = if to > from { "up" } else { "down" };
    let message = format!("Scaled {way} replica set {name} from {from} to {to}");
    ctx.event(reference(scene.deployment), EventKind::Normal, "ScalingReplicaSet", message);
}

#[cfg(test)]
mod tests;
