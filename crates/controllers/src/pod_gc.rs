//! Pods that nobody else will clear away: of nodes that are gone or out of service, ending without ever having had a
//! node, and finished ones when there are too many.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use parking_lot::Mutex;
use skiff_api::pod;
use skiff_api::pod::conditions::{self, DISRUPTION_TARGET, Wanted};
use skiff_api::pod::facts::PodFacts;
use skiff_api::{Object, Resource};
use skiff_client::Change;
use skiff_client::cache::{Index, decode};
use skiff_client::controller::{Caches, How, Itself, Key, Next, Outcome};
use skiff_client::write::{self, Place};
use tokio::time::Instant;

use crate::Settings;
use crate::shared::placed::{BY_NODE, ItsPods};
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "pod-garbage-collector",
    component: "pod-garbage-collector",
    wakes: &[on::<Pod, Lost>().indexed(&[BY_NODE, FINISHED]), on::<Node, ItsPods>()],
    may: &[("delete", "pods"), ("patch", "pods/status"), ("get", "nodes")],
    workers: 2,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// How long a node must be gone before its pods go: it may only be registering anew.
const QUARANTINE: Duration = Duration::from_secs(40);

/// A pod that has finished, is ending, or is bound to a node that is not known: most are none of it.
struct Lost;

impl How<Settings> for Lost {
    fn keys(change: &Change, caches: &Caches, settings: &Settings) -> Vec<Key> {
        let is_lost = |pod: &Arc<Object>| {
            let facts = pod.facts::<PodFacts>();
            let known = |node: &str| caches.of::<Node>().get(node).is_some();
            let ends = pod.meta().deletion_timestamp.is_some() || facts.is_finished();
            ends || facts.node.as_deref().is_some_and(|node| !known(node))
        };
        if change.new.as_ref().is_some_and(is_lost) {
            Itself::keys(change, caches, settings)
        } else {
            Vec::new()
        }
    }
}

/// Finds finished pods (under one value).
const FINISHED: Index = Index {
    name: "finished",
    values: |object| object.facts::<PodFacts>().is_finished().then(|| "yes".into()).into_iter().collect(),
};

/// Since when nodes with pods have been missing.
#[derive(Default)]
pub(crate) struct Missing {
    since: Mutex<HashMap<Box<str>, Instant>>,
}

impl Missing {
    fn since(&self, node: &str) -> Instant {
        *self.since.lock().entry(node.into()).or_insert_with(Instant::now)
    }

    fn is_there(&self, node: &str) {
        self.since.lock().remove(node);
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(object) = ctx.cache::<Pod>().get(key.as_str()) else { return Ok(Next::Rest) };
    let Some(node) = object.facts::<PodFacts>().node.as_deref() else {
        if object.meta().deletion_timestamp.is_some() {
            end(&ctx, &key, None).await?;
        }
        return Ok(Next::Rest);
    };
    if let Some(node) = ctx.cache::<Node>().get(node) {
        ctx.settings().missing.is_there(&node.meta().name);
        if object.meta().deletion_timestamp.is_some() && is_out_of_service(&node) {
            end(&ctx, &key, None).await?;
            return Ok(Next::Rest);
        }
        return spare(&ctx, &object).await;
    }
    let gone = ctx.settings().missing.since(node).elapsed();
    if gone < QUARANTINE {
        return Ok(Next::After(QUARANTINE - gone));
    }
    // The cache may be behind: ask before pods are ended for good.
    let place = Place::new(&Resource::of::<Node>(), None, node);
    match write::get::<Node>(ctx.link(), &place).await {
        Ok(_) => Ok(Next::After(QUARANTINE)),
        Err(error) if write::is_not_found(&error) => {
            end(&ctx, &key, Some("PodGC: node no longer exists")).await?;
            Ok(Next::Rest)
        }
        Err(error) => Err(error.into()),
    }
}

/// Somebody has made sure that nothing runs there any more, and said so.
fn is_out_of_service(node: &Object) -> bool {
    let Some(node) = decode::<Node>(node) else { return false };
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready =
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    !ready && taints.into_iter().any(|taint| taint.key == "node.kubernetes.io/out-of-service")
}

/// Deletes the oldest finished pods when there are more than are kept.
async fn spare(ctx: &Ctx, object: &Object) -> Outcome {
    if !object.facts::<PodFacts>().is_finished() {
        return Ok(Next::Rest);
    }
    let mut all = ctx.cache::<Pod>().by(&FINISHED, "yes");
    let surplus = all.len().saturating_sub(ctx.settings().finished_pods);
    all.sort_by_key(|pod| (pod.meta().creation_timestamp, pod.meta().key()));
    for pod in all.iter().take(surplus) {
        end(ctx, &pod.meta().key().into(), None).await?;
    }
    Ok(Next::Rest)
}

/// Deletes a pod at once; one that has not finished is marked as failed first, with the reason if there is one.
async fn end(ctx: &Ctx, key: &Key, why: Option<&str>) -> write::Result<()> {
    let Some(pod) = ctx.get::<Pod>(key) else { return Ok(()) };
    if !pod::is_finished(&pod) {
        let mut wanted = (*pod).clone();
        wanted.status.get_or_insert_default().phase = Some("Failed".to_owned());
        if let Some(message) = why {
            let condition =
                Wanted { kind: DISRUPTION_TARGET, status: "True", reason: "DeletionByPodGC", message };
            conditions::set(&mut wanted, condition, ctx.clock_seconds());
        }
        match ctx.patch_status(&*pod, &wanted).await {
            Err(error) if write::is_not_found(&error) => return Ok(()),
            other => other?,
        }
    }
    ctx.delete(&*pod, DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() }).await
}
