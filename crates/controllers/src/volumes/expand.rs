//! Claims that ask for more than they have: our own folders grow at once, others are their driver's business.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use skiff_api::volume::{self, LOCAL_PATH, PROVISIONED_BY};
use skiff_client::controller::{Itself, Key, Next, Outcome};
use skiff_client::events::{EventKind, reference};

use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "expand-controller",
    component: "volume_expand",
    wakes: &[
        on::<PersistentVolumeClaim, Itself>(),
        on::<PersistentVolume, skiff_client::controller::Nobody>(),
    ],
    may: &[
        ("update", "persistentvolumes"),
        ("patch", "persistentvolumeclaims/status"),
        ("create patch", "events"),
    ],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(claim) = ctx.get::<PersistentVolumeClaim>(&key) else { return Ok(Next::Rest) };
    let status = claim.status.clone().unwrap_or_default();
    let wanted = volume::requested(&claim);
    if status.phase.as_deref() != Some("Bound") || volume::storage(status.capacity.as_ref()) >= wanted {
        return Ok(Next::Rest);
    }
    let name = volume::volume_name(&claim).unwrap_or_default();
    let Some(held) = ctx.get::<PersistentVolume>(&Key::new(None, name)) else { return Ok(Next::Rest) };
    if volume::annotation(held.metadata.annotations.as_ref(), PROVISIONED_BY) != Some(LOCAL_PATH) {
        let message = "waiting for an external controller to expand this PVC".to_owned();
        ctx.event(reference(&*claim), EventKind::Normal, "ExternalExpanding", message);
        return Ok(Next::Rest);
    }
    let size = BTreeMap::from([("storage".to_owned(), wanted.to_text())]);
    if volume::capacity(&held) < wanted {
        let mut grown = (*held).clone();
        grown.spec.get_or_insert_default().capacity = Some(size.clone());
        ctx.replace(&grown).await?;
    }
    let mut grown = (*claim).clone();
    let status = grown.status.get_or_insert_default();
    status.capacity = Some(size);
    status.conditions = None;
    status.allocated_resources = None;
    status.allocated_resource_statuses = None;
    ctx.patch_status(&*claim, &grown).await?;
    let message = format!("ExpandVolume succeeded for volume {key}");
    ctx.event(reference(&*claim), EventKind::Normal, "VolumeResizeSuccessful", message);
    Ok(Next::Rest)
}
