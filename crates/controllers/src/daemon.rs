//! Daemon sets: one pod on every node that suits, renewed node by node.

use std::collections::HashSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use skiff_api::LabelSelector;
use skiff_api::node::NodeFacts;
use skiff_client::Change;
use skiff_client::cache::BY_CONTROLLER;
use skiff_client::controller::{Caches, Fault, How, Itself, Key, ManagedBy, Next, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write;

use crate::Settings;
use crate::shared::adopt::{self, ORPHANS, OrphanOf, Selects};
use crate::shared::burst;
use crate::shared::pods::{delete_pod, from_template};
use crate::shared::revisions::{self, REVISION_HASH};
use crate::shared::seen::Seen;
use crate::table::{Ctx, Row, on};

mod failures;
mod plan;

pub(crate) use failures::Failures;
use plan::Plan;

pub(crate) const CONTROLLER: Row = Row {
    name: "daemon-set-controller",
    component: "daemonset-controller",
    wakes: &[
        on::<DaemonSet, Itself>(),
        on::<Pod, ManagedBy<DaemonSet>>().indexed(&[BY_CONTROLLER, ORPHANS]),
        on::<Pod, OrphanOf<DaemonSet>>(),
        on::<ControllerRevision, ManagedBy<DaemonSet>>().indexed(&[BY_CONTROLLER]),
        on::<Node, EverySet>(),
    ],
    may: &[
        ("get", "daemonsets"),
        ("create delete patch", "pods"),
        ("create update delete", "controllerrevisions"),
        ("patch", "daemonsets/status"),
        ("update", "daemonsets/finalizers"),
        ("create patch", "events"),
    ],
    workers: 2,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// A node that came, went, or changed in labels or taints wakes every set.
struct EverySet;

impl How<Settings> for EverySet {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && old.meta().labels == new.meta().labels
            && old.facts::<NodeFacts>() == new.facts::<NodeFacts>()
        {
            return Vec::new();
        }
        caches.of::<DaemonSet>().list().iter().map(|set| set.meta().key().into()).collect()
    }
}

impl Selects for DaemonSet {
    fn selector(&self) -> Option<LabelSelector> {
        adopt::some(&self.spec.selector)
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(set) = ctx.get::<DaemonSet>(&key) else { return Ok(Next::Rest) };
    let Ok(selector) = LabelSelector::of(&set.spec.selector) else { return Ok(Next::Rest) };
    if selector.is_everything() {
        return Ok(Next::Rest);
    }
    let pods = adopt::own::<DaemonSet, Pod>(&ctx, &set, &selector, |_| true).await?;
    let Some(pods) = pods.filter(|_| set.metadata.deletion_timestamp.is_none()) else {
        return Ok(Next::Rest);
    };
    let pods = Seen::all(pods);
    let collisions = set.status.as_ref().and_then(|status| status.collision_count);
    let hash = revisions::ensure(&ctx, &*set, &set.spec.template, collisions).await?.hash;
    let nodes = ctx.cache::<Node>().list();
    let now = ctx.now();
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let failures = &ctx.settings().daemons;
    let plan = plan::plan(&set, &pods, &nodes, &hash, &|node| failures.held(uid, node), now);
    for ended in &plan.ended {
        told(&ctx, &set, ended);
        if ended.failed {
            failures.again(uid, &ended.node);
        }
    }
    let failure = carry_out(&ctx, &set, &plan, &hash).await;
    let mut wanted = DaemonSet::clone(&set);
    wanted.status = Some(plan.status);
    ctx.patch_status(&*set, &wanted).await?;
    let used: HashSet<&str> = pods.iter().filter_map(plan::hash_of).chain([&*hash]).collect();
    revisions::clean_up(&ctx, &*set, &used, set.spec.revision_history_limit).await?;
    failure?;
    let wait = plan.wait.and_then(|wait| Duration::try_from(wait).ok());
    Ok(wait.map_or(Next::Rest, |wait| Next::After(wait + Duration::from_millis(50))))
}

fn told(ctx: &Ctx, set: &DaemonSet, plan::Ended { node, pod, failed }: &plan::Ended) {
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let (kind, reason, how, what) = if *failed {
        (EventKind::Warning, "FailedDaemonPod", "failed", "kill")
    } else {
        (EventKind::Normal, "SucceededDaemonPod", "succeeded", "delete")
    };
    let message = format!("Found {how} daemon pod {namespace}/{pod} on node {node}, will try to {what} it");
    ctx.event(reference(set), kind, reason, message);
}

async fn carry_out(ctx: &Ctx, set: &DaemonSet, plan: &Plan, hash: &str) -> Result<(), Fault> {
    let delete = |pod: Seen| async move {
        match pod.decode() {
            Some(pod) => delete_pod(ctx, set, &pod).await,
            None => Ok(()),
        }
    };
    let deleted = burst::run(plan.delete.iter().cloned(), burst::AT_ONCE, delete).await;
    let create = |node: String| create(ctx, set, node, hash);
    let created = burst::run(plan.create.iter().cloned(), burst::SLOWLY, create).await;
    let tried = deleted.tried + created.tried;
    let mut failures: Vec<kube::Error> = deleted.failures.into_iter().chain(created.failures).collect();
    let failed = failures.len();
    if failed == 0 || failures.iter().all(write::is_terminating) {
        return Ok(());
    }
    Err(Fault::Some { tried, failed, first: failures.swap_remove(0) })
}

async fn create(ctx: &Ctx, set: &DaemonSet, node: String, hash: &str) -> write::Result<()> {
    let mut pod = from_template(&set.spec.template, set);
    pod.metadata.labels.get_or_insert_default().insert(REVISION_HASH.to_owned(), hash.to_owned());
    plan::bind_to(&mut pod, &node);
    match ctx.create(&pod).await {
        Ok(pod) => {
            let name = pod.metadata.name.unwrap_or_default();
            ctx.event(reference(set), EventKind::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
            Ok(())
        }
        Err(error) => {
            if !write::is_terminating(&error) {
                let why = format!("Error creating: {}", write::words(&error));
                ctx.event(reference(set), EventKind::Warning, "FailedCreate", why);
            }
            Err(error)
        }
    }
}
