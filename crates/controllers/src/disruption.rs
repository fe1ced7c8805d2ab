//! Disruption budgets: how many of a budget's pods are healthy, and how many may therefore be sent away.
//!
//! Evictions spend the allowance themselves (`pods/eviction` in the server) and note the pod in `disruptedPods`; here
//! that note is honoured until the pod is gone, or until two minutes have passed and it evidently stays.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use skiff_api::{LabelSelector, Object};
use skiff_client::Change;
use skiff_client::controller::{Caches, How, Itself, Key, Next, Outcome};

use crate::Settings;
use crate::table::{Ctx, Row, on};

mod plan;

use plan::Covered;

pub(crate) const CONTROLLER: Row = Row {
    name: "disruption-controller",
    component: "disruption-controller",
    wakes: &[
        on::<PodDisruptionBudget, Itself>(),
        on::<Pod, Covering>(),
        on::<ReplicaSet, InNamespace>(),
        on::<ReplicationController, InNamespace>(),
        on::<StatefulSet, InNamespace>(),
    ],
    may: &[("update patch", "poddisruptionbudgets/status"), ("create patch", "events")],
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

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(budget) = ctx.get::<PodDisruptionBudget>(&key) else { return Ok(Next::Rest) };
    let Some(selector) = selector(&budget) else { return Ok(Next::Rest) };
    let namespace = key.namespace().unwrap_or_default();
    let pods = ctx.cache::<Pod>().within(namespace);
    let pods = pods.iter().filter(|pod| selector.matches(&pod.meta().labels));
    let pods: Vec<Covered> = pods
        .filter_map(|object| {
            let pod = skiff_client::cache::decode::<Pod>(object)?;
            let scale = scale(&ctx, namespace, object);
            Some(Covered { pod, scale })
        })
        .collect();
    let now = ctx.clock_seconds();
    let (status, until) = plan::status(&budget, &pods, now);
    let mut wanted = PodDisruptionBudget::clone(&budget);
    wanted.status = Some(status);
    ctx.patch_status(&*budget, &wanted).await?;
    let wait = until.map(|at| now.duration_until(at)).and_then(|wait| Duration::try_from(wait).ok());
    Ok(wait.map_or(Next::Rest, |wait| Next::After(wait + Duration::from_secs(1))))
}

/// The controller of a pod, by uid, and how many pods it wants.
fn scale(ctx: &Ctx, namespace: &str, pod: &Object) -> Option<(Arc<str>, i32)> {
    let owner = pod.meta().controller()?;
    let key = Key::new(Some(namespace), &owner.name);
    let wanted = match &*owner.kind {
        "ReplicaSet" => ctx.get::<ReplicaSet>(&key)?.spec.replicas,
        "StatefulSet" => ctx.get::<StatefulSet>(&key)?.spec.replicas,
        "ReplicationController" => ctx.get::<ReplicationController>(&key)?.spec.as_ref()?.replicas,
        _ => return None,
    };
    Some((Arc::from(&*owner.uid), wanted.unwrap_or(1)))
}
