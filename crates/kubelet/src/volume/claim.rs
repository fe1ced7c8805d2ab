//! persistentVolumeClaim and ephemeral: the volume that the pod's claim is bound to, as this node reaches it.
//!
//! Follows upstream's `pkg/kubelet/volumemanager/populator`: a claim that is not bound yet, is another pod's, or whose
//! volume belongs to somebody else is a reason to wait and to say so. What stands behind a claim is never removed here.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, Volume};
use skiff_api::pod::affinity::Target;
use skiff_api::volume::{self, LOCAL_PATH, PROVISIONED_BY};

use super::kind::{Job, Kind, Place};
use super::objects::{Seen, heard};
use super::usage::Teller;
use super::{Problem, blocking, csi, host_path, nfs};

pub(super) struct ClaimKind;
pub(super) const KIND: ClaimKind = ClaimKind;

/// How long our view of a claim may lag behind the scheduler's.
const BOUND_WITHIN: Duration = Duration::from_secs(2);
const HOSTNAME: &str = "kubernetes.io/hostname";

impl Kind for ClaimKind {
    fn plugin(&self) -> &'static str {
        "kubernetes.io/persistent-claim"
    }

    fn has(&self, volume: &Volume) -> bool {
        volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some()
    }

    fn place<'a>(&'a self, job: &'a Job<'a>) -> BoxFuture<'a, Result<Place, Problem>> {
        Box::pin(async move {
            let (name, own) = volume::claim_name(job.pod, job.volume).unwrap_or_default();
            let named = format!("error processing PVC {}/{name}", job.namespace());
            let claim =
                find_claim(job, &name, own).await.map_err(|why| Problem::new(format!("{named}: {why}")))?;
            let held =
                find_volume(job, &claim).await.map_err(|why| Problem::new(format!("{named}: {why}")))?;
            let spec = held.spec.clone().unwrap_or_default();
            let pv = held.metadata.name.clone().unwrap_or_default();
            if !is_here(&held, job) {
                let why = "MountVolume.NodeAffinity check failed";
                return Err(Problem::new(format!("{why} for volume {pv:?} : no matching NodeSelectorTerms")));
            }
            let modes = spec.access_modes.as_deref().unwrap_or_default();
            if modes.iter().any(|mode| mode == "ReadWriteOncePod") && !job.inner.has_alone(&pv, job.pod) {
                let why = "volume uses the ReadWriteOncePod access mode and is already in use by another pod";
                return Err(Problem::new(why));
            }
            let asked = job.volume.persistent_volume_claim.as_ref().and_then(|source| source.read_only);
            let read_only = asked == Some(true);
            let ours =
                volume::annotation(held.metadata.annotations.as_ref(), PROVISIONED_BY) == Some(LOCAL_PATH);
            if let Some(source) = &spec.csi {
                return csi::persistent(job, &claim, &held, source, read_only).await;
            }
            if let Some(source) = &spec.nfs {
                let options = spec.mount_options.as_deref().unwrap_or_default();
                return nfs::persistent(job, &pv, source, options, read_only).await;
            }
            let (path, shared) = reach(&spec, ours).await?;
            // What is local is a file system of its own; a folder of the node is as full as the node is.
            let teller = if shared { Teller::Disk } else { Teller::Nobody };
            Ok(Place::Kept { path, read_only, own_group: shared, device: is_block(&spec), teller })
        })
    }
}

/// Whether the volume is a device, not a file system.
fn is_block(spec: &PersistentVolumeSpec) -> bool {
    spec.volume_mode.as_deref() == Some("Block")
}

