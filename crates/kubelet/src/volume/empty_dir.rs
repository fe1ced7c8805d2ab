//! emptyDir: a folder for the pod's lifetime, on the disk or in memory.

use std::path::Path;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Pod, Volume};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use rustix::fs::{CWD, Mode, chmodat, statfs};
use rustix::mount::{MountFlags, mount};

use super::kind::{Job, Kind, Place};
use super::{Problem, blocking};
use crate::pod::resources;

/// What `statfs` says of a tmpfs.
const TMPFS: i64 = 0x0102_1994;

pub(super) struct EmptyDirKind;
pub(super) const KIND: EmptyDirKind = EmptyDirKind;

impl Kind for EmptyDirKind {
    fn plugin(&self) -> &'static str {
        "kubernetes.io/empty-dir"
    }

    fn has(&self, volume: &Volume) -> bool {
        // A volume that names no source is one of these.
        volume.empty_dir.is_some() || *volume == Volume { name: volume.name.clone(), ..Volume::default() }
    }

    fn is_local(&self, volume: &Volume) -> bool {
        let medium = volume.empty_dir.as_ref().and_then(|source| source.medium.as_deref());
        medium.unwrap_or_default().is_empty()
    }

    fn place<'a>(&'a self, job: &'a Job<'a>) -> BoxFuture<'a, Result<Place, Problem>> {
        Box::pin(async move {
            let source = job.volume.empty_dir.clone().unwrap_or_default();
            let size = match source.medium.as_deref().unwrap_or_default() {
                "" => None,
                "Memory" => Some(size(job.pod, source.size_limit.as_ref().map(bytes))),
                other => return Err(Problem::new(format!("unknown storage medium {other:?}"))),
            };
            let dir = job.dir.to_owned();
            blocking(move || make(&dir, size)).await.map_err(|error| Problem::io("make", job.dir, &error))?;
            Ok(Place::Folder)
        })
    }
}

/// A quantity in whole bytes; the API server has checked that it is one.
fn bytes(quantity: &Quantity) -> i64 {
    skiff_api::quantity::Quantity::parse(&quantity.0).map_or(0, skiff_api::quantity::Quantity::value)
}

/// The size of a volume in memory: its limit, but not more than the pod may use at all.
fn size(pod: &Pod, limit: Option<i64>) -> Option<i64> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let of_pod: Option<i64> =
        containers.map(|one| resources::limit(one, "memory").map(|milli| milli / 1000)).sum();
    [limit, of_pod].into_iter().flatten().filter(|size| *size > 0).min()
}

fn make(dir: &Path, memory: Option<Option<i64>>) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    if let Some(size) = memory
        && !is_tmpfs_mount(dir)?
    {
        let data = match size {
            Some(size) => format!("size={size},mode=0777"),
            None => "mode=0777".to_owned(),
        };
        let data = std::ffi::CString::new(data).map_err(std::io::Error::other)?;
        mount("tmpfs", dir, "tmpfs", MountFlags::NODEV | MountFlags::NOSUID, Some(data.as_c_str()))?;
    }
    // Any user of the pod may write, as upstream; the umask must not take that away. A group set later stays.
    let mode = rustix::fs::stat(dir)?.st_mode;
    if mode & 0o777 != 0o777 {
        chmodat(CWD, dir, Mode::from_raw_mode(mode & 0o7000 | 0o777), rustix::fs::AtFlags::empty())?;
    }
    Ok(())
}

fn is_tmpfs_mount(dir: &Path) -> std::io::Result<bool> {
    let above = dir.parent().unwrap_or(dir);
    let mounted = rustix::fs::stat(dir)?.st_dev != rustix::fs::stat(above)?.st_dev;
    #[expect(clippy::allow_attributes, reason = "the width of f_type differs between machines")]
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    Ok(mounted && i64::from(statfs(dir)?.f_type) == TMPFS)
}
