//! Volumes of the class `local-path`: folders on the node where their first user runs.
//!
//! The split: this controller makes and deletes the PersistentVolume; the folder is the node's business. A node says where
//! its folders are (annotation on the Node), makes a folder when a pod first mounts it, and removes it before it takes
//! its finalizer off a volume that goes. Of a node that is gone nothing can be removed: then the finalizer goes here.

use std::collections::BTreeMap;

use k8s_openapi::Resource as _;
use k8s_openapi::api::core::v1::{
    HostPathVolumeSource, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference,
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use skiff_api::volume::{
    self, LOCAL_PATH, LOCAL_PATH_NODE, LOCAL_PATH_ROOT, PROVISIONED_BY, PROVISIONER, SELECTED_NODE,
};
use skiff_client::Change;
use skiff_client::controller::{Caches, How, Itself, Key, Next, Nobody, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write::{self, Place};

use crate::Settings;
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "local-path-provisioner",
    component: LOCAL_PATH,
    wakes: &[
        on::<PersistentVolumeClaim, Itself>(),
        on::<PersistentVolume, Itself>(),
        on::<StorageClass, Nobody>(),
        on::<Node, ItsVolumes>(),
    ],
    may: &[("create update", "persistentvolumes"), ("get", "nodes"), ("create patch", "events")],
    workers: 2,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// A node that came or went wakes the claims that chose it and the volumes on it.
struct ItsVolumes;

impl How<Settings> for ItsVolumes {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        if change.old.is_some() && change.new.is_some() {
            return Vec::new();
        }
        let node = &change.latest().meta().name;
        let mut keys = Vec::new();
        for volume in caches.of::<PersistentVolume>().list() {
            if volume.meta().labels.get(LOCAL_PATH_NODE).is_some_and(|on| **on == **node) {
                keys.push(volume.meta().key().into());
            }
        }
        for claim in caches.of::<PersistentVolumeClaim>().list() {
            if super::partner(&claim).is_empty() {
                keys.push(claim.meta().key().into());
            }
        }
        keys
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    if key.namespace().is_none() {
        return clear(&ctx, &key).await;
    }
    let Some(claim) = ctx.get::<PersistentVolumeClaim>(&key) else { return Ok(Next::Rest) };
    if volume::volume_name(&claim).is_some()
        || claim.metadata.deletion_timestamp.is_some()
        || volume::note(&claim, PROVISIONER) != Some(LOCAL_PATH)
    {
        return Ok(Next::Rest);
    }
    let class = volume::class(&claim).unwrap_or_default();
    let Some(class) = ctx.get::<StorageClass>(&Key::new(None, class)) else { return Ok(Next::Rest) };
    let nodes = ctx.all::<Node>();
    let node = match volume::note(&claim, SELECTED_NODE) {
        Some(name) => nodes.iter().find(|node| node.metadata.name.as_deref() == Some(name)),
        // A folder must be somewhere; without a pod to tell, the first node that has room for any will do.
        None if !volume::waits_for_consumer(&class) => {
            nodes.iter().filter(|node| root(node).is_some()).min_by_key(|node| node.metadata.name.clone())
        }
        None => return Ok(Next::Rest),
    };
    let name = format!("pvc-{}", claim.metadata.uid.as_deref().unwrap_or_default());
    if ctx.get::<PersistentVolume>(&Key::new(None, &name)).is_some() {
        return Ok(Next::Rest);
    }
    let begun = format!("External provisioner is provisioning volume for claim \"{key}\"");
    ctx.event(reference(&*claim), EventKind::Normal, "Provisioning", begun);
    let mut refused = None;
    let made = match node.map(|node| plan(&claim, &class, node)) {
        None => Err("no node can hold it".to_owned()),
        Some(Err(why)) => Err(why.to_owned()),
        Some(Ok(wanted)) => match ctx.create(&wanted).await {
            Err(error) if !write::already_exists(&error) => {
                let why = write::words(&error);
                refused = Some(error);
                Err(why)
            }
            _ => Ok(()),
        },
    };
    match made {
        Ok(()) => {
            let message = format!("Successfully provisioned volume {name}");
            ctx.event(reference(&*claim), EventKind::Normal, "ProvisioningSucceeded", message);
        }
        Err(why) => {
            let class = class.metadata.name.as_deref().unwrap_or_default();
            let message = format!("failed to provision volume with StorageClass {class:?}: {why}");
            ctx.event(reference(&*claim), EventKind::Warning, "ProvisioningFailed", message);
        }
    }
    // A plan that fails waits for what it lacks; what the server refused is tried again.
    refused.map_or(Ok(Next::Rest), |error| Err(error.into()))
}

/// Where a node has its folders.
fn root(node: &Node) -> Option<&str> {
    volume::annotation(node.metadata.annotations.as_ref(), LOCAL_PATH_ROOT)
}

/// The volume for a claim on a node; pure.
fn plan(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: &Node,
) -> Result<PersistentVolume, &'static str> {
    let wish = claim.spec.clone().unwrap_or_default();
    if wish.selector.is_some() {
        return Err("claim.Spec.Selector is not supported");
    }
    if wish.volume_mode.as_deref() == Some("Block") {
        return Err("block volumes are not supported");
    }
    if wish.access_modes.iter().flatten().any(|mode| mode != "ReadWriteOnce" && mode != "ReadWriteOncePod") {
        return Err("NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes");
    }
    let Some(root) = root(node) else { return Err("the node has no folder for local volumes") };
    let host = node.metadata.name.clone().unwrap_or_default();
    let label = "kubernetes.io/hostname";
    let hostname =
        node.metadata.labels.as_ref().and_then(|labels| labels.get(label)).unwrap_or(&host).clone();
    let (namespace, name) = (
        claim.metadata.namespace.clone().unwrap_or_default(),
        claim.metadata.name.clone().unwrap_or_default(),
    );
    let volume = format!("pvc-{}", claim.metadata.uid.as_deref().unwrap_or_default());
    let here = NodeSelectorRequirement {
        key: label.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![hostname]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![here]), match_fields: None };
    Ok(PersistentVolume {
        metadata: ObjectMeta {
            name: Some(volume.clone()),
            labels: Some(BTreeMap::from([(LOCAL_PATH_NODE.to_owned(), host)])),
            annotations: Some(BTreeMap::from([(PROVISIONED_BY.to_owned(), LOCAL_PATH.to_owned())])),
            finalizers: Some(vec![LOCAL_PATH.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: wish.access_modes,
            capacity: wish.resources.and_then(|resources| resources.requests),
            claim_ref: Some(ObjectReference {
                api_version: Some(PersistentVolumeClaim::API_VERSION.to_owned()),
                kind: Some(PersistentVolumeClaim::KIND.to_owned()),
                namespace: Some(namespace.clone()),
                name: Some(name.clone()),
                uid: claim.metadata.uid.clone(),
                resource_version: claim.metadata.resource_version.clone(),
                field_path: None,
            }),
            host_path: Some(HostPathVolumeSource {
                path: format!("{root}/{volume}_{namespace}_{name}"),
                type_: Some("DirectoryOrCreate".to_owned()),
            }),
            mount_options: class.mount_options.clone(),
            node_affinity: Some(VolumeNodeAffinity {
                required: Some(NodeSelector { node_selector_terms: vec![term] }),
            }),
            persistent_volume_reclaim_policy: class.reclaim_policy.clone(),
            storage_class_name: class.metadata.name.clone(),
            volume_mode: Some("Filesystem".to_owned()),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    })
}

/// Lets a volume go whose node is no more.
async fn clear(ctx: &Ctx, key: &Key) -> Outcome {
    let Some(volume) = ctx.get::<PersistentVolume>(key) else { return Ok(Next::Rest) };
    let node = volume.metadata.labels.as_ref().and_then(|labels| labels.get(LOCAL_PATH_NODE));
    let held = volume.metadata.finalizers.iter().flatten().any(|it| it == LOCAL_PATH);
    let Some(node) = node.filter(|_| held && volume.metadata.deletion_timestamp.is_some()) else {
        return Ok(Next::Rest);
    };
    // The cache may be behind: only the server knows that there is no such node.
    let place = Place::new(&skiff_api::Resource::of::<Node>(), None, node);
    match write::get::<Node>(ctx.link(), &place).await {
        Ok(_) => return Ok(Next::Rest),
        Err(error) if !write::is_not_found(&error) => return Err(error.into()),
        Err(_) => {}
    }
    let mut free = (*volume).clone();
    free.metadata.finalizers.get_or_insert_default().retain(|it| it != LOCAL_PATH);
    match ctx.replace(&free).await {
        Err(error) if !write::is_not_found(&error) => Err(error.into()),
        _ => Ok(Next::Rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_on_the_chosen_node_becomes_a_volume_that_only_that_node_reaches() {
        let claim: PersistentVolumeClaim = serde_saphyr::from_str(
            "{metadata: {name: c, namespace: n, uid: u}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}",
        )
        .unwrap();
        let class: StorageClass =
            serde_saphyr::from_str("{metadata: {name: local-path}, provisioner: p, reclaimPolicy: Delete}")
                .unwrap();
        let node = |notes: &str| -> Node {
            serde_saphyr::from_str(&format!("{{metadata: {{name: m, annotations: {{{notes}}}}}}}")).unwrap()
        };
        let made = plan(&claim, &class, &node("skiff.dev/local-path-root: /srv/volumes")).unwrap();
        let spec = made.spec.as_ref().unwrap();
        assert_eq!(spec.host_path.as_ref().unwrap().path, "/srv/volumes/pvc-u_n_c");
        let reached = |name: &'static str| {
            let label = |key: &str| (key == "kubernetes.io/hostname").then_some(name);
            volume::reaches(&made, skiff_api::pod::affinity::Target { name, label: &label })
        };
        assert!(reached("m") && !reached("other"));
        assert!(volume::is_bound_to(&made, &claim));
        assert!(plan(&claim, &class, &node("")).is_err());
    }
}
