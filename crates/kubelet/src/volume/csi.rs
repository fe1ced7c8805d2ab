//! csi: volumes of drivers that others bring, inline in the pod or behind its claim.
//!
//! Follows upstream's `pkg/volume/csi`: a volume that must be attached is waited for, then staged once on the node where the
//! driver does so, then published to the pod, as a file system or as a device. What is given is recorded first and taken back by
//! that record. Drivers must bear to be asked twice, so nothing is remembered but the record and what is there. What may
//! become of a volume while a pod has it is [`mod@keep`]'s matter.

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, PersistentVolume, PersistentVolumeClaim, Volume,
};
use k8s_openapi::api::storage::v1::CSIDriverSpec;

use super::kind::{Job, Kind, Place};
use super::objects::heard;
use super::usage::Teller;
use super::{Problem, blocking, ownership, remove};
use crate::csi::paths::is_block_device;
use crate::csi::proto::{NodePublishVolume, NodeStageVolume};
use crate::csi::record::Record;
use crate::csi::{Driver, Drivers, Paths};

mod attached;
mod grow;
mod keep;
mod take_back;
mod told;
mod usage;
mod wanted;

use attached::Attached;
pub(super) use keep::keep;
pub(super) use take_back::take_back;
use wanted::{Mode, Wanted};

pub(super) struct CsiKind;
pub(super) const KIND: CsiKind = CsiKind;

const PLUGIN: &str = "kubernetes.io/csi";
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
            let driven = give(job, Wanted::inline(job, source)).await?;
            Ok(driven.place())
        })
    }
}

/// The volume behind a claim.
pub(super) async fn persistent(
    job: &Job<'_>,
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
    source: &CSIPersistentVolumeSource,
    read_only: bool,
) -> Result<Place, Problem> {
    let mut driven = give(job, Wanted::persistent(volume, source, read_only)).await?;
    driven.claim.clone_from(&claim.metadata.name);
    grow::at_mount(job, &driven, claim, volume).await?;
    Ok(driven.place())
}

/// A volume that a driver has brought to a pod.
pub(super) struct Driven {
    wanted: Wanted,
    paths: Paths,
    drivers: Drivers,
    /// The claim it is behind, in the pod's namespace.
    claim: Option<String>,
    /// It was brought just now; else it has been here before.
    fresh: bool,
    /// The pod's group is still to have it.
    own_group: bool,
}

impl Driven {
    fn place(self) -> Place {
        Place::Kept {
            path: self.paths.target.clone(),
            read_only: self.wanted.read_only,
            own_group: self.own_group,
            device: self.wanted.block,
            teller: Teller::Driver(Arc::new(self)),
        }
    }
}

fn fault(what: &str, why: impl std::fmt::Display) -> Problem {
    Problem::new(format!("{PLUGIN}: {what}: {why}"))
}

fn unknown(driver: &str) -> Problem {
    Problem::new(format!("{PLUGIN}: driver name {driver} not found in the list of registered CSI drivers"))
}

/// Brings a volume to the pod, unless it is there.
async fn give(job: &Job<'_>, wanted: Wanted) -> Result<Driven, Problem> {
    if !super::is_name(&wanted.name) || !super::is_name(&wanted.driver) {
        return Err(Problem::new("the volume's or the driver's name is not a file name"));
    }
    let drivers = job.inner.drivers.clone();
    let paths = wanted.paths(&drivers, job.pod.metadata.uid.as_deref().unwrap_or_default());
    let _turn = drivers.turn(&wanted.unique()).await;
    let fresh = !is_given(&paths, wanted.block).await?;
    let own_group = fresh && bring(job, &wanted, &paths).await?;
    Ok(Driven { wanted, paths, drivers, claim: None, fresh, own_group })
}

/// Whether the pod has the volume.
async fn is_given(paths: &Paths, block: bool) -> Result<bool, Problem> {
    let at = paths.clone();
    let there = move || match block {
        true => Ok(is_block_device(&at.target)),
        false => remove::is_mounted(&at.target),
    };
    let folder = paths.folder.clone();
    let given = blocking(move || Ok(Record::read(&folder).is_some() && there()?)).await;
    given.map_err(|error| Problem::io("look at", &paths.target, &error))
}

