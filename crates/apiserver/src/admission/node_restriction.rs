//! NodeRestriction: a kubelet touches its own node, lease and pods only, and creates no pods but the mirrors of its files.
//! It creates slices of its own devices only. Of a claim it changes what tells that it has grown. Of a volume that is one of its folders it takes off the finalizer that waits for it, and nothing else.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::resource::v1::ResourceSlice;
use skiff_api::ApiError;
use skiff_api::volume::LOCAL_PATH;

use super::{Attempt, Operation, Plugin};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { validate, delete, ..Plugin::named("NodeRestriction") };

/// Marks a pod that a kubelet mirrors from a file.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The node that asks, if it is one.
fn node<'a>(attempt: &Attempt<'a>) -> Option<&'a str> {
    crate::authz::node::name(attempt.scope.user)
}

fn pod(draft: &dyn Draft) -> Option<&Pod> {
    draft.as_any().downcast_ref()
}

fn on(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// Its own node and lease, by name.
fn own(attempt: &Attempt<'_>, node: &str, draft: &dyn Draft) -> Result<(), ApiError> {
    let name = draft.meta().name.as_deref().unwrap_or_default();
    if name == node {
        return Ok(());
    }
    if draft.as_any().is::<Node>() {
        let why = format!("node \"{node}\" is not allowed to modify node \"{name}\"");
        return Err(attempt.forbidden(name, why));
    }
    if draft.as_any().is::<Lease>() {
        let why = "can only access node lease with the same name as the requesting node";
        return Err(attempt.forbidden(name, why));
    }
    Ok(())
}

/// Slices are of the node's own devices; other verbs the authoriser knows about.
fn slice(attempt: &Attempt<'_>, node: &str, draft: &dyn Draft) -> Result<(), ApiError> {
    let Some(slice) = draft.as_any().downcast_ref::<ResourceSlice>() else { return Ok(()) };
    if attempt.operation != Operation::Create || slice.spec.node_name.as_deref() == Some(node) {
        return Ok(());
    }
    let why = "can only create ResourceSlice with the same NodeName as the requesting node";
    Err(attempt.forbidden(slice.metadata.name.as_deref().unwrap_or_default(), why))
}

/// What may change in a volume.
fn volume(attempt: &Attempt<'_>, node: &str, draft: &dyn Draft) -> Result<(), ApiError> {
    let Some(new) = draft.as_any().downcast_ref::<PersistentVolume>() else { return Ok(()) };
    let bare = |volume: &PersistentVolume| {
        let mut copy = volume.clone();
        let meta = &mut copy.metadata;
        meta.resource_version = None;
        let kept = meta.finalizers.take().unwrap_or_default();
        meta.finalizers = Some(kept.into_iter().filter(|finalizer| finalizer != LOCAL_PATH).collect());
        copy
    };
    let old = attempt.old.and_then(|old| old.as_any().downcast_ref::<PersistentVolume>());
    let waits = |volume: &PersistentVolume| {
        volume.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == LOCAL_PATH)
    };
    if old.is_some_and(|old| bare(old) == bare(new) && (waits(old) || !waits(new))) {
        return Ok(());
    }
    let name = new.metadata.name.as_deref().unwrap_or_default();
    let why =
        format!("node \"{node}\" may only remove the finalizer \"{LOCAL_PATH}\" of a persistent volume");
    Err(attempt.forbidden(name, why))
}

/// What may change in a claim's status, which is all that the authoriser lets a node write of it.
fn claim(attempt: &Attempt<'_>, node: &str, draft: &dyn Draft) -> Result<(), ApiError> {
    let Some(new) = draft.as_any().downcast_ref::<PersistentVolumeClaim>() else { return Ok(()) };
    let bare = |claim: &PersistentVolumeClaim| {
        let mut copy = claim.clone();
        copy.metadata.managed_fields = None;
        copy.metadata.resource_version = None;
        let status = copy.status.get_or_insert_default();
        status.capacity = None;
        status.conditions = None;
        status.allocated_resources = None;
        status.allocated_resource_statuses = None;
        copy
    };
    let old = attempt.old.and_then(|old| old.as_any().downcast_ref::<PersistentVolumeClaim>());
    if old.is_some_and(|old| bare(old) == bare(new)) {
        return Ok(());
    }
    let why = format!(
        "node \"{node}\" is not allowed to update fields other than status.quantity and status.conditions"
    );
    Err(attempt.forbidden(new.metadata.name.as_deref().unwrap_or_default(), why))
}

fn validate(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    if let Some(node) = node(attempt) {
        own(attempt, node, draft)?;
        volume(attempt, node, draft)?;
        claim(attempt, node, draft)?;
        slice(attempt, node, draft)?;
    }
    let Some((node, new)) = node(attempt).zip(pod(draft)) else { return Ok(()) };
    let name = new.metadata.name.as_deref().unwrap_or_default();
    match attempt.operation {
        Operation::Create => {
            if !new.metadata.annotations.iter().flatten().any(|(key, _)| key == MIRROR) {
                let why = format!(
                    "pod does not have \"{MIRROR}\" annotation, node \"{node}\" can only create mirror pods"
                );
                return Err(attempt.forbidden(name, why));
            }
            if on(new) != node {
                let why = format!("node \"{node}\" can only create pods with spec.nodeName set to itself");
                return Err(attempt.forbidden(name, why));
            }
            Ok(())
        }
        Operation::Update => {
            if attempt.old.and_then(pod).is_none_or(|old| on(old) == node) {
                return Ok(());
            }
            let why = format!(
                "node \"{node}\" can only update pod status for pods with spec.nodeName set to itself"
            );
            Err(attempt.forbidden(name, why))
        }
        Operation::Delete => Ok(()),
    }
}

fn delete(attempt: &Attempt<'_>) -> Result<(), ApiError> {
    let Some((node, old)) = node(attempt).zip(attempt.old.and_then(pod)) else { return Ok(()) };
    if on(old) == node {
        return Ok(());
    }
    let why = format!("node \"{node}\" can only delete pods with spec.nodeName set to itself");
    Err(attempt.forbidden(attempt.scope.name, why))
}
