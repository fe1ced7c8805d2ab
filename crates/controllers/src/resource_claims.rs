//! Claims for the devices of pods: made from templates, given back when their pods have ended, deleted with them.
//!
//! Devices are allocated by the scheduler, which also reserves the claim for the pod. What is done here is all that comes
//! before and after. Follows upstream's `pkg/controller/resourceclaim`; a template that was missing wakes its pods when it
//! comes, and a claim that a pod's status names is looked for at the server before another is made.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimConsumerReference, ResourceClaimTemplate};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::{Value, json};
use skiff_api::pod::claims;
use skiff_api::pod::facts::PodFacts;
use skiff_api::{Object, Resource, pod};
use skiff_client::Change;
use skiff_client::cache::{BY_CONTROLLER, Index};
use skiff_client::controller::{Caches, How, Key, Next, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write::{self, Patch, Place};

use crate::Settings;
use crate::table::{Ctx, Row, on};

mod plan;

use plan::{ClaimPlan, Missing, PodPlan};

pub(crate) const CONTROLLER: Row = Row {
    name: "resource-claim-controller",
    component: "resource_claim",
    wakes: &[
        on::<Pod, WithClaims>().indexed(&[USERS, UNMADE]),
        on::<ResourceClaim, ItselfAndUsers>().indexed(&[BY_CONTROLLER]),
        on::<ResourceClaimTemplate, Waiting>(),
    ],
    may: &[
        ("get", "pods"),
        ("update", "pods/finalizers"),
        ("patch", "pods/status"),
        ("create delete get update", "resourceclaims.resource.k8s.io"),
        ("patch", "resourceclaims.resource.k8s.io/status"),
        ("create patch", "events"),
    ],
    workers: 10,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// Finds pods by their claims, as `namespace/name`.
const USERS: Index = Index { name: "users of resource claims", values: used };

/// Finds pods that wait for a claim to be made, by namespace.
const UNMADE: Index = Index { name: "pods without their resource claims", values: waits };

fn used(object: &Object) -> Vec<Box<str>> {
    let devices = object.facts::<PodFacts>().devices.as_deref();
    devices.map(|devices| devices.claims.to_vec()).unwrap_or_default()
}

fn waits(object: &Object) -> Vec<Box<str>> {
    let waits = object.facts::<PodFacts>().devices.as_deref().is_some_and(|devices| devices.unmade);
    object.meta().namespace.iter().filter(|_| waits).map(|space| (&**space).into()).collect()
}

/// Keys are of claims; those of pods have this before the name.
const PODS: &str = "pods/";

fn key_of(pod: &Object) -> Key {
    let meta = pod.meta();
    Key::new(meta.namespace.as_deref(), &format!("{PODS}{}", meta.name))
}

/// None of its containers runs or will run.
fn is_done(pod: &Pod) -> bool {
    pod::is_finished(pod) || pod.metadata.deletion_timestamp.is_some() && pod::node_name(pod).is_none()
}

/// A pod that has claims, and its claims when it needs them no more.
struct WithClaims;

impl How<Settings> for WithClaims {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        let matters = |pod: &Arc<Object>| {
            let facts = pod.facts::<PodFacts>();
            let leaving = pod.meta().deletion_timestamp.is_some();
            (facts.devices.clone(), facts.node.clone(), facts.is_finished(), leaving)
        };
        let Some(devices) = &change.latest().facts::<PodFacts>().devices else { return Vec::new() };
        let same = |old: &Arc<Object>, new: &Arc<Object>| old.meta().uid == new.meta().uid;
        let mut keys = vec![key_of(change.latest())];
        match (&change.old, &change.new) {
            (Some(old), Some(new)) if same(old, new) && matters(old) == matters(new) => return Vec::new(),
            (Some(old), Some(new)) if !same(old, new) => {
                keys.extend(used(old).iter().map(|claim| named(claim)))
            }
            _ => {}
        }
        let (_, node, finished, leaving) = matters(change.latest());
        if change.new.is_none() || finished || leaving && node.is_none() {
            keys.extend(devices.claims.iter().map(|claim| named(claim)));
            // One that was made for it and that its status does not name yet.
            let own = caches.of::<ResourceClaim>().by(&BY_CONTROLLER, &change.latest().meta().uid);
            keys.extend(own.iter().map(|claim| Key::from(claim.meta().key())));
        }
        keys
    }
}

fn named(claim: &str) -> Key {
    Key::from(Arc::<str>::from(claim))
}

/// A claim, and the pods that use it.
struct ItselfAndUsers;

impl How<Settings> for ItselfAndUsers {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        let own = change.latest().meta().key();
        let users = caches.of::<Pod>().by(&USERS, &own);
        let mut keys: Vec<Key> = users.iter().map(|pod| key_of(pod)).collect();
        keys.extend(change.new.is_some().then(|| own.into()));
        keys
    }
}

/// The pods that may wait for a template.
struct Waiting;

impl How<Settings> for Waiting {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        let Some(template) = &change.new else { return Vec::new() };
        let space = template.meta().namespace.as_deref().unwrap_or_default();
        caches.of::<Pod>().by(&UNMADE, space).iter().map(|pod| key_of(pod)).collect()
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    match key.name().strip_prefix(PODS) {
        Some(name) => of_pod(&ctx, &Key::new(key.namespace(), name)).await,
        None => of_claim(&ctx, &key).await,
    }
}

