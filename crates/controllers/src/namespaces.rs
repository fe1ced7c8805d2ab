//! The end of a namespace: everything in it is deleted, then the namespace itself is let go.
//!
//! Which kinds there are is asked of the server, so that kinds nobody here knows are emptied as well. While pods take
//! their time, their disappearance wakes the namespace; for other kinds that finalizers hold, a deadline does.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;
use serde_json::json;
use skiff_api::Resource;
use skiff_client::controller::{Caches, How, Itself, Key, Next, Outcome};
use skiff_client::{Change, Link, write};

use crate::Settings;
use crate::shared::discovery::{self, Served};
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "namespace-controller",
    component: "namespace-controller",
    wakes: &[on::<Namespace, Itself>(), on::<Pod, Emptied>()],
    may: &[
        ("list delete deletecollection", "*"),
        ("update", "namespaces/finalize"),
        ("patch", "namespaces/status"),
    ],
    workers: 4,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

const FINALIZER: &str = "kubernetes";
/// A list of which only metadata is wanted.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
/// How long to wait before looking again where nothing will tell.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A pod that is gone wakes its namespace, if that is ending.
struct Emptied;

impl How<Settings> for Emptied {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        let gone = change.old.as_ref().filter(|_| change.new.is_none());
        let Some(namespace) = gone.and_then(|pod| pod.meta().namespace.as_deref()) else { return Vec::new() };
        let ending = caches.of::<Namespace>().get(namespace);
        let ending = ending.filter(|object| object.meta().deletion_timestamp.is_some());
        ending.map(|object| object.meta().key().into()).into_iter().collect()
    }
}

/// What is left of one kind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    objects: usize,
    finalizers: BTreeMap<String, usize>,
}

/// How far the emptying has come.
#[derive(Debug, Default)]
struct Progress {
    discovery: Option<String>,
    content: Vec<String>,
    left: BTreeMap<String, Left>,
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(namespace) = ctx.get::<Namespace>(&key) else { return Ok(Next::Rest) };
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
    if namespace.metadata.deletion_timestamp.is_none() || !finalizers.iter().any(|f| f == FINALIZER) {
        return Ok(Next::Rest);
    }
    let progress = empty(&ctx, key.as_str()).await;
    let mut wanted = (*namespace).clone();
    let conditions = conditions(&namespace, &progress, ctx.now());
    wanted.status.get_or_insert_default().conditions = Some(conditions);
    if progress.discovery.is_some() || !progress.content.is_empty() || !progress.left.is_empty() {
        ctx.patch_status(&*namespace, &wanted).await?;
        return Ok(Next::After(LOOK_AGAIN));
    }
    let mut released = (*namespace).clone();
    let spec = released.spec.get_or_insert_default();
    spec.finalizers = Some(finalizers.into_iter().filter(|finalizer| finalizer != FINALIZER).collect());
    let place = write::Place::of(&*namespace).part("finalize");
    match write::replace::<serde_json::Value>(ctx.link(), &place, &released).await {
        Ok(_) => Ok(Next::Rest),
        Err(error) if write::is_not_found(&error) => Ok(Next::Rest),
        Err(error) => Err(error.into()),
    }
}

async fn empty(ctx: &Ctx, namespace: &str) -> Progress {
    let mut progress = Progress::default();
    let found = match discovery::everything(ctx.link()).await {
        Ok(found) => found,
        Err(error) => {
            progress.discovery = Some(write::words(&error));
            return progress;
        }
    };
    if !found.failed.is_empty() {
        let failed: Vec<String> = found
            .failed
            .iter()
            .map(|group| format!("{group}: stale GroupVersion discovery: {group}"))
            .collect();
        progress.discovery = Some(format!(
            "{} failing: unable to retrieve the complete list of server APIs: {}",
            failed.len(),
            failed.join(", ")
        ));
    }
    let emptied = |served: &Served| served.resource.namespaced && served.can("delete") && served.can("list");
    let (pods, others): (Vec<Served>, Vec<Served>) = found
        .preferred()
        .filter(emptied)
        .partition(|served| served.resource.group.is_empty() && &*served.resource.plural == "pods");
    // Pods go first: what they stop with may still be needed (upstream's ordered namespace deletion).
    for served in pods.into_iter().chain(others) {
        let resource = &served.resource;
        if &*resource.plural != "pods" && progress.left.contains_key("pods.") {
            break;
        }
        match empty_of(ctx.link(), resource, served.can("deletecollection"), namespace).await {
            Ok(left) if left.objects == 0 => {}
            Ok(left) => {
                progress.left.insert(format!("{}.{}", resource.plural, resource.group), left);
            }
            // A kind that is listed but not (or no longer) served holds nothing.
            Err(error) if matches!(write::code(&error), 404 | 405) => {}
            Err(error) => progress.content.push(write::words(&error)),
        }
    }
    progress
}

#[derive(Deserialize)]
struct Remaining {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: ItemMeta,
}

#[derive(Deserialize)]
struct ItemMeta {
    name: String,
    #[serde(default)]
    finalizers: Vec<String>,
}

