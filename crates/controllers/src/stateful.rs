//! Stateful sets: pods with names that stay theirs, made and ended in order.

use std::collections::HashSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use skiff_api::{LabelSelector, Object};
use skiff_client::cache::BY_CONTROLLER;
use skiff_client::controller::{Caches, How, Itself, Key, ManagedBy, Next, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::{Change, write};

use crate::Settings;
use crate::shared::adopt::{self, ORPHANS, OrphanOf, Selects};
use crate::shared::pods::from_template;
use crate::shared::revisions::{self, REVISION_HASH};
use crate::shared::seen::Seen;
use crate::table::{Ctx, Row, on};

mod claims;
mod plan;

pub(crate) const CONTROLLER: Row = Row {
    name: "statefulset-controller",
    component: "statefulset-controller",
    wakes: &[
        on::<StatefulSet, Itself>(),
        on::<Pod, ManagedBy<StatefulSet>>().indexed(&[BY_CONTROLLER, ORPHANS]),
        on::<Pod, OrphanOf<StatefulSet>>(),
        on::<ControllerRevision, ManagedBy<StatefulSet>>().indexed(&[BY_CONTROLLER]),
        on::<PersistentVolumeClaim, LostBy>(),
    ],
    may: &[
        ("get", "statefulsets"),
        ("create delete patch", "pods"),
        ("create update delete", "controllerrevisions"),
        ("create update delete", "persistentvolumeclaims"),
        ("patch", "statefulsets/status"),
        ("update", "statefulsets/finalizers pods/finalizers"),
        ("create patch", "events"),
    ],
    workers: 5,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// A claim that is gone may be one that a pod of the namespace waits for.
struct LostBy;

impl How<Settings> for LostBy {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        let namespace = change.latest().meta().namespace.as_deref().filter(|_| change.new.is_none());
        let sets = namespace.map(|namespace| caches.of::<StatefulSet>().within(namespace));
        sets.into_iter().flatten().map(|set| set.meta().key().into()).collect()
    }
}

impl Selects for StatefulSet {
    fn selector(&self) -> Option<LabelSelector> {
        adopt::some(&self.spec.selector)
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(set) = ctx.get::<StatefulSet>(&key) else { return Ok(Next::Rest) };
    let Ok(selector) = LabelSelector::of(&set.spec.selector) else { return Ok(Next::Rest) };
    if selector.is_everything() {
        return Ok(Next::Rest);
    }
    // Only pods with the set's own names can be its.
    let named = |pod: &Object| plan::ordinal(&set, &pod.meta().name).is_some();
    let pods = adopt::own::<StatefulSet, Pod>(&ctx, &set, &selector, named).await?;
    let Some(pods) = pods.filter(|_| set.metadata.deletion_timestamp.is_none()) else {
        return Ok(Next::Rest);
    };
    let pods = Seen::all(pods);
    let status = set.status.clone().unwrap_or_default();
    // The first status says so, too: a hash that differs from it would begin a roll-out.
    let collisions = Some(status.collision_count.unwrap_or(0));
    let update = revisions::ensure(&ctx, &*set, &set.spec.template, collisions).await?.name;
    let current = status.current_revision.filter(|name| !name.is_empty()).unwrap_or_else(|| update.clone());
    let mut plan = plan::plan(&set, &pods, &current, &update, ctx.now());
    let mut failure = claims::retain_all(&ctx, &set, &pods).await.err();
    if failure.is_some() {
        // A pod that goes before its claim belongs to it leaves the claim behind for good.
        plan.delete.clear();
        plan.create.clear();
    }
    for pod in plan.delete.iter().filter_map(Seen::decode) {
        recreating(&ctx, &set, &pod);
        let outcome = ctx.delete(&*pod, DeleteOptions::default()).await;
        told(&ctx, &set, "delete", &pod, outcome.as_ref().err());
        failure = failure.or(outcome.err());
    }
    for (ordinal, of_current) in &plan.create {
        let revision = if *of_current { &current } else { &update };
        let pod = made(&ctx, &set, *ordinal, revision);
        let outcome = create(&ctx, &set, &pod, *ordinal).await;
        told(&ctx, &set, "create", &pod, outcome.as_ref().err());
        failure = failure.or(outcome.err());
    }
    let mut wanted = StatefulSet::clone(&set);
    wanted.status = Some(plan.status);
    ctx.patch_status(&*set, &wanted).await?;
    let prefix = format!("{}-", set.metadata.name.as_deref().unwrap_or_default());
    let bare = |name: &'_ str| name.strip_prefix(&*prefix).map(str::to_owned);
    let labels = pods.iter().filter_map(|pod| pod.label(REVISION_HASH));
    let used: HashSet<String> = labels.chain([&*current, &*update]).filter_map(bare).collect();
    let used = used.iter().map(String::as_str).collect();
    revisions::clean_up(&ctx, &*set, &used, set.spec.revision_history_limit).await?;
    if let Some(error) = failure.filter(|error| !write::is_terminating(error)) {
        return Err(error.into());
    }
    let wait = plan.wait.and_then(|wait| Duration::try_from(wait).ok());
    Ok(wait.map_or(Next::Rest, |wait| Next::After(wait + Duration::from_millis(50))))
}

/// The template of a revision: the set's own, or what an older revision remembers.
fn template(ctx: &Ctx, set: &StatefulSet, revision: &str) -> PodTemplateSpec {
    let held = ctx.managed_by::<ControllerRevision>(set.metadata.uid.as_deref().unwrap_or_default());
    let held = held.iter().find(|held| held.metadata.name.as_deref() == Some(revision));
    held.and_then(|held| revisions::template(held)).unwrap_or_else(|| set.spec.template.clone())
}

/// The pod of an ordinal.
fn made(ctx: &Ctx, set: &StatefulSet, ordinal: i32, revision: &str) -> Pod {
    let name = format!("{}-{ordinal}", set.metadata.name.as_deref().unwrap_or_default());
    let mut pod = from_template(&template(ctx, set, revision), set);
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(name.clone());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(REVISION_HASH.to_owned(), revision.to_owned());
    labels.insert("statefulset.kubernetes.io/pod-name".to_owned(), name.clone());
    labels.insert("apps.kubernetes.io/pod-index".to_owned(), ordinal.to_string());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name);
    spec.subdomain = set.spec.service_name.clone().filter(|name| !name.is_empty());
    for claim in claims::of(set, ordinal) {
        let template = claim.0;
        let volume = Volume {
            name: template.clone(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim.1.metadata.name.unwrap_or_default(),
                read_only: None,
            }),
            ..Volume::default()
        };
        let volumes = spec.volumes.get_or_insert_default();
        volumes.retain(|held| held.name != template);
        volumes.push(volume);
    }
    pod
}

