//! A pod's volumes: made before its containers, kept fresh while it runs, removed after it.
//!
//! Each kind of volume is one file under `volume/` and one row of [`KINDS`]; a kind only says what its volume is
//! ([`Place`]), and the few things that touch the machine (atomic writer, ownership, bind mounts, removal) are shared.
//! Everything here can be called again at any time and after a restart of Skiff: what is already so stays untouched.
//! Nothing follows a link that a container could have planted.

mod atomic;
mod bind;
mod claim;
mod config_map;
mod csi;
mod downward;
mod empty_dir;
mod follow;
mod host_path;
mod image;
mod kind;
pub(crate) mod local_path;
mod mounts;
mod nfs;
mod objects;
mod ownership;
mod payload;
mod projected;
mod remove;
mod secret;
mod subpath;
#[cfg(test)]
mod tests;
mod token;
mod unsupported;
mod usage;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::{Container, Pod, Volume};
use skiff_base::Clock;

pub use follow::Follow;
pub use image::{ImageFiles, NoImages};
pub use objects::{LinkObjects, NoObjects, Objects, Seen};
pub use token::{Token, TokenError};

pub(crate) use usage::Usage;

use crate::csi::Drivers;
use crate::record::Record;
use crate::runtime::{Device, Mount};
use kind::{Job, Kind, Place};
use usage::Teller;

/// All kinds; the first that claims a volume has it.
static KINDS: &[&dyn Kind] = &[
    &empty_dir::KIND,
    &host_path::KIND,
    &config_map::KIND,
    &secret::KIND,
    &downward::KIND,
    &projected::KIND,
    &claim::KIND,
    &image::KIND,
    &csi::KIND,
    &nfs::KIND,
    &unsupported::KIND,
];

/// What volumes are made from.
pub struct Options {
    /// The kubelet's folder; volumes are under `pods/<uid>/volumes` in it.
    pub data_dir: PathBuf,
    /// Where ConfigMaps, Secrets and tokens come from.
    pub objects: Arc<dyn Objects>,
    /// Where it is said what became of volumes.
    pub record: Arc<dyn Record>,
    /// Where images come from.
    pub images: Arc<dyn ImageFiles>,
    /// The time, for the life of tokens.
    pub clock: Clock,
    /// What the node has, for `resourceFieldRef` of a container without a limit: thousandths of a core, and bytes.
    pub allocatable: (i64, i64),
    /// Drivers of others' volumes.
    pub drivers: Drivers,
}

/// Why a volume cannot be made or shown; the text is the event's message.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// One volume cannot be made.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {problem}")]
    SetUp {
        /// Its name in the pod.
        volume: String,
        /// Why.
        problem: Problem,
    },
    /// A container mounts what the pod does not have.
    #[error("cannot find volume {volume:?} to mount into container {container:?}")]
    Unknown {
        /// The name that was given.
        volume: String,
        /// By whom.
        container: String,
    },
    /// A part of a volume cannot be shown.
    #[error("failed to prepare subPath for volumeMount {volume:?} of container {container:?}: {problem}")]
    SubPath {
        /// The volume.
        volume: String,
        /// The container.
        container: String,
        /// Why.
        problem: Problem,
    },
    /// What is left of a pod's volumes cannot be removed.
    #[error("orphaned pod {uid:?} found, but failed to remove its volumes: {source}")]
    Remove {
        /// The pod.
        uid: String,
        /// Why.
        source: std::io::Error,
    },
    /// The pod has no uid, so it has no folder.
    #[error("pod has no uid")]
    NoUid,
}

/// What is wrong with one volume, in upstream's words where it has some.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Problem(String);

impl Problem {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    fn io(what: &str, path: &Path, error: &std::io::Error) -> Self {
        Self(format!("{what} {}: {error}", path.display()))
    }
}

/// A pod's volumes, made.
#[derive(Clone, Default)]
pub struct Mounts {
    made: BTreeMap<String, Made>,
}

