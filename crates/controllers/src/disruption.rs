//! Disruption budgets: how many of a budget's pods are healthy, and how many may therefore be sent away.
//!
//! Evictions spend the allowance themselves (`pods/eviction` in the server) and note the pod in `disruptedPods`; here
//! that note is honoured until the pod is gone, or until two minutes have passed and it evidently stays. How many pods
//! there should be is asked of their controllers: of those we know by their objects, of any other by its `scale`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use skiff_api::{LabelSelector, Object};
use skiff_client::Change;
use skiff_client::controller::{Caches, How, Itself, Key, Next, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write::{self, Place};

use crate::Settings;
use crate::shared::discovery;
use crate::table::{Ctx, Row, on};

mod plan;

use plan::{Covered, Owner};

pub(crate) const CONTROLLER: Row = Row {
    name: "disruption-controller",
    component: "disruption-controller",
    wakes: &[
        on::<PodDisruptionBudget, Itself>(),
        on::<Pod, Covering>(),
        on::<Deployment, InNamespace>(),
        on::<ReplicaSet, InNamespace>(),
        on::<ReplicationController, InNamespace>(),
        on::<StatefulSet, InNamespace>(),
    ],
    may: &[("patch", "poddisruptionbudgets/status"), ("get", "*/scale"), ("create patch", "events")],
    workers: 2,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// A pod wakes the budgets that cover it, or did before its labels changed.
struct Covering;

impl How<Settings> for Covering {
    fn keys(change: &Change, caches: &Caches, settings: &Settings) -> Vec<Key> {
        let namespace = change.latest().meta().namespace.as_deref().unwrap_or_default();
        let covers = |budget: &&Arc<Object>| {
            let selector = settings.selectors.of::<PodDisruptionBudget>(budget, selector);
            let forms = change.old.iter().chain(&change.new);
            selector.is_some_and(|selector| forms.into_iter().any(|pod| selector.matches(&pod.meta().labels)))
        };
        let budgets = caches.of::<PodDisruptionBudget>().within(namespace);
        budgets.iter().filter(covers).map(|budget| budget.meta().key().into()).collect()
    }
}

/// A controller whose wanted number changed wakes the budgets of its namespace, few as they are.
struct InNamespace;

impl How<Settings> for InNamespace {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        let generation =
            |object: &Option<Arc<Object>>| object.as_ref().map(|object| object.meta().generation);
        if generation(&change.old) == generation(&change.new) {
            return Vec::new();
        }
        let namespace = change.latest().meta().namespace.as_deref().unwrap_or_default();
        let budgets = caches.of::<PodDisruptionBudget>().within(namespace);
        budgets.iter().map(|budget| budget.meta().key().into()).collect()
    }
}

fn selector(budget: &PodDisruptionBudget) -> Option<LabelSelector> {
    LabelSelector::of(budget.spec.as_ref()?.selector.as_ref()?).ok()
}

/// Tells of pods that other budgets count as well: upstream goes by one of them, and nobody knows which.
fn several(ctx: &Ctx, budget: &PodDisruptionBudget, pods: &[Covered]) {
    let (name, namespace) = (budget.metadata.name.as_deref(), budget.metadata.namespace.as_deref());
    let (name, namespace) = (name.unwrap_or_default(), namespace.unwrap_or_default());
    let budgets = ctx.cache::<PodDisruptionBudget>().within(namespace);
    let others = budgets.iter().filter(|other| *other.meta().name != *name);
    let others: Vec<_> = others
        .filter_map(|other| ctx.settings().selectors.of::<PodDisruptionBudget>(other, selector))
        .collect();
    if others.is_empty() {
        return;
    }
    let bare = BTreeMap::new();
    for Covered { pod, .. } in pods {
        let labels = pod.metadata.labels.as_ref().unwrap_or(&bare);
        if others.iter().any(|other| other.matches(labels)) {
            let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
            let message = format!(
                "Pod \"{namespace}\"/\"{pod_name}\" matches multiple PodDisruptionBudgets.  Chose \"{name}\" arbitrarily."
            );
            ctx.event(reference(&**pod), EventKind::Warning, "MultiplePodDisruptionBudgets", message);
        }
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(budget) = ctx.get::<PodDisruptionBudget>(&key) else { return Ok(Next::Rest) };
    let Some(selector) = selector(&budget) else { return Ok(Next::Rest) };
    let namespace = key.namespace().unwrap_or_default();
    let objects = ctx.cache::<Pod>().within(namespace);
    let asks = plan::asks_owners(&budget);
    let mut pods: Vec<Covered> = Vec::new();
    for object in objects.iter().filter(|pod| selector.matches(&pod.meta().labels)) {
        let Some(pod) = skiff_client::cache::decode::<Pod>(object) else { continue };
        let known =
            object.meta().controller().and_then(|owner| pods.iter().find(|it| it.owner.is(&owner.uid)));
        let owner = match known {
            Some(known) => known.owner.clone(),
            None if asks => owner(&ctx, namespace, object).await?,
            None => Owner::Nobody,
        };
        pods.push(Covered { pod, owner });
    }
    let now = ctx.clock_seconds();
    let plan = plan::plan(&budget, &pods, now);
    for (kind, reason, message) in plan.news {
        ctx.event(reference(&*budget), kind, reason, message);
    }
    for pod in plan.not_deleted {
        let message = format!("Pod was expected by PDB {key} to be deleted but it wasn't");
        ctx.event(reference(&*pod), EventKind::Warning, "NotDeleted", message);
    }
    several(&ctx, &budget, &pods);
    let mut wanted = PodDisruptionBudget::clone(&budget);
    wanted.status = Some(plan.status);
    ctx.patch_status(&*budget, &wanted).await?;
    let wait = plan.until.map(|at| now.duration_until(at)).and_then(|wait| Duration::try_from(wait).ok());
    Ok(wait.map_or(Next::Rest, |wait| Next::After(wait + Duration::from_secs(1))))
}

/// Who decides how many pods like this there are, and how many that is.
async fn owner(ctx: &Ctx, namespace: &str, pod: &Object) -> write::Result<Owner> {
    let Some(owner) = pod.meta().controller() else { return Ok(Owner::Nobody) };
    let key = Key::new(Some(namespace), &owner.name);
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    let of = |uid: Option<&str>, wanted: Option<i32>| {
        let controller = Arc::from(&*owner.uid);
        Owner::Wants { controller, scaled: Arc::from(uid.unwrap_or(&owner.uid)), pods: wanted.unwrap_or(1) }
    };
    let known = match (group, &*owner.kind) {
        ("apps", "ReplicaSet") => {
            ctx.get::<ReplicaSet>(&key).map(|set| match deployment(ctx, namespace, &set) {
                // While it rolls out, its sets want more together than it does.
                Some(above) => of(above.metadata.uid.as_deref(), above.spec.replicas),
                None => of(None, set.spec.replicas),
            })
        }
        ("apps", "StatefulSet") => ctx.get::<StatefulSet>(&key).map(|set| of(None, set.spec.replicas)),
        ("", "ReplicationController") => ctx
            .get::<ReplicationController>(&key)
            .map(|controller| of(None, controller.spec.as_ref().and_then(|spec| spec.replicas))),
        _ => return by_scale(ctx, namespace, pod, group).await,
    };
    Ok(known.unwrap_or_else(|| Owner::Unknown(not_found(pod))))
}

fn deployment(ctx: &Ctx, namespace: &str, set: &ReplicaSet) -> Option<Arc<Deployment>> {
    let owners = set.metadata.owner_references.iter().flatten();
    let above = owners.into_iter().find(|it| it.controller == Some(true) && it.kind == "Deployment")?;
    let held = ctx.get::<Deployment>(&Key::new(Some(namespace), &above.name))?;
    (held.metadata.uid.as_ref() == Some(&above.uid)).then_some(held)
}

fn not_found(pod: &Object) -> String {
    format!("found no controllers for pod {:?}", pod.meta().name)
}

/// A controller of a kind that only the server knows is asked by its `scale`.
async fn by_scale(ctx: &Ctx, namespace: &str, pod: &Object, group: &str) -> write::Result<Owner> {
    let Some(owner) = pod.meta().controller() else { return Ok(Owner::Nobody) };
    let served = discovery::everything(ctx.link()).await?;
    let mut served = served.preferred();
    let found = served.find(|it| *it.resource.group == *group && *it.resource.kind == *owner.kind);
    let Some(found) = found.map(|found| found.resource) else { return Ok(Owner::Unknown(not_found(pod))) };
    let place = Place::new(&found, Some(namespace), &owner.name);
    match write::get::<Scale>(ctx.link(), &place.clone().part("scale")).await {
        Ok(scale) => Ok(Owner::Wants {
            controller: Arc::from(&*owner.uid),
            scaled: Arc::from(&*owner.uid),
            pods: scale.spec.and_then(|spec| spec.replicas).unwrap_or(0),
        }),
        Err(error) if matches!(write::code(&error), 404 | 405) => {
            let version = owner.api_version.as_ref();
            let why =
                format!("{version}, Resource={} does not implement the scale subresource", found.plural);
            Ok(Owner::Unknown(why))
        }
        Err(error) => Err(error),
    }
}
