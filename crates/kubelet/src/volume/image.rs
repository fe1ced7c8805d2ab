//! image: the files of an image, which containers may only read.
//!
//! The image is brought in like a container's, by a policy of its own; then the runtime shows its files at the volume's
//! folder, from where they go with the volume.

use std::path::Path;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ImageVolumeSource, Pod, Volume};

use super::kind::{Job, Kind, Place};
use super::usage::Teller;
use super::{Problem, blocking, remove};

/// Brings images in and shows their files.
pub trait ImageFiles: Send + Sync + 'static {
    /// Shows an image's files at a folder; the text says why not.
    fn show<'a>(
        &'a self,
        pod: &'a Pod,
        volume: &'a str,
        source: &'a ImageVolumeSource,
        target: &'a Path,
    ) -> BoxFuture<'a, Result<(), String>>;
}

/// Where there are no images.
pub struct NoImages;

impl ImageFiles for NoImages {
    fn show<'a>(
        &'a self,
        _: &'a Pod,
        _: &'a str,
        _: &'a ImageVolumeSource,
        _: &'a Path,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Err("this node has no images".to_owned()) })
    }
}

pub(super) struct ImageKind;
pub(super) const KIND: ImageKind = ImageKind;

impl Kind for ImageKind {
    fn plugin(&self) -> &'static str {
        "kubernetes.io/image"
    }

    fn has(&self, volume: &Volume) -> bool {
        volume.image.is_some()
    }

    fn place<'a>(&'a self, job: &'a Job<'a>) -> BoxFuture<'a, Result<Place, Problem>> {
        Box::pin(async move {
            let source = job.volume.image.clone().unwrap_or_default();
            let dir = job.dir.to_owned();
            let shown = blocking(move || prepare(&dir))
                .await
                .map_err(|error| Problem::io("make", job.dir, &error))?;
            if !shown {
                let images = &job.inner.images;
                images.show(job.pod, &job.volume.name, &source, job.dir).await.map_err(Problem::new)?;
            }
            Ok(Place::Kept {
                path: job.dir.to_owned(),
                read_only: true,
                own_group: false,
                device: false,
                teller: Teller::Nobody,
            })
        })
    }
}

/// Makes the folder; whether the files are there already.
fn prepare(dir: &Path) -> std::io::Result<bool> {
    std::fs::create_dir_all(dir)?;
    remove::is_mounted(dir)
}
