//! csi: volumes of drivers that others bring, inline in the pod or behind its claim.
//!
//! Follows upstream's `pkg/volume/csi`: a volume that must be attached is waited for, then staged once on the node where the
//! driver does so, then published to the pod. What is given is recorded first and taken back by that record. Drivers must bear to
//! be asked twice, so nothing is remembered but the record and what is mounted. Block devices, tokens for drivers and volumes
//! that a driver publishes anew (`requiresRepublish`) are not done yet.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{CSIPersistentVolumeSource, Node, PersistentVolume, Volume};
use k8s_openapi::api::storage::v1::CSIDriverSpec;
use sha2::{Digest, Sha256};

use super::kind::{Job, Kind, Place};
use super::objects::{Seen, heard};
use super::{Problem, blocking, ownership, remove};
use crate::csi::proto::{AccessMode, MountVolume, NodePublishVolume, NodeStageVolume, VolumeCapability};
use crate::csi::record::Record;
use crate::csi::{Driver, hex, unique};

mod take_back;
mod wanted;

pub(super) use take_back::take_back;
use wanted::{Mode, Wanted};

pub(super) struct CsiKind;
pub(super) const KIND: CsiKind = CsiKind;

const PLUGIN: &str = "kubernetes.io/csi";
/// How long an attacher may take.
const ATTACHED_WITHIN: Duration = Duration::from_secs(120);
const PERSISTENT: &str = "Persistent";
const EPHEMERAL: &str = "Ephemeral";

impl Kind for CsiKind {
    fn plugin(&self) -> &'static str {
        PLUGIN
    }

    fn has(&self, volume: &Volume) -> bool {
        volume.csi.is_some()
    }

    fn place<'a>(&'a self, job: &'a Job<'a>) -> BoxFuture<'a, Result<Place, Problem>> {
        Box::pin(async move {
            let source = job.volume.csi.clone().unwrap_or_default();
            give(job, &Wanted::inline(job, source)).await
        })
    }
}

/// The volume behind a claim.
pub(super) async fn persistent(
    job: &Job<'_>,
    volume: &PersistentVolume,
    source: &CSIPersistentVolumeSource,
    read_only: bool,
) -> Result<Place, Problem> {
    if volume.spec.as_ref().is_some_and(|spec| spec.volume_mode.as_deref() == Some("Block")) {
        return Err(Problem::new("block volumes of CSI drivers are not supported by this node"));
    }
    give(job, &Wanted::persistent(volume, source, read_only)).await
}

fn fault(what: &str, why: impl std::fmt::Display) -> Problem {
    Problem::new(format!("{PLUGIN}: {what}: {why}"))
}

/// Brings a volume to the pod.
async fn give(job: &Job<'_>, wanted: &Wanted) -> Result<Place, Problem> {
    let uid = job.pod.metadata.uid.as_deref().unwrap_or_default();
    if !super::is_name(&wanted.name) || !super::is_name(&wanted.driver) {
        return Err(Problem::new("the volume's or the driver's name is not a file name"));
    }
    let drivers = &job.inner.drivers;
    let folder = job.inner.volume_dir(uid, PLUGIN, &wanted.name);
    let target = folder.join("mount");
    let place = |own_group| Place::Kept {
        path: target.clone(),
        read_only: wanted.read_only,
        own_group,
        device: false,
    };
    let _turn = drivers.turn(&unique(&wanted.driver, &wanted.handle)).await;
    let (there, at) = (folder.clone(), target.clone());
    let given = blocking(move || Ok(Record::read(&there).is_some() && remove::is_mounted(&at)?)).await;
    if given.map_err(|error| Problem::io("look at", &target, &error))? {
        return Ok(place(false));
    }
    let driver = drivers.find(&wanted.driver).ok_or_else(|| {
        let name = &wanted.driver;
        Problem::new(format!("{PLUGIN}: driver name {name} not found in the list of registered CSI drivers"))
    })?;
    let about = heard(job.inner.objects.csi_driver(&wanted.driver)).await;
    let about = about.ok_or_else(|| fault("failed to fetch CSIDriver", "timed out"))?;
    let about = about.map(|about| about.spec.clone()).unwrap_or_default();
    lifecycle(wanted, &about)?;
    let attached = match wanted.ephemeral || about.attach_required == Some(false) {
        true => Attached::default(),
        false => wait_attached(job, wanted).await?,
    };
    let lifecycle = if wanted.ephemeral { EPHEMERAL } else { PERSISTENT };
    let record = Record {
        driver: wanted.driver.clone(),
        handle: wanted.handle.clone(),
        name: wanted.name.clone(),
        lifecycle: lifecycle.to_owned(),
        node: node_name(job).to_owned(),
        attachment: attached.name.clone(),
    };
    let (there, counting) = (folder.clone(), drivers.clone());
    let written = blocking(move || {
        record.write(&there)?;
        counting.count();
        Ok(())
    });
    written.await.map_err(|error| Problem::io("write", &folder, &error))?;
    let group = ownership::group(job.pod);
    let capability = VolumeCapability {
        mount: Some(MountVolume {
            fs_type: wanted.fs_type.clone(),
            mount_flags: wanted.mount_flags.clone(),
            volume_mount_group: group
                .filter(|_| driver.takes_group())
                .map(|group| group.to_string())
                .unwrap_or_default(),
        }),
        access_mode: Some(AccessMode { mode: wanted.mode.number(&driver) }),
    };
    let staging = stage(job, wanted, &driver, &attached, &capability).await?;
    let request = NodePublishVolume {
        volume_id: wanted.handle.clone(),
        publish_context: attached.context,
        staging_target_path: staging.map(|path| path.display().to_string()).unwrap_or_default(),
        target_path: target.display().to_string(),
        volume_capability: Some(capability),
        readonly: wanted.read_only,
        secrets: secrets(job, wanted.publish_secret.as_ref()).await?,
        volume_context: context(job, wanted, &about),
    };
    driver.plugin.publish(request).await.map_err(|why| fault("mounter.SetUpAt failed", why))?;
    Ok(place(!driver.takes_group() && gives_group(wanted, &about)))
}