/// Waits for the attachment, records, stages and publishes. The answer is whether the pod's group is still to have it.
async fn bring(job: &Job<'_>, wanted: &Wanted, paths: &Paths) -> Result<bool, Problem> {
    let asking = Asking::new(job, wanted, paths).await?;
    lifecycle(wanted, &asking.about)?;
    let record = Record {
        driver: wanted.driver.clone(),
        handle: wanted.handle.clone(),
        name: wanted.name.clone(),
        lifecycle: if wanted.ephemeral { EPHEMERAL } else { PERSISTENT }.to_owned(),
        node: attached::node_name(job).to_owned(),
        attachment: asking.attached.name.clone(),
    };
    let (there, counting) = (paths.clone(), job.inner.drivers.clone());
    let written = blocking(move || {
        record.write(&there.folder)?;
        counting.count();
        // The driver makes the place itself.
        there.target.parent().map_or(Ok(()), std::fs::create_dir_all)
    });
    written.await.map_err(|error| Problem::io("write", &paths.folder, &error))?;
    asking.stage().await?;
    asking.publish().await?;
    if wanted.block && !is_given(paths, true).await? {
        let why = format!("{} is not a block device", paths.target.display());
        return Err(fault("blockMapper.MapPodDevice failed", why));
    }
    Ok(asking.gives_group())
}

/// Asks the driver once more for a volume that the pod has: what is in it, and who may see it, may be new.
async fn renew(job: &Job<'_>, driven: &Driven) -> Result<(), Problem> {
    let Driven { wanted, paths, .. } = driven;
    let _turn = job.inner.drivers.turn(&wanted.unique()).await;
    if !is_given(paths, wanted.block).await? {
        return Ok(());
    }
    let asking = Asking::new(job, wanted, paths).await?;
    asking.publish().await?;
    super::own(&paths.target, job.pod, asking.gives_group()).await
}

/// What a driver says of itself in the API.
async fn about(job: &Job<'_>, driver: &str) -> Result<CSIDriverSpec, Problem> {
    let about = heard(job.inner.objects.csi_driver(driver)).await;
    let about = about.ok_or_else(|| fault("failed to fetch CSIDriver", "timed out"))?;
    Ok(about.map(|about| about.spec.clone()).unwrap_or_default())
}

/// A driver that is asked for a volume, and all that goes into it.
struct Asking<'a> {
    job: &'a Job<'a>,
    wanted: &'a Wanted,
    paths: &'a Paths,
    driver: Arc<Driver>,
    about: CSIDriverSpec,
    attached: Attached,
}

impl<'a> Asking<'a> {
    async fn new(job: &'a Job<'a>, wanted: &'a Wanted, paths: &'a Paths) -> Result<Self, Problem> {
        let driver = job.inner.drivers.find(&wanted.driver).ok_or_else(|| unknown(&wanted.driver))?;
        let about = about(job, &wanted.driver).await?;
        let attached = match wanted.ephemeral || about.attach_required == Some(false) {
            true => Attached::default(),
            false => attached::wait(job, wanted).await?,
        };
        Ok(Self { job, wanted, paths, driver, about, attached })
    }

    /// Brings the volume to the node, if the driver does that apart.
    async fn stage(&self) -> Result<(), Problem> {
        let Self { job, wanted, .. } = self;
        if !wanted.is_staged(&self.driver) {
            return Ok(());
        }
        let path = self.paths.staging.clone();
        blocking(move || std::fs::create_dir_all(path))
            .await
            .map_err(|error| Problem::io("make", &self.paths.staging, &error))?;
        let request = NodeStageVolume {
            volume_id: wanted.handle.clone(),
            publish_context: self.attached.context.clone(),
            staging_target_path: self.paths.staging.display().to_string(),
            volume_capability: Some(told::capability(wanted, &self.driver, ownership::group(job.pod))),
            secrets: told::secrets(job.inner, wanted.stage_secret.as_ref()).await?,
            volume_context: wanted.context.clone(),
        };
        self.driver.plugin.stage(request).await.map_err(|why| fault("attacher.MountDevice failed", why))?;
        Ok(())
    }

    /// Brings the volume to the pod.
    async fn publish(&self) -> Result<(), Problem> {
        let Self { job, wanted, .. } = self;
        let mut request = NodePublishVolume {
            volume_id: wanted.handle.clone(),
            publish_context: self.attached.context.clone(),
            staging_target_path: wanted.staging(&self.driver, self.paths),
            target_path: self.paths.target.display().to_string(),
            volume_capability: Some(told::capability(wanted, &self.driver, ownership::group(job.pod))),
            readonly: wanted.read_only,
            secrets: told::secrets(job.inner, wanted.publish_secret.as_ref()).await?,
            volume_context: told::context(job, wanted, &self.about),
        };
        told::add_tokens(job, wanted, &self.about, &mut request).await?;
        self.driver.plugin.publish(request).await.map_err(|why| fault("mounter.SetUpAt failed", why))?;
        Ok(())
    }

    /// Whether the pod's group is to have the volume, and the driver does not see to it.
    fn gives_group(&self) -> bool {
        let wanted = self.wanted;
        if self.driver.takes_group() || wanted.read_only || wanted.block {
            return false;
        }
        match self.about.fs_group_policy.as_deref() {
            Some("None") => false,
            Some("File") => true,
            _ => !wanted.fs_type.is_empty() && matches!(wanted.mode, Mode::OneNode | Mode::OnePod),
        }
    }
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