async fn find_claim(job: &Job<'_>, name: &str, own: bool) -> Result<Arc<PersistentVolumeClaim>, String> {
    let failed = |why: &str| format!("failed to fetch PVC from API server: {why}");
    let claim = match heard(job.inner.objects.claim(job.namespace(), name)).await {
        None => return Err(failed("timed out")),
        Some(None) => return Err(failed(&format!("persistentvolumeclaims {name:?} not found"))),
        Some(Some(claim)) => claim,
    };
    if own && !volume::is_made_for(&claim, job.pod) {
        let (space, pod) = (job.namespace(), job.pod.metadata.name.as_deref().unwrap_or_default());
        return Err(format!("PVC {space}/{name} was not created for pod {space}/{pod} (pod is not owner)"));
    }
    let started = job.pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"));
    if claim.metadata.deletion_timestamp.is_some() && !started {
        return Err("PVC is being deleted".to_owned());
    }
    if is_bound(&claim) {
        return Ok(claim);
    }
    // The scheduler saw it bound: we are a moment behind.
    let mut feed = job.inner.objects.claim(job.namespace(), name);
    let bound = feed.wait_for(|seen| matches!(seen, Seen::Found(claim) if is_bound(claim)));
    if let Ok(Ok(seen)) = tokio::time::timeout(BOUND_WITHIN, bound).await
        && let Seen::Found(claim) = &*seen
    {
        return Ok(Arc::clone(claim));
    }
    Err("PVC is not bound".to_owned())
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Bound") && volume::volume_name(claim).is_some()
}

async fn find_volume(job: &Job<'_>, claim: &PersistentVolumeClaim) -> Result<Arc<PersistentVolume>, String> {
    let name = volume::volume_name(claim).unwrap_or_default();
    let failed = |why: &str| format!("failed to fetch PV {name:?} from API server: {why}");
    let held = match heard(job.inner.objects.persistent_volume(name)).await {
        None => return Err(failed("timed out")),
        Some(None) => return Err(failed(&format!("persistentvolumes {name:?} not found"))),
        Some(Some(held)) => held,
    };
    let theirs = volume::claim_ref(&held).and_then(|claim| claim.uid.clone());
    match theirs {
        None => Err(failed(&format!("PV object {name:?} has nil ClaimRef; cannot bind to a claim"))),
        Some(uid) if Some(&uid) != claim.metadata.uid.as_ref() => {
            let ours = claim.metadata.uid.as_deref().unwrap_or_default();
            Err(failed(&format!("PV.Spec.ClaimRef.UID {uid:?} does not match PVC.UID {ours:?}")))
        }
        Some(_) => Ok(held),
    }
}

/// Whether the volume is on this node, as far as it goes by the node's name. The scheduler has looked at all else; a pod
/// that was bound by hand must not find an empty folder where its data should be.
fn is_here(volume: &PersistentVolume, job: &Job<'_>) -> bool {
    let required = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    let terms = required.map(|required| required.node_selector_terms.as_slice()).unwrap_or_default();
    let by_name = |term: &k8s_openapi::api::core::v1::NodeSelectorTerm| {
        term.match_fields.is_none() && term.match_expressions.iter().flatten().all(|it| it.key == HOSTNAME)
    };
    if terms.is_empty() || !terms.iter().all(by_name) {
        return true;
    }
    let node = job.pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    let label = |key: &str| (key == HOSTNAME).then_some(node);
    volume::reaches(volume, Target { name: node, label: &label })
}

/// The path of a volume on this node, made if it is ours to make; and whether the pod's group is to have it.
async fn reach(spec: &PersistentVolumeSpec, ours: bool) -> Result<(PathBuf, bool), Problem> {
    if let Some(source) = &spec.host_path {
        if ours {
            make(PathBuf::from(&source.path)).await?;
        }
        return Ok((host_path::find(source).await?, false));
    }
    if let Some(local) = &spec.local {
        let path = PathBuf::from(&local.path);
        let there = path.clone();
        let known = blocking(move || std::fs::metadata(&there)).await;
        known.map_err(|_| Problem::new(format!("path {:?} does not exist", local.path)))?;
        return Ok((path, !is_block(spec)));
    }
    Err(Problem::new("no volume plugin matched: this node reaches hostPath, local, NFS and CSI volumes only"))
}

/// A folder of our own for whoever the pod runs as.
async fn make(path: PathBuf) -> Result<(), Problem> {
    let place = path.clone();
    let made = blocking(move || {
        if Path::new(&place).is_dir() {
            return Ok(());
        }
        std::fs::create_dir_all(&place)?;
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o777))
    });
    made.await.map_err(|error| Problem::io("mkdir", &path, &error))
}
