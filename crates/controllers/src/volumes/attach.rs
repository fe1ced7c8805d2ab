//! Volumes of CSI drivers are attached to the node of their pods and detached when the last of them has ended.
//!
//! All that is done here is to make and delete VolumeAttachments, which the driver's attacher carries out, and to list on
//! the node what is attached, which its kubelet waits for. A volume that the kubelet still has mounted is not taken away
//! under it, unless the node has been lost for six minutes. Follows upstream's `pkg/controller/volume/attachdetach`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{
    CSIDriver, VolumeAttachment, VolumeAttachmentSource, VolumeAttachmentSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta};
use serde_json::json;
use skiff_api::pod::facts::PodFacts;
use skiff_api::{Object, pod, volume};
use skiff_client::Change;
use skiff_client::cache::{Index, decode};
use skiff_client::controller::{Caches, How, Key, Next, Nobody, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write::{self, Patch};

use super::USERS;
use crate::Settings;
use crate::shared::placed::{self, BY_NODE};
use crate::table::{Ctx, Row, on};

mod asked;
mod plan;

pub(crate) use asked::Asked;
use plan::{Scene, Wanted};

/// How long to wait for what the cache does not show yet; it wakes us as soon as it does.
const AWHILE: Duration = Duration::from_secs(1);

pub(crate) const CONTROLLER: Row = Row {
    name: "attachdetach-controller",
    component: "attachdetach-controller",
    wakes: &[
        on::<Node, Mounting>(),
        on::<Pod, ItsNode>().indexed(&[BY_NODE, USERS]),
        on::<PersistentVolumeClaim, NodesOfUsers>(),
        on::<PersistentVolume, Nobody>(),
        on::<VolumeAttachment, ItsNodes>().indexed(&[ATTACHED_TO]),
        on::<CSIDriver, Nobody>(),
    ],
    may: &[("create delete", "volumeattachments"), ("patch", "nodes/status"), ("create patch", "events")],
    // One at a time: so no volume that only one node may have is attached to two.
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// Finds attachments by their node.
const ATTACHED_TO: Index = Index {
    name: "attached-to",
    values: |object| {
        let attachment = decode::<VolumeAttachment>(object);
        attachment.map(|attachment| attachment.spec.node_name.as_str().into()).into_iter().collect()
    },
};

/// A node that came, or says that it has mounted or unmounted volumes.
struct Mounting;

impl How<Settings> for Mounting {
    fn keys(change: &Change, _: &Caches, _: &Settings) -> Vec<Key> {
        let matters = |object: &Arc<Object>| {
            let status = decode::<Node>(object)?.status.clone()?;
            let ready =
                status.conditions.iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True");
            Some((status.volumes_in_use, status.volumes_attached, ready))
        };
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && (!mentions(new) && !mentions(old) || matters(old) == matters(new))
        {
            return Vec::new();
        }
        vec![change.latest().meta().key().into()]
    }
}

/// Nodes report all the time, and most have no such volumes: that is seen without decoding them.
fn mentions(node: &Object) -> bool {
    ["\"volumesInUse\"", "\"volumesAttached\""].iter().any(|word| placed::mentions(node, word))
}

/// A pod with claims wakes its node.
struct ItsNode;

impl How<Settings> for ItsNode {
    fn keys(change: &Change, _: &Caches, _: &Settings) -> Vec<Key> {
        let facts = change.both().map(|object| object.facts::<PodFacts>());
        let nodes = facts.filter(|facts| !facts.claims.is_empty()).filter_map(|facts| facts.node.as_deref());
        nodes.map(|node| Key::new(None, node)).collect()
    }
}

/// The nodes of the pods that name a claim.
fn nodes_of_users(caches: &Caches, claim: &str) -> Vec<Key> {
    let users = caches.of::<Pod>().by(&USERS, claim);
    users.iter().flat_map(|pod| (BY_NODE.values)(pod)).map(|node| Key::new(None, &node)).collect()
}

/// A claim that is bound now wakes the nodes of its pods.
struct NodesOfUsers;

impl How<Settings> for NodesOfUsers {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        nodes_of_users(caches, &change.latest().meta().key())
    }
}

/// An attachment wakes its node; one that is gone those that waited for the volume, too.
struct ItsNodes;

impl How<Settings> for ItsNodes {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        let Some(attachment) = decode::<VolumeAttachment>(change.latest()) else { return Vec::new() };
        let mut keys = vec![Key::new(None, &attachment.spec.node_name)];
        let name = attachment.spec.source.persistent_volume_name.as_deref().filter(|_| change.new.is_none());
        let volume = name.and_then(|name| caches.get::<PersistentVolume>(&Key::new(None, name)));
        if let Some(claim) = volume.as_deref().and_then(volume::claim_ref) {
            let name = claim.name.as_deref().unwrap_or_default();
            keys.extend(nodes_of_users(caches, &skiff_api::meta::key(claim.namespace.as_deref(), name)));
        }
        keys
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let node = ctx.get::<Node>(&key);
    let wanted = wanted(&ctx, key.name());
    let held = ctx.cache::<VolumeAttachment>().by(&ATTACHED_TO, key.name());
    let held: Vec<Arc<VolumeAttachment>> =
        held.iter().filter_map(|object| decode(object)).filter(|it| plan::is_ours(it)).collect();
    if wanted.is_empty() && held.is_empty() && !node.as_deref().is_some_and(plan::lists_any) {
        return Ok(Next::Rest);
    }
    let all = ctx.all::<VolumeAttachment>();
    let others = all.iter().filter(|it| it.spec.node_name != key.name());
    let mut elsewhere: BTreeSet<String> =
        others.filter_map(|it| it.spec.source.persistent_volume_name.clone()).collect();
    let asked = ctx.settings().asked.elsewhere(&ctx, key.name(), &wanted).await?;
    let unsure = !asked.is_empty();
    elsewhere.extend(asked);
    let plan =
        plan::plan(&Scene { node: node.as_deref(), wanted: &wanted, held: &held, elsewhere, now: ctx.now() });
    for (kind, reason, volume, message) in &plan.news {
        for pod in wanted.get(volume).into_iter().flat_map(|wanted| &wanted.pods) {
            ctx.event(reference(&**pod), *kind, reason, message.clone());
        }
    }
    for volume in &plan.attach {
        let Some(wanted) = wanted.get(volume) else { continue };
        let attachment = made(key.name(), volume, wanted);
        ctx.settings().asked.note(&attachment);
        match ctx.create(&attachment).await {
            Err(error) if !write::already_exists(&error) => {
                let why =
                    format!("AttachVolume.Attach failed for volume {volume:?} : {}", write::words(&error));
                for pod in &wanted.pods {
                    ctx.event(reference(&**pod), EventKind::Warning, "FailedAttachVolume", why.clone());
                }
                return Err(error.into());
            }
            _ => {}
        }
    }
    for attachment in &plan.detach {
        ctx.delete(&**attachment, DeleteOptions::default()).await?;
    }
    if let (Some(node), Some(list)) = (&node, &plan.listed) {
        let body = json!({ "metadata": { "uid": node.metadata.uid }, "status": { "volumesAttached": list } });
        ctx.patch_part(&**node, "status", Patch::Merge, &body).await?;
    }
    let wait = plan.wait.and_then(|wait| Duration::try_from(wait).ok()).map(|wait| wait + AWHILE);
    let wait = if unsure { Some(AWHILE) } else { wait };
    Ok(wait.map_or(Next::Rest, Next::After))
}

/// The volumes that the node's pods need attached, by name.
fn wanted(ctx: &Ctx, node: &str) -> BTreeMap<String, Wanted> {
    let mut found: BTreeMap<String, Wanted> = BTreeMap::new();
    for object in ctx.cache::<Pod>().by(&BY_NODE, node) {
        if (USERS.values)(&object).is_empty() {
            continue;
        }
        let Some(pod) = decode::<Pod>(&object).filter(|pod| !pod::is_finished(pod)) else { continue };
        for (claim, own) in volume::claims(&pod) {
            let Some((name, csi)) = attachable(ctx, &pod, &claim, own) else { continue };
            let entry = found.entry(name).or_insert(Wanted { pods: Vec::new(), ..csi });
            entry.pods.push(Arc::clone(&pod));
        }
    }
    found
}

/// The volume behind a pod's claim, if a CSI driver has to attach it.
fn attachable(ctx: &Ctx, pod: &Pod, claim: &str, own: bool) -> Option<(String, Wanted)> {
    let claim = ctx.get::<PersistentVolumeClaim>(&Key::new(pod.metadata.namespace.as_deref(), claim))?;
    if own && !volume::is_made_for(&claim, pod) {
        return None;
    }
    let held = ctx.get::<PersistentVolume>(&Key::new(None, volume::volume_name(&claim)?))?;
    if !volume::is_bound_to(&held, &claim) {
        return None;
    }
    let spec = held.spec.as_ref()?;
    let csi = spec.csi.as_ref()?;
    let driver = ctx.get::<CSIDriver>(&Key::new(None, &csi.driver));
    if driver.is_some_and(|driver| driver.spec.attach_required == Some(false)) {
        return None;
    }
    let shared =
        spec.access_modes.iter().flatten().any(|mode| mode == "ReadWriteMany" || mode == "ReadOnlyMany");
    let wanted =
        Wanted { driver: csi.driver.clone(), handle: csi.volume_handle.clone(), shared, pods: Vec::new() };
    Some((held.metadata.name.clone()?, wanted))
}

fn made(node: &str, volume: &str, wanted: &Wanted) -> VolumeAttachment {
    VolumeAttachment {
        metadata: ObjectMeta {
            name: Some(plan::name(&wanted.driver, &wanted.handle, node)),
            ..ObjectMeta::default()
        },
        spec: VolumeAttachmentSpec {
            attacher: wanted.driver.clone(),
            node_name: node.to_owned(),
            source: VolumeAttachmentSource {
                persistent_volume_name: Some(volume.to_owned()),
                ..VolumeAttachmentSource::default()
            },
        },
        status: None,
    }
}
