//! hostPath: a path of the machine as it is. Its type is checked, and made where the type asks for it; it is never removed.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{HostPathVolumeSource, Volume};

use super::kind::{Job, Kind, Place};
use super::{Problem, blocking};

pub(super) struct HostPathKind;
pub(super) const KIND: HostPathKind = HostPathKind;

impl Kind for HostPathKind {
    fn plugin(&self) -> &'static str {
        "kubernetes.io/host-path"
    }

    fn has(&self, volume: &Volume) -> bool {
        volume.host_path.is_some()
    }

    fn place<'a>(&'a self, job: &'a Job<'a>) -> BoxFuture<'a, Result<Place, Problem>> {
        Box::pin(async move {
            let source = job.volume.host_path.clone().unwrap_or_default();
            find(&source).await.map(Place::Host)
        })
    }
}

/// The path that a pod's volume, or a persistent one, names; checked, and made where it asks for that.
pub(super) async fn find(source: &HostPathVolumeSource) -> Result<PathBuf, Problem> {
    let path = PathBuf::from(&source.path);
    if !path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(Problem::new(format!("hostPath {:?} is not an absolute path without '..'", source.path)));
    }
    let (place, wanted) = (path.clone(), source.type_.clone().unwrap_or_default());
    blocking(move || Ok(check(&place, &wanted))).await.map_err(|error| Problem::new(error.to_string()))??;
    Ok(path)
}

fn check(path: &Path, wanted: &str) -> Result<(), Problem> {
    let shown = path.display();
    let seen = match fs::metadata(path) {
        Ok(meta) => Some(meta.file_type()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Problem::io("stat", path, &error)),
    };
    let must_be = |so: bool, what: &str| {
        if so {
            Ok(())
        } else {
            Err(Problem::new(format!("hostPath type check failed: {shown} is not {what}")))
        }
    };
    match wanted {
        "" => Ok(()),
        "DirectoryOrCreate" if seen.is_none() => fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(|error| Problem::io("mkdir", path, &error)),
        "FileOrCreate" if seen.is_none() => fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(path)
            .map(drop)
            .map_err(|error| Problem::io("open", path, &error)),
        "DirectoryOrCreate" | "Directory" => must_be(seen.is_some_and(|seen| seen.is_dir()), "a directory"),
        "FileOrCreate" | "File" => must_be(seen.is_some_and(|seen| !seen.is_dir()), "a file"),
        "Socket" => must_be(seen.is_some_and(|seen| seen.is_socket()), "a socket file"),
        "CharDevice" => must_be(seen.is_some_and(|seen| seen.is_char_device()), "a character device"),
        "BlockDevice" => must_be(seen.is_some_and(|seen| seen.is_block_device()), "a block device"),
        other => Err(Problem::new(format!("{other} is an invalid volume type"))),
    }
}
