//! Claims and volumes find one another; follows upstream's `pkg/controller/volume/persistentvolume`.
//!
//! A binding is four writes: the volume names its claim, its phase, the claim names its volume, its phase. Whatever the
//! controller was doing when it ended, the next look at either side goes on from what is written. A volume that two
//! claims reach for at once goes to whose write comes first; the other gets a conflict and looks again.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus, PersistentVolumeStatus, Pod,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Time};
use skiff_api::volume::{self, BIND_COMPLETED, BOUND_BY_CONTROLLER, PROVISIONER, PROVISIONER_BETA};
use skiff_client::Change;
use skiff_client::cache::decode;
use skiff_client::controller::{Caches, How, Key, Next, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write;

use super::{BY_CLASS, ItsClaims, PARTNER, USERS, users};
use crate::Settings;
use crate::table::{Ctx, Row, on};

mod claim;
mod reclaim;

pub(crate) const CONTROLLER: Row = Row {
    name: "persistent-volume-binder",
    component: "persistentvolume-controller",
    wakes: &[
        on::<PersistentVolumeClaim, BothSides>().indexed(&[PARTNER]),
        on::<PersistentVolume, BothSides>().indexed(&[PARTNER, BY_CLASS]),
        on::<StorageClass, Waiting>(),
        on::<Pod, ItsClaims>().indexed(&[USERS]),
    ],
    may: &[
        ("update delete", "persistentvolumes"),
        ("patch", "persistentvolumes/status"),
        ("update", "persistentvolumeclaims"),
        ("patch", "persistentvolumeclaims/status"),
        ("create patch", "events"),
    ],
    workers: 4,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// A claim or volume wakes itself, its partner before and after, and, where a volume became free, the claims that wait.
struct BothSides;

impl How<Settings> for BothSides {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        let latest = change.latest();
        let meta = latest.meta();
        let key = meta.key();
        let mut keys: Vec<Key> = vec![Arc::clone(&key).into()];
        for object in change.both() {
            keys.extend(super::partner(object).into_iter().map(|it| Key::from(Arc::<str>::from(it))));
        }
        let others = match meta.namespace {
            Some(_) => caches.of::<PersistentVolume>(),
            None => caches.of::<PersistentVolumeClaim>(),
        };
        keys.extend(others.by(&PARTNER, &key).iter().map(|other| other.meta().key().into()));
        if meta.namespace.is_none() && change.new.is_some() && super::partner(latest).is_empty() {
            keys.extend(waiting(caches));
        }
        keys
    }
}

/// A class wakes the claims that wait for a volume.
struct Waiting;

impl How<Settings> for Waiting {
    fn keys(_: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        waiting(caches)
    }
}

fn waiting(caches: &Caches) -> Vec<Key> {
    let claims = caches.of::<PersistentVolumeClaim>().list();
    let waiting = claims.iter().filter(|claim| super::partner(claim).is_empty());
    waiting.map(|claim| claim.meta().key().into()).collect()
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let done = if key.namespace().is_some() {
        Box::pin(of_claim(&ctx, &key)).await
    } else {
        Box::pin(of_volume(&ctx, &key)).await
    };
    match done {
        Err(error) if write::is_not_found(&error) => Ok(Next::Rest),
        other => other.map(|()| Next::Rest).map_err(Into::into),
    }
}

async fn of_claim(ctx: &Ctx, key: &Key) -> write::Result<()> {
    let Some(claim) = ctx.get::<PersistentVolumeClaim>(key) else { return Ok(()) };
    let classes = ctx.all::<StorageClass>();
    let wanted = volume::class(&claim).unwrap_or_default();
    let same_class = ctx.cache::<PersistentVolume>().by(&BY_CLASS, wanted);
    let users = users(ctx.caches(), &claim);
    let scene = claim::Scene {
        claim: &claim,
        named: volume::volume_name(&claim).and_then(|name| ctx.get(&Key::new(None, name))),
        candidates: same_class.iter().filter_map(|it| decode(it)).collect(),
        class: classes.iter().find(|class| class.metadata.name.as_deref() == Some(wanted)),
        default: volume::default_class(classes.iter()).and_then(|class| class.metadata.name.as_deref()),
        user: users.first().and_then(|pod| pod.metadata.name.as_deref()),
    };
    let plan = claim::plan(&scene);
    if let Some(class) = plan.set_class {
        let mut wanted = (*claim).clone();
        wanted.spec.get_or_insert_default().storage_class_name = Some(class);
        return ctx.replace(&wanted).await.map(|_| ());
    }
    if let Some((kind, reason, message)) = plan.say {
        ctx.event(reference(&*claim), kind, reason, message);
    }
    if let Some(provisioner) = plan.provision {
        let mut wanted = (*claim).clone();
        let notes = wanted.metadata.annotations.get_or_insert_default();
        notes.insert(PROVISIONER.to_owned(), provisioner.clone());
        notes.insert(PROVISIONER_BETA.to_owned(), provisioner);
        if wanted.metadata.annotations != claim.metadata.annotations {
            ctx.replace(&wanted).await?;
        }
    }
    if let Some(volume) = plan.bind {
        return Box::pin(bind(ctx, &volume, &claim)).await;
    }
    let phase = plan.phase.map(str::to_owned);
    let mut status = claim.status.clone().unwrap_or_default();
    if phase.is_some() && status.phase != phase {
        status = PersistentVolumeClaimStatus { phase, ..status };
        ctx.patch_status(&*claim, &PersistentVolumeClaim { status: Some(status), ..(*claim).clone() })
            .await?;
    }
    Ok(())
}

/// Writes what is still missing of a binding, on both sides.
async fn bind(ctx: &Ctx, volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> write::Result<()> {
    let wanted = volume::promised(volume, claim);
    let volume = if wanted == *volume { wanted } else { ctx.replace(&wanted).await? };
    set_phase(ctx, &volume, "Bound", None).await?;
    let wanted = claim::bound_claim(claim, &volume);
    let claim = if wanted == *claim { wanted } else { ctx.replace(&wanted).await? };
    let status = Some(claim::bound_status(&claim, &volume));
    ctx.patch_status(&claim, &PersistentVolumeClaim { status, ..claim.clone() }).await
}

async fn set_phase(
    ctx: &Ctx,
    volume: &PersistentVolume,
    phase: &str,
    why: Option<&str>,
) -> write::Result<()> {
    let old = volume.status.clone().unwrap_or_default();
    let message = why.map(str::to_owned);
    if old.phase.as_deref() == Some(phase)
        && old.last_phase_transition_time.is_some()
        && old.message == message
    {
        return Ok(());
    }
    let status = PersistentVolumeStatus {
        phase: Some(phase.to_owned()),
        message,
        last_phase_transition_time: Some(Time(ctx.clock_seconds())),
        reason: None,
    };
    ctx.patch_status(volume, &PersistentVolume { status: Some(status), ..volume.clone() }).await
}

async fn of_volume(ctx: &Ctx, key: &Key) -> write::Result<()> {
    let Some(volume) = ctx.get::<PersistentVolume>(key) else { return Ok(()) };
    let claim = volume::claim_ref(&volume).and_then(|claim| {
        let key = Key::new(claim.namespace.as_deref(), claim.name.as_deref()?);
        ctx.get::<PersistentVolumeClaim>(&key)
    });
    let plan = reclaim::plan(&volume, claim.as_deref());
    if let Some((kind, reason, message)) = &plan.say {
        ctx.event(reference(&*volume), *kind, reason, message.clone());
    }
    if let Some(unbound) = plan.unbound {
        let volume = ctx.replace(&unbound).await?;
        return set_phase(ctx, &volume, "Available", None).await;
    }
    if let Some((phase, why)) = plan.phase {
        set_phase(ctx, &volume, phase, why.as_deref()).await?;
    }
    if plan.delete && volume.metadata.deletion_timestamp.is_none() {
        ctx.delete(&*volume, DeleteOptions::default()).await?;
    }
    Ok(())
}

/// True if a binding between the two was our choice.
fn is_ours(annotations: Option<&std::collections::BTreeMap<String, String>>) -> bool {
    volume::annotation(annotations, BOUND_BY_CONTROLLER).is_some()
}

/// What is said about an object: kind, reason, message.
type News = (EventKind, &'static str, String);

#[cfg(test)]
mod tests;
