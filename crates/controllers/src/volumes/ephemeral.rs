//! Claims for the volumes that a pod has for itself alone; they go with it.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use skiff_api::pod::facts::PodFacts;
use skiff_api::{pod, volume};
use skiff_client::Change;
use skiff_client::controller::{Caches, How, Itself, Key, ManagedBy, Next, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write;

use super::USERS;
use crate::Settings;
use crate::shared::pods::manager;
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "ephemeral-volume-controller",
    component: "ephemeral_volume",
    wakes: &[on::<Pod, WithVolumes>().indexed(&[USERS]), on::<PersistentVolumeClaim, ManagedBy<Pod>>()],
    may: &[("create", "persistentvolumeclaims"), ("update", "pods/finalizers"), ("create patch", "events")],
    workers: 2,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// Pods whose volumes name claims.
struct WithVolumes;

impl How<Settings> for WithVolumes {
    fn keys(change: &Change, caches: &Caches, settings: &Settings) -> Vec<Key> {
        if change.latest().facts::<PodFacts>().claims.is_empty() {
            return Vec::new();
        }
        Itself::keys(change, caches, settings)
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(owner) = ctx.get::<Pod>(&key) else { return Ok(Next::Rest) };
    if owner.metadata.deletion_timestamp.is_some() || pod::is_finished(&owner) {
        return Ok(Next::Rest);
    }
    for source in owner.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let Some(template) = source.ephemeral.as_ref().and_then(|it| it.volume_claim_template.as_ref())
        else {
            continue;
        };
        let Some((name, _)) = volume::claim_name(&owner, source) else { continue };
        if let Some(held) = ctx.get::<PersistentVolumeClaim>(&Key::new(key.namespace(), &name)) {
            if !volume::is_made_for(&held, &owner) {
                let message = format!(
                    "PVC {key}: PVC was not created for the pod (the PVC is not owned by the pod): {name}"
                );
                ctx.event(reference(&*owner), EventKind::Warning, "FailedBinding", message);
            }
            continue;
        }
        let given = template.metadata.clone().unwrap_or_default();
        let claim = PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: owner.metadata.namespace.clone(),
                labels: given.labels,
                annotations: given.annotations,
                owner_references: Some(vec![manager(&*owner)]),
                ..ObjectMeta::default()
            },
            spec: Some(template.spec.clone()),
            status: None,
        };
        match ctx.create(&claim).await {
            Err(error) if !write::already_exists(&error) && !write::is_terminating(&error) => {
                return Err(error.into());
            }
            _ => {}
        }
    }
    Ok(Next::Rest)
}