async fn of_pod(ctx: &Ctx, key: &Key) -> Outcome {
    let Some(pod) = ctx.get::<Pod>(key).filter(|pod| pod::is_active(pod)) else { return Ok(Next::Rest) };
    let own = ctx.managed_by::<ResourceClaim>(pod.metadata.uid.as_deref().unwrap_or_default());
    let find = |name: &str| ctx.get::<ResourceClaim>(&Key::new(key.namespace(), name));
    let PodPlan { missing, mut made, reserve } = plan::of_pod(&pod, &own, &find);
    for Missing { claim, template, named } in missing {
        if let Some(named) = named
            && is_there(ctx, &pod, named).await?
        {
            continue;
        }
        let complain = |why: String| {
            let message = format!("PodResourceClaim {claim}: {why}");
            ctx.event(reference(&*pod), EventKind::Warning, "FailedResourceClaimCreation", message);
        };
        let Some(source) = ctx.get::<ResourceClaimTemplate>(&Key::new(key.namespace(), template)) else {
            complain(format!(
                "resource claim template {template:?}: resourceclaimtemplate.resource.k8s.io {template:?} not found"
            ));
            continue;
        };
        let wanted = plan::from_template(&pod, claim, &source);
        match ctx.create(&wanted).await {
            Ok(new) => made.push((claim.to_owned(), new.metadata.name.unwrap_or_default())),
            Err(error) => {
                let base = wanted.metadata.generate_name.as_deref().unwrap_or_default();
                complain(format!("create ResourceClaim {base}: {}", write::words(&error)));
                if !write::is_terminating(&error) {
                    return Err(error.into());
                }
            }
        }
    }
    if !made.is_empty() {
        let said = made.iter().map(|(claim, name)| json!({ "name": claim, "resourceClaimName": name }));
        let said: Vec<Value> = said.collect();
        let body =
            json!({ "metadata": { "uid": pod.metadata.uid }, "status": { "resourceClaimStatuses": said } });
        ctx.patch_part(&*pod, "status", Patch::Strategic, &body).await?;
    }
    for claim in reserve {
        let mut reserved = ResourceClaim::clone(&claim);
        let status = reserved.status.get_or_insert_default();
        status.reserved_for.get_or_insert_default().push(claims::consumer(&pod));
        ctx.patch_status(&*claim, &reserved).await?;
    }
    Ok(Next::Rest)
}

/// Whether the server knows a claim of the pod that the cache does not show.
async fn is_there(ctx: &Ctx, pod: &Pod, name: &str) -> write::Result<bool> {
    let place = Place::new(&Resource::of::<ResourceClaim>(), pod.metadata.namespace.as_deref(), name);
    match write::get::<ResourceClaim>(ctx.link(), &place).await {
        Ok(claim) => Ok(claims::is_for(&claim, pod).is_ok()),
        Err(error) if write::is_not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn of_claim(ctx: &Ctx, key: &Key) -> Outcome {
    let Some(claim) = ctx.get::<ResourceClaim>(key) else { return Ok(Next::Rest) };
    let mut kept = Vec::new();
    for consumer in claims::consumers(&claim) {
        if still_uses(ctx, key, consumer).await? {
            kept.push(consumer.clone());
        }
    }
    let owner = plan::owner(&claim).and_then(|owner| {
        // One that the cache does not show, or another of its name, may be new; if it is gone, the claim goes with it anyway.
        let pod = ctx.get::<Pod>(&Key::new(key.namespace(), &owner.name))?;
        Some(pod.metadata.uid.as_deref() == Some(&owner.uid) && is_done(&pod))
    });
    let ClaimPlan { status, unprotect, delete } = plan::of_claim(&claim, kept, owner == Some(true))?;
    let mut claim = ResourceClaim::clone(&claim);
    if let Some(status) = status {
        // Not if anything has changed since: somebody may have begun to use it.
        let meta = &claim.metadata;
        let body = json!({ "metadata": { "uid": meta.uid, "resourceVersion": meta.resource_version }, "status": status });
        claim = ctx.patch_part(&claim, "status", Patch::Merge, &body).await?;
    }
    if unprotect {
        claim.metadata.finalizers.iter_mut().for_each(|all| all.retain(|it| it != claims::PROTECTION));
        match ctx.replace(&claim).await {
            Err(error) if !write::is_not_found(&error) => return Err(error.into()),
            _ => {}
        }
    }
    if delete {
        ctx.delete(&claim, DeleteOptions::default()).await?;
    }
    Ok(Next::Rest)
}

/// Whether who a claim is reserved for may still use it. Of others than pods nothing is known, so they do.
async fn still_uses(ctx: &Ctx, key: &Key, consumer: &ResourceClaimConsumerReference) -> write::Result<bool> {
    let is_pod = consumer.api_group.as_deref().unwrap_or_default().is_empty() && consumer.resource == "pods";
    if !is_pod {
        return Ok(true);
    }
    let pod = ctx.get::<Pod>(&Key::new(key.namespace(), &consumer.name));
    if let Some(pod) = pod.filter(|pod| pod.metadata.uid.as_deref() == Some(&consumer.uid)) {
        return Ok(!is_done(&pod));
    }
    // The scheduler may know a pod that the cache does not show yet, or still shows the one before it of its name.
    let place = Place::new(&Resource::of::<Pod>(), key.namespace(), &consumer.name);
    match write::get::<Pod>(ctx.link(), &place).await {
        Ok(pod) => Ok(pod.metadata.uid.as_deref() == Some(&consumer.uid)),
        Err(error) if write::is_not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
