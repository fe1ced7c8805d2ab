//! Images from an archive, and their files as a folder, through containerd's own `ctr`: CRI of this age has no calls for it.
//!
//! The names are read from the archive itself, not from `ctr`'s output, whose words change with its version.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::runtime::{Result, RuntimeError};

/// Unpacking a large image on a busy disk takes its time.
const PATIENCE: Duration = Duration::from_secs(600);

pub(super) async fn import(socket: &Path, archive: &Path) -> Result<Vec<String>> {
    let path = archive.to_owned();
    let names = tokio::task::spawn_blocking(move || names(&path))
        .await
        .map_err(|error| failed(format!("read {}: {error}", archive.display())))?
        .map_err(|error| failed(format!("read {}: {error}", archive.display())))?;
    let archive = archive.to_string_lossy();
    images(socket, &["import", &archive]).await.map_err(|why| failed(format!("import {archive}: {why}")))?;
    Ok(names)
}

/// The layers stay as long as the image does; what containerd notes of the mount it forgets by itself after a day.
pub(super) async fn mount(socket: &Path, image: &str, target: &Path) -> Result<()> {
    let target = target.to_string_lossy();
    images(socket, &["mount", image, &target]).await.map_err(|why| failed(format!("mount {image}: {why}")))
}

async fn images(socket: &Path, args: &[&str]) -> std::result::Result<(), String> {
    let socket = socket.to_string_lossy();
    let all: Vec<&str> = ["--address", &socket, "--namespace", "k8s.io", "images"]
        .into_iter()
        .chain(args.iter().copied())
        .collect();
    skiff_base::command::run("ctr", all, &[], PATIENCE).await.map(drop).map_err(|error| error.to_string())
}

fn failed(message: String) -> RuntimeError {
    RuntimeError::Failed { code: "Unknown", message }
}

/// One entry of a docker archive's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
}

/// The part of an OCI layout's `index.json` that names images.
#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Described>,
}

#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

/// The images' names, from a docker archive or an OCI layout in a tar.
fn names(archive: &Path) -> std::io::Result<Vec<String>> {
    let file = std::fs::File::open(archive)?;
    let mut found = Vec::new();
    for entry in tar::Archive::new(file).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        let mut text = String::new();
        match path.as_str() {
            "manifest.json" => {
                entry.read_to_string(&mut text)?;
                let saved: Vec<Saved> = serde_json::from_str(&text)?;
                found.extend(saved.into_iter().filter_map(|image| image.repo_tags).flatten());
            }
            "index.json" => {
                entry.read_to_string(&mut text)?;
                let index: Index = serde_json::from_str(&text)?;
                for described in index.manifests.into_iter().filter_map(|manifest| manifest.annotations) {
                    let name = described
                        .get("io.containerd.image.name")
                        .or_else(|| described.get("org.opencontainers.image.ref.name"));
                    found.extend(name.cloned());
                }
            }
            _ => {}
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}