fn node_name<'a>(job: &'a Job<'_>) -> &'a str {
    job.pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// Whether the driver says that its volumes may be used so; without a word they are persistent.
fn lifecycle(wanted: &Wanted, about: &CSIDriverSpec) -> Result<(), Problem> {
    let mode = if wanted.ephemeral { EPHEMERAL } else { PERSISTENT };
    let usual = [PERSISTENT.to_owned()];
    let modes = about.volume_lifecycle_modes.as_deref().filter(|modes| !modes.is_empty()).unwrap_or(&usual);
    if modes.iter().any(|one| one == mode) {
        return Ok(());
    }
    let why =
        format!("volume mode {mode:?} not supported by driver {} (only supports {modes:?})", wanted.driver);
    Err(fault("mounter.SetUpAt failed to check volume lifecycle mode", why))
}

/// Whether the pod's group is to have the volume.
fn gives_group(wanted: &Wanted, about: &CSIDriverSpec) -> bool {
    match about.fs_group_policy.as_deref() {
        Some("None") => false,
        Some("File") => true,
        _ => !wanted.fs_type.is_empty() && matches!(wanted.mode, Mode::OneNode | Mode::OnePod),
    }
}

/// What attaching a volume came to.
#[derive(Default)]
struct Attached {
    /// The attachment's name.
    name: String,
    context: HashMap<String, String>,
}

async fn wait_attached(job: &Job<'_>, wanted: &Wanted) -> Result<Attached, Problem> {
    let node = node_name(job);
    let name = unique(&wanted.driver, &wanted.handle);
    let mut feed = job.inner.objects.node(node);
    let lists = |node: &Node| {
        let attached = node.status.iter().flat_map(|status| status.volumes_attached.iter().flatten());
        attached.into_iter().any(|one| one.name == name)
    };
    let told = feed.wait_for(|seen| matches!(seen, Seen::Found(node) if lists(node)));
    if !matches!(tokio::time::timeout(ATTACHED_WITHIN, told).await, Ok(Ok(_))) {
        let why = format!(
            "timed out waiting for external-attacher of {} CSI driver to attach volume {}",
            wanted.driver, wanted.handle
        );
        return Err(Problem::new(why));
    }
    let digest = Sha256::digest(format!("{}{}{node}", wanted.handle, wanted.driver));
    let attachment = format!("csi-{}", hex(&digest));
    let found = job.inner.objects.attachment(&attachment).await;
    let status =
        found.map_err(|why| fault("failed to get VolumeAttachment", why))?.status.unwrap_or_default();
    if !status.attached {
        return Err(fault("volume attachment", format!("{attachment} is not attached")));
    }
    Ok(Attached { name: attachment, context: status.attachment_metadata.into_iter().flatten().collect() })
}

/// Brings the volume to the node, if the driver does that apart; where it is then.
async fn stage(
    job: &Job<'_>,
    wanted: &Wanted,
    driver: &Driver,
    attached: &Attached,
    capability: &VolumeCapability,
) -> Result<Option<PathBuf>, Problem> {
    if wanted.ephemeral || !driver.stages() {
        return Ok(None);
    }
    let path = job.inner.drivers.staging(&wanted.driver, &wanted.handle);
    let there = path.clone();
    blocking(move || std::fs::create_dir_all(there))
        .await
        .map_err(|error| Problem::io("make", &path, &error))?;
    let request = NodeStageVolume {
        volume_id: wanted.handle.clone(),
        publish_context: attached.context.clone(),
        staging_target_path: path.display().to_string(),
        volume_capability: Some(capability.clone()),
        secrets: secrets(job, wanted.stage_secret.as_ref()).await?,
        volume_context: wanted.context.clone(),
    };
    driver.plugin.stage(request).await.map_err(|why| fault("attacher.MountDevice failed", why))?;
    Ok(Some(path))
}

async fn secrets(
    job: &Job<'_>,
    named: Option<&(String, String)>,
) -> Result<HashMap<String, String>, Problem> {
    let Some((namespace, name)) = named else { return Ok(HashMap::new()) };
    let failed = |why: &str| fault("failed to get secret", format!("{namespace}/{name}: {why}"));
    match heard(job.inner.objects.secret(namespace, name)).await {
        Some(Some(secret)) => {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            Ok(secret.data.iter().flatten().map(|(key, value)| (key.clone(), text(&value.0))).collect())
        }
        Some(None) => Err(failed("not found")),
        None => Err(failed("timed out")),
    }
}

/// What the driver hears of the volume, and of the pod if it wants to.
fn context(job: &Job<'_>, wanted: &Wanted, about: &CSIDriverSpec) -> HashMap<String, String> {
    let mut context = wanted.context.clone();
    if about.pod_info_on_mount == Some(true) {
        let meta = &job.pod.metadata;
        let account = job.pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        for (key, value) in [
            ("pod.name", meta.name.clone().unwrap_or_default()),
            ("pod.namespace", job.namespace().to_owned()),
            ("pod.uid", meta.uid.clone().unwrap_or_default()),
            ("serviceAccount.name", account.unwrap_or_default()),
            ("ephemeral", wanted.ephemeral.to_string()),
        ] {
            context.insert(format!("csi.storage.k8s.io/{key}"), value);
        }
    }
    context
}
