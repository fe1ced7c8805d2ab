//! Static pods: manifests in a folder or at a URL, which run without an API server.
//!
//! A manifest is a v1 Pod, a list of them, or a ContainerManifest of 2014. Reading and finishing (name, uid, annotations, defaults)
//! are pure and live in `manifest` and `defaults`. A file that cannot be read is skipped with a log line, and keeps its last
//! good pods while it exists: half a write must not stop a control plane. Folders are watched by inotify; a URL
//! has no signal to offer and is asked every 20 seconds, with its ETag.

mod defaults;
mod fetch;
mod manifest;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use http::Uri;
use k8s_openapi::api::core::v1::Pod;
use skiff_base::Clock;

use crate::watch::FolderWatch;
use manifest::{Origin, pods};

pub use fetch::FetchError;

/// Why a whole set could not be read. The set before stays in force.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The folder cannot be listed or watched.
    #[error("read manifests in {}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The URL cannot be fetched.
    #[error("fetch manifests from {url}: {source}")]
    Fetch {
        /// Which.
        url: String,
        /// Why.
        source: FetchError,
    },
    /// What the URL answers is no manifest.
    #[error("manifests from {url}: {why}")]
    Content {
        /// Which.
        url: String,
        /// Why.
        why: String,
    },
}

/// How long a URL is left alone.
const ASK_AGAIN: Duration = Duration::from_secs(20);
/// A write is over when nothing has changed for so long.
const SETTLED: Duration = Duration::from_millis(50);
/// A folder that changes all the time is read nevertheless.
const SETTLED_AT_LAST: Duration = Duration::from_secs(1);

/// Where finished pods belong.
#[derive(Clone)]
struct Node {
    name: String,
    clock: Clock,
}

/// The pods of a folder's files (or of one file): all at first, and all again after each change.
#[must_use]
pub fn directory(path: PathBuf, node_name: &str) -> BoxStream<'static, Result<Vec<Pod>, FilesError>> {
    let node = Node { name: node_name.to_owned(), clock: Clock::system() };
    let state = Folder { path, node, watch: None, good: BTreeMap::new() };
    stream::unfold(state, |mut folder| async move {
        let set = folder.next().await;
        Some((set, folder))
    })
    .boxed()
}

/// The pods of a URL: all at first, and all again when its content changes.
#[must_use]
pub fn url(url: Uri, node_name: &str) -> BoxStream<'static, Result<Vec<Pod>, FilesError>> {
    let node = Node { name: node_name.to_owned(), clock: Clock::system() };
    let state = (fetch::Fetch::new(url), node, true);
    stream::unfold(state, |(mut fetch, node, first)| async move {
        let mut wait = !first;
        loop {
            if wait {
                tokio::time::sleep(ASK_AGAIN).await;
            }
            wait = true;
            let named = fetch.url();
            let set = match fetch.again().await {
                // Still the same.
                Ok(None) => continue,
                Ok(Some(text)) => pods(&text, &Origin::Url(named.clone()), &node.name, &node.clock)
                    .map_err(|why| FilesError::Content { url: named, why }),
                Err(source) => Err(FilesError::Fetch { url: named, source }),
            };
            return Some((set, (fetch, node, false)));
        }
    })
    .boxed()
}

struct Folder {
    path: PathBuf,
    node: Node,
    watch: Option<FolderWatch>,
    /// The last good pods of each file.
    good: BTreeMap<OsString, Vec<Pod>>,
}

impl Folder {
    async fn next(&mut self) -> Result<Vec<Pod>, FilesError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FilesError::Folder { path, source }
        };
        loop {
            match &mut self.watch {
                Some(watch) => settled(watch).await.map_err(failed(&self.path))?,
                None => {
                    let (folder, _) = self.place();
                    // The watch comes before the first look, so that nothing is missed in between.
                    match FolderWatch::new(&folder) {
                        Ok(watch) => self.watch = Some(watch),
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {
                            appearance(&folder).await.map_err(failed(&self.path))?;
                            continue;
                        }
                        Err(source) => {
                            // Not ours to mend; the next look may find it mended.
                            tokio::time::sleep(ASK_AGAIN).await;
                            return Err(FilesError::Folder { path: self.path.clone(), source });
                        }
                    }
                }
            }
            if !self.place().0.is_dir() {
                // The folder itself went away, and with it the watch.
                self.watch = None;
            }
            return self.read().await.map_err(failed(&self.path));
        }
    }

    /// The folder to look into, and the one file of it if that is all that was asked for.
    fn place(&self) -> (PathBuf, Option<OsString>) {
        if self.path.is_file() {
            let above = self.path.parent().unwrap_or(Path::new("/")).to_owned();
            (above, self.path.file_name().map(OsString::from))
        } else {
            (self.path.clone(), None)
        }
    }

    async fn read(&mut self) -> io::Result<Vec<Pod>> {
        let (folder, only) = self.place();
        let names =
            match tokio::task::spawn_blocking(move || list(&folder, only)).await.map_err(io::Error::other)? {
                Ok(names) => names,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(error),
            };
        self.good.retain(|name, _| names.iter().any(|(known, _)| known == name));
        for (name, path) in names {
            let outcome = match tokio::fs::read(&path).await {
                Ok(text) => {
                    let origin = Origin::File(path.display().to_string());
                    pods(&text, &origin, &self.node.name, &self.node.clock)
                }
                Err(error) => Err(error.to_string()),
            };
            match outcome {
                Ok(pods) => {
                    self.good.insert(name, pods);
                }
                Err(why) => tracing::error!(path = %path.display(), why, "manifest skipped"),
            }
        }
        Ok(self.good.values().flatten().cloned().collect())
    }
}

/// The manifests in a folder, by name. Hidden files and folders are none.
fn list(folder: &Path, only: Option<OsString>) -> io::Result<Vec<(OsString, PathBuf)>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let wanted = only.as_ref().is_none_or(|only| *only == name);
        if wanted && !name.as_encoded_bytes().starts_with(b".") && entry.path().is_file() {
            names.push((name, entry.path()));
        }
    }
    names.sort();
    Ok(names)
}

/// Waits for a change, and then until no more follow.
async fn settled(watch: &mut FolderWatch) -> io::Result<()> {
    watch.changes().await?;
    let quiet = async {
        while let Ok(more) = tokio::time::timeout(SETTLED, watch.changes()).await {
            more?;
        }
        Ok(())
    };
    tokio::time::timeout(SETTLED_AT_LAST, quiet).map(|outcome| outcome.unwrap_or(Ok(()))).await
}

/// Waits until a path that does not exist does, by watching what of it exists.
async fn appearance(path: &Path) -> io::Result<()> {
    loop {
        let above = path.ancestors().skip(1).find(|above| above.is_dir()).unwrap_or(Path::new("/"));
        let mut watch = FolderWatch::new(above)?;
        if path.exists() || path.ancestors().skip(1).find(|above| above.is_dir()) != Some(above) {
            if path.exists() {
                return Ok(());
            }
            continue;
        }
        watch.changes().await?;
    }
}