/// Deletes all objects of one kind and looks what is left.
async fn empty_of(link: &Link, resource: &Resource, whole: bool, namespace: &str) -> write::Result<Left> {
    let path = resource.path(Some(namespace));
    let list = |query: &str| {
        let request = http::Request::get(format!("{path}{query}"))
            .header(http::header::ACCEPT, METADATA)
            .body(Vec::new())
            .map_err(kube::Error::HttpError);
        async { link.client().request::<Remaining>(request?).await }
    };
    if list("?limit=1").await?.items.is_empty() {
        return Ok(Left::default());
    }
    if whole {
        let body = serde_json::to_vec(&json!({ "propagationPolicy": "Background" }))
            .map_err(kube::Error::SerdeError)?;
        let request = http::Request::delete(&path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(http::header::ACCEPT, METADATA)
            .body(body)
            .map_err(kube::Error::HttpError)?;
        link.client().request::<serde_json::Value>(request).await?;
    } else {
        for item in list("").await?.items {
            let place = write::Place::new(resource, Some(namespace), &item.metadata.name);
            match write::delete(link, &place, &Default::default()).await {
                Err(error) if !write::is_not_found(&error) => return Err(error),
                _ => {}
            }
        }
    }
    let mut left = Left::default();
    for item in list("").await?.items {
        left.objects += 1;
        for finalizer in item.metadata.finalizers {
            *left.finalizers.entry(finalizer).or_default() += 1;
        }
    }
    Ok(left)
}

/// Upstream's five conditions, in its words.
fn conditions(namespace: &Namespace, progress: &Progress, now: jiff::Timestamp) -> Vec<NamespaceCondition> {
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for (finalizer, count) in progress.left.values().flat_map(|left| &left.finalizers) {
        *finalizers.entry(finalizer).or_default() += count;
    }
    let kinds: Vec<String> = progress
        .left
        .iter()
        .map(|(kind, left)| format!("{kind} has {} resource instances", left.objects))
        .collect();
    let holders: Vec<String> =
        finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    let or = |fault: Option<String>, bad: &'static str, good: &'static str, fine: &str| match fault {
        Some(message) => ("True", bad, message),
        None => ("False", good, fine.to_owned()),
    };
    let some =
        |head: &str, list: &[String]| (!list.is_empty()).then(|| format!("{head}: {}", list.join(", ")));
    let discovery =
        progress.discovery.as_ref().map(|error| format!("Discovery failed for some groups, {error}"));
    let content = (!progress.content.is_empty()).then(|| {
        let faults = progress.content.join(", ");
        let many = progress.content.len() > 1;
        let faults = if many { format!("[{faults}]") } else { faults };
        format!("Failed to delete all resource types, {} remaining: {faults}", progress.content.len())
    });
    let rows = [
        (
            "NamespaceDeletionDiscoveryFailure",
            or(discovery, "DiscoveryFailed", "ResourcesDiscovered", "All resources successfully discovered"),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            or(None, "", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        (
            "NamespaceDeletionContentFailure",
            or(
                content,
                "ContentDeletionFailed",
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
        ),
        (
            "NamespaceContentRemaining",
            or(
                some("Some resources are remaining", &kinds),
                "SomeResourcesRemain",
                "ContentRemoved",
                "All content successfully removed",
            ),
        ),
        (
            "NamespaceFinalizersRemaining",
            or(
                some("Some content in the namespace has finalizers remaining", &holders),
                "SomeFinalizersRemain",
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            ),
        ),
    ];
    let before =
        namespace.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let condition = |(kind, (status, reason, message)): (&str, (&str, &str, String))| {
        let held = before.iter().find(|held| held.type_ == kind && held.status == status);
        NamespaceCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: held.and_then(|held| held.last_transition_time.clone()).or(Some(Time(now))),
        }
    };
    rows.into_iter().map(condition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_say_what_is_left_and_who_holds_it() {
        let mut progress = Progress::default();
        let held = Left { objects: 2, finalizers: BTreeMap::from([("x.io/keep".to_owned(), 1)]) };
        progress.left.insert("deployments.apps".to_owned(), held);
        progress.left.insert("pods.".to_owned(), Left { objects: 1, finalizers: BTreeMap::new() });
        let now = jiff::Timestamp::UNIX_EPOCH;
        let conditions = conditions(&Namespace::default(), &progress, now);
        let shown: Vec<String> = conditions
            .iter()
            .map(|c| format!("{} {} {}", c.type_, c.status, c.message.as_deref().unwrap_or_default()))
            .collect();
        assert_eq!(
            shown[3],
            "NamespaceContentRemaining True Some resources are remaining: deployments.apps has 2 resource instances, \
             pods. has 1 resource instances"
        );
        assert_eq!(
            shown[4],
            "NamespaceFinalizersRemaining True Some content in the namespace has finalizers remaining: \
             x.io/keep in 1 resource instances"
        );
        assert!(shown[..3].iter().all(|line| line.contains(" False ")));
    }
}