impl Mounts {
    /// How much of a volume is used, if anybody tells.
    pub(crate) async fn usage(&self, volume: &str) -> Option<Usage> {
        let made = self.made.get(volume)?;
        made.teller.usage(&made.path).await
    }
}

impl fmt::Debug for Mounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.made.keys()).finish()
    }
}

#[derive(Clone)]
struct Made {
    path: PathBuf,
    /// Written by us, or asked for so: for containers only to read.
    read_only: bool,
    /// A device, which containers get as one instead of a mount.
    device: bool,
    teller: Teller,
}

impl Made {
    fn at(path: PathBuf, read_only: bool) -> Self {
        Self { path, read_only, device: false, teller: Teller::Nobody }
    }
}

/// Makes, follows and removes volumes; cheap to clone.
#[derive(Clone)]
pub struct Volumes {
    inner: Arc<Inner>,
}

struct Inner {
    data_dir: PathBuf,
    objects: Arc<dyn Objects>,
    record: Arc<dyn Record>,
    images: Arc<dyn ImageFiles>,
    clock: Clock,
    allocatable: (i64, i64),
    drivers: Drivers,
    tokens: token::Tokens,
    /// Volumes that one pod may have at a time, and which pod has them.
    alone: Mutex<HashMap<String, String>>,
}

impl Volumes {
    /// Touches nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let Options { data_dir, objects, record, images, clock, allocatable, drivers } = options;
        Self {
            inner: Arc::new(Inner {
                data_dir,
                objects,
                record,
                images,
                clock,
                allocatable,
                drivers,
                tokens: token::Tokens::default(),
                alone: Mutex::default(),
            }),
        }
    }

    /// Makes all volumes of a pod, or brings them up to date.
    ///
    /// # Errors
    /// The first volume that cannot be made.
    pub async fn mount_all(&self, pod: &Arc<Pod>) -> Result<Mounts, VolumeError> {
        let uid = pod.metadata.uid.as_deref().filter(|uid| is_name(uid)).ok_or(VolumeError::NoUid)?;
        let mut made = BTreeMap::new();
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            let one = self
                .make(pod, uid, volume)
                .await
                .map_err(|problem| VolumeError::SetUp { volume: volume.name.clone(), problem })?;
            made.insert(volume.name.clone(), one);
        }
        Ok(Mounts { made })
    }

    async fn make(&self, pod: &Arc<Pod>, uid: &str, volume: &Volume) -> Result<Made, Problem> {
        let kind = kind::of(volume).ok_or_else(|| Problem::new("no volume plugin matched"))?;
        if !is_name(&volume.name) {
            return Err(Problem::new("the volume's name is not a file name"));
        }
        let dir = self.inner.volume_dir(uid, kind.plugin(), &volume.name);
        let job = Job { pod, volume, dir: &dir, inner: &self.inner };
        match kind.place(&job).await? {
            Place::Host(path) => Ok(Made::at(path, false)),
            Place::Kept { path, read_only, own_group, device, teller } => {
                own(&path, pod, own_group).await?;
                Ok(Made { path, read_only, device, teller })
            }
            Place::Folder => {
                let (dir, group) = (dir.clone(), ownership::group(pod));
                blocking(move || match group {
                    Some(group) => ownership::give(&dir, group, false),
                    None => Ok(()),
                })
                .await
                .map_err(|error| Problem::new(format!("applyFSGroup failed for vol: {error}")))?;
                Ok(Made::at(job.dir.to_owned(), false))
            }
            Place::Files(payload) => {
                let (target, group) = (dir.clone(), ownership::group(pod));
                blocking(move || atomic::write(&target, &payload, group))
                    .await
                    .map_err(|error| Problem::io("write", &dir, &error))?;
                Ok(Made::at(dir, true))
            }
        }
    }

    /// The folder of a volume that is on the node's disk and goes with its pod, if it is one.
    pub(crate) fn local_folder(&self, pod_uid: &str, volume: &Volume) -> Option<PathBuf> {
        let kind = kind::of(volume).filter(|kind| kind.is_local(volume))?;
        let named = is_name(pod_uid) && is_name(&volume.name);
        named.then(|| self.inner.volume_dir(pod_uid, kind.plugin(), &volume.name))
    }

    /// What to show a container of the pod's volumes. `env` is its finished environment, for `subPathExpr`.
    ///
    /// # Errors
    /// A mount of an unknown volume, or a `subPath` that leads out of its volume.
    pub fn container_mounts(
        &self,
        pod: &Pod,
        container: &Container,
        env: &[(String, String)],
        mounts: &Mounts,
    ) -> Result<Vec<Mount>, VolumeError> {
        mounts::of(&self.inner, pod, container, env, mounts)
    }

    /// The block volumes that a container gets as devices.
    ///
    /// # Errors
    /// A device of an unknown volume, or of one that is a file system.
    pub fn container_devices(
        &self,
        container: &Container,
        mounts: &Mounts,
    ) -> Result<Vec<Device>, VolumeError> {
        mounts::devices(container, mounts)
    }

    /// Unmounts and removes all volumes of a pod, also of one from before a restart. Files of the machine that the pod saw stay.
    ///
    /// # Errors
    /// If something cannot be unmounted or removed; call again.
    pub async fn unmount_all(&self, pod_uid: &str) -> Result<(), VolumeError> {
        if !is_name(pod_uid) {
            return Err(VolumeError::NoUid);
        }
        let dir = self.inner.pod_dir(pod_uid);
        self.inner.tokens.forget(pod_uid);
        self.inner.alone.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, user| user != pod_uid);
        let failed = |source| VolumeError::Remove { uid: pod_uid.to_owned(), source };
        csi::take_back(&self.inner, &dir).await.map_err(failed)?;
        blocking(move || remove::pod(&dir)).await.map_err(failed)
    }

    /// Keeps what comes from ConfigMaps, Secrets and tokens fresh until the answer is dropped.
    #[must_use]
    pub fn follow(&self, pod: Arc<Pod>, mounts: &Mounts) -> Follow {
        follow::start(self.clone(), pod, mounts)
    }
}

