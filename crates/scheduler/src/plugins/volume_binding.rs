//! Claims of a pod: bound ones whose volumes reach the node, and those that wait for the pod to be bound with it.
//!
//! Follows upstream's `plugins/volumebinding`. A claim that does not wait must be bound before its pod is looked at.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use skiff_api::volume::{self, SELECTED_NODE};

use crate::event::{Event, Hope};
use crate::needs;
use crate::plugin::{Judge, Plugin, Refusal};
use crate::pod::Pending;
use crate::snapshot::{Node, Snapshot};
use crate::storage::{Needs, Storage, key};

pub(crate) struct VolumeBinding;

const CONFLICT: &str = "node(s) had volume node affinity conflict";
const NO_VOLUME: &str = "node(s) didn't find available persistent volumes to bind";
const GONE: &str = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
/// Its volumes are made by hand only.
const BY_HAND: &str = "kubernetes.io/no-provisioner";

/// A pod's claims, sorted out.
#[derive(Default)]
struct Claims {
    bound: Vec<Option<Arc<PersistentVolume>>>,
    /// With their classes.
    waiting: Vec<(Arc<PersistentVolumeClaim>, Arc<StorageClass>)>,
}

struct Binder<'a> {
    claims: Claims,
    /// All volumes of the waiting claims' classes.
    volumes: Vec<Arc<PersistentVolume>>,
    storage: &'a Storage,
}

/// Sorts the pod's claims out.
///
/// # Errors
/// Why the pod can go nowhere.
fn sort(pod: &Pending, storage: &Storage) -> Result<Claims, String> {
    let mut claims = Claims::default();
    let mut immediate = false;
    let namespace = pod.pod.metadata.namespace.as_deref();
    for (name, own) in volume::claims(&pod.pod) {
        let Some(claim) = storage.claim(&skiff_api::meta::key(namespace, &name)) else {
            let what = format!("persistentvolumeclaim {name:?}");
            return Err(match own {
                true => format!("waiting for ephemeral volume controller to create the {what}"),
                false => format!("{what} not found"),
            });
        };
        let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
        if phase == Some("Lost") {
            let volume = volume::volume_name(&claim).unwrap_or_default();
            return Err(format!(
                "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"
            ));
        }
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        if own && !volume::is_made_for(&claim, &pod.pod) {
            let space = namespace.unwrap_or_default();
            let owner = pod.pod.metadata.name.as_deref().unwrap_or_default();
            return Err(format!(
                "PVC {space}/{name} was not created for pod {space}/{owner} (pod is not owner)"
            ));
        }
        if volume::is_fully_bound(&claim) {
            claims.bound.push(volume::volume_name(&claim).and_then(|name| storage.volume(name)));
            continue;
        }
        let class = storage.class(&claim).filter(|class| volume::waits_for_consumer(class));
        match class.filter(|_| volume::volume_name(&claim).is_none()) {
            Some(class) => claims.waiting.push((claim, class)),
            None => immediate = true,
        }
    }
    if immediate {
        return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
    }
    // The smallest first: a larger one must not take what only the smaller can use.
    claims.waiting.sort_by_key(|(claim, _)| volume::requested(claim));
    Ok(claims)
}

fn has_claims(pod: &Pending) -> bool {
    volume::claims(&pod.pod).next().is_some()
}

impl<'a> Binder<'a> {
    fn new(claims: Claims, storage: &'a Storage) -> Self {
        let mut volumes = Vec::new();
        if !claims.waiting.is_empty() {
            let all = storage.volumes.list();
            let all = all.iter().filter_map(|object| skiff_client::cache::decode::<PersistentVolume>(object));
            let ours = |volume: &Arc<PersistentVolume>| {
                claims
                    .waiting
                    .iter()
                    .any(|(claim, _)| volume::class(claim) == Some(volume::volume_class(volume)))
            };
            volumes = all.filter(ours).collect();
        }
        Self { claims, volumes, storage }
    }

    /// What the waiting claims would need on the node.
    ///
    /// # Errors
    /// Why the node will not do.
    fn needs(&self, node: &Node) -> Result<Needs, Refusal> {
        let mut needs = Needs::default();
        for (claim, class) in &self.claims.waiting {
            let own = key(claim);
            let taken = |name: &str| {
                self.storage.is_promised(name, &own)
                    || needs.bind.iter().any(|(volume, _)| volume.metadata.name.as_deref() == Some(name))
            };
            let selected = volume::note(claim, SELECTED_NODE);
            if selected.is_some_and(|selected| selected != &*node.name) {
                return Err(Refusal::unsuitable(NO_VOLUME));
            }
            let found = node.as_target(|target| {
                volume::best_match(&self.volumes, claim, true, Some(target), &taken).cloned()
            });
            if let Some(found) = found.filter(|_| selected.is_none()) {
                needs.bind.push((found, Arc::clone(claim)));
                continue;
            }
            if class.provisioner.is_empty() || class.provisioner == BY_HAND || !reaches(class, node) {
                return Err(Refusal::unsuitable(NO_VOLUME));
            }
            needs.make.push(Arc::clone(claim));
        }
        Ok(needs)
    }
}

/// Whether the class makes volumes that the node reaches.
fn reaches(class: &StorageClass, node: &Node) -> bool {
    let Some(terms) = class.allowed_topologies.as_ref().filter(|terms| !terms.is_empty()) else {
        return true;
    };
    terms.iter().any(|term| {
        term.match_label_expressions.iter().flatten().all(|expression| {
            let value = node.labels.get(&*expression.key);
            value.is_some_and(|value| expression.values.iter().any(|wanted| **wanted == **value))
        })
    })
}

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
    }

    fn admit(&self, pod: &Pending, cluster: &Snapshot) -> Result<(), String> {
        if has_claims(pod) { sort(pod, &cluster.storage).map(drop) } else { Ok(()) }
    }

    fn begin<'a>(&self, pod: &'a Pending, cluster: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        if !has_claims(pod) {
            return None;
        }
        let claims = sort(pod, &cluster.storage).ok()?;
        Some(Box::new(Binder::new(claims, &cluster.storage)))
    }

    fn hope(&self, pod: &Pending, _: &Snapshot) -> Hope {
        let claims = pod.info.claims.clone();
        Hope::new(move |event| match event {
            Event::NodeAdded(_) | Event::NodeLabels(_) | Event::VolumeChanged | Event::ClassChanged => true,
            event => event.changes_claim(&claims),
        })
    }

    fn needs(&self, pod: &Pending, cluster: &Snapshot, node: &str) -> Option<needs::Needs> {
        if !has_claims(pod) {
            return None;
        }
        let claims = sort(pod, &cluster.storage).ok()?;
        let needs = Binder::new(claims, &cluster.storage).needs(cluster.node(node)?).ok()?;
        (!needs.bind.is_empty() || !needs.make.is_empty()).then(|| needs.into())
    }
}

impl Judge for Binder<'_> {
    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        for bound in &self.claims.bound {
            let Some(bound) = bound else { return Err(Refusal::unsuitable(GONE)) };
            if !node.as_target(|target| volume::reaches(bound, target)) {
                return Err(Refusal::unsuitable(CONFLICT));
            }
        }
        self.needs(node).map(drop)
    }
}