async fn create(ctx: &Ctx, set: &StatefulSet, pod: &Pod, ordinal: i32) -> write::Result<()> {
    if !claims::make(ctx, set, ordinal).await? {
        return Ok(());
    }
    match ctx.create(pod).await {
        // Ours already, or a stranger's, whose end will wake nobody: the next try tells.
        Err(error) if write::already_exists(&error) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Says so if a pod goes because it has ended.
fn recreating(ctx: &Ctx, set: &StatefulSet, pod: &Pod) {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if !plan::ordinal(set, name).is_some_and(|ordinal| plan::is_wanted(set, ordinal)) {
        return;
    }
    let (kind, reason, how) = match skiff_api::pod::phase(pod) {
        "Failed" => (EventKind::Warning, "RecreatingFailedPod", "failed"),
        "Succeeded" => (EventKind::Normal, "RecreatingTerminatedPod", "terminated"),
        _ => return,
    };
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let owner = set.metadata.name.as_deref().unwrap_or_default();
    let message = format!("StatefulSet {namespace}/{owner} is recreating {how} Pod {name}");
    ctx.event(reference(set), kind, reason, message);
}

fn told(ctx: &Ctx, set: &StatefulSet, verb: &str, pod: &Pod, error: Option<&kube::Error>) {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let owner = set.metadata.name.as_deref().unwrap_or_default();
    let (kind, how, reason) = match (error, verb) {
        (None, "create") => (EventKind::Normal, "successful".to_owned(), "SuccessfulCreate"),
        (None, _) => (EventKind::Normal, "successful".to_owned(), "SuccessfulDelete"),
        (Some(error), _) => {
            let reason = if verb == "create" { "FailedCreate" } else { "FailedDelete" };
            (EventKind::Warning, format!("failed error: {}", write::words(error)), reason)
        }
    };
    let message = format!("{verb} Pod {name} in StatefulSet {owner} {how}");
    ctx.event(reference(set), kind, reason, message);
}