impl Inner {
    /// Takes a volume for one pod alone; false if another has it.
    fn has_alone(&self, volume: &str, pod: &Pod) -> bool {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        alone.entry(volume.to_owned()).or_insert_with(|| uid.to_owned()) == uid
    }

    fn pod_dir(&self, uid: &str) -> PathBuf {
        self.data_dir.join("pods").join(uid)
    }

    fn volume_dir(&self, uid: &str, plugin: &str, volume: &str) -> PathBuf {
        self.pod_dir(uid).join("volumes").join(plugin.replace('/', "~")).join(volume)
    }

    fn subpath_dir(&self, uid: &str) -> PathBuf {
        self.pod_dir(uid).join("volume-subpaths")
    }
}

/// Gives what is at a path to the pod's group, if it has one and is to have it.
async fn own(path: &Path, pod: &Arc<Pod>, wanted: bool) -> Result<(), Problem> {
    let Some(group) = ownership::group(pod).filter(|_| wanted) else { return Ok(()) };
    let (folder, pod) = (path.to_owned(), Arc::clone(pod));
    let give = move || match ownership::is_settled(&folder, &pod, group)? {
        true => Ok(()),
        false => ownership::give_behind(&folder, group),
    };
    let given = blocking(give).await;
    given.map_err(|error| Problem::new(format!("applyFSGroup failed for vol: {error}")))
}

/// Whether a text is one plain path component: uids and names come from objects and become paths.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text != "." && text != ".." && !text.contains(['/', '\0'])
}

/// Runs what waits for the disk where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
