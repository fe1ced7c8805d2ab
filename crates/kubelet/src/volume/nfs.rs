//! nfs: a folder of another machine, in the pod itself or behind its claim, mounted by the system's `mount`.
//!
//! Follows upstream's `pkg/volume/nfs`: what mounts file systems of the network is the system's own helper (`mount.nfs` of the
//! package nfs-common), and where that is missing `mount` says so, which is then the event's message.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{NFSVolumeSource, Volume};
use skiff_base::command::{self, CommandError};

use super::kind::{Job, Kind, Place};
use super::usage::Teller;
use super::{Problem, blocking, remove};

pub(super) struct NfsKind;
pub(super) const KIND: NfsKind = NfsKind;

const PLUGIN: &str = "kubernetes.io/nfs";
/// Servers that are not there are waited for by the helper itself, for two minutes by default.
const PATIENCE: Duration = Duration::from_secs(180);

impl Kind for NfsKind {
    fn plugin(&self) -> &'static str {
        PLUGIN
    }

    fn has(&self, volume: &Volume) -> bool {
        volume.nfs.is_some()
    }

    fn place<'a>(&'a self, job: &'a Job<'a>) -> BoxFuture<'a, Result<Place, Problem>> {
        Box::pin(async move {
            let source = job.volume.nfs.clone().unwrap_or_default();
            give(&source, &[], source.read_only.unwrap_or(false), job.dir.to_owned()).await
        })
    }
}

/// The volume behind a claim.
pub(super) async fn persistent(
    job: &Job<'_>,
    name: &str,
    source: &NFSVolumeSource,
    options: &[String],
    read_only: bool,
) -> Result<Place, Problem> {
    if !super::is_name(name) {
        return Err(Problem::new("the volume's name is not a file name"));
    }
    let uid = job.pod.metadata.uid.as_deref().unwrap_or_default();
    let read_only = read_only || source.read_only.unwrap_or(false);
    give(source, options, read_only, job.inner.volume_dir(uid, PLUGIN, name)).await
}

async fn give(
    source: &NFSVolumeSource,
    options: &[String],
    read_only: bool,
    dir: PathBuf,
) -> Result<Place, Problem> {
    let there = dir.clone();
    let mounted = blocking(move || prepare(&there)).await;
    if !mounted.map_err(|error| Problem::io("make", &dir, &error))? {
        let arguments = arguments(source, options, read_only, &dir);
        let ran = command::run("mount", &arguments, &[], PATIENCE).await;
        ran.map_err(|error| Problem::new(words(&error, &arguments)))?;
    }
    // Whom the files belong to is the server's business.
    Ok(Place::Kept { path: dir, read_only, own_group: false, device: false, teller: Teller::Nobody })
}

/// Makes the folder; whether the volume is there already. The volume itself is not touched: its server may be away, or may not
/// let us look.
fn prepare(dir: &Path) -> io::Result<bool> {
    let Some((above, name)) = dir.parent().zip(dir.file_name()) else { return Ok(false) };
    std::fs::create_dir_all(above)?;
    let place = above.canonicalize()?.join(name);
    if remove::is_mount_point(&place)? {
        return Ok(true);
    }
    std::fs::create_dir_all(dir)?;
    Ok(false)
}

/// What `mount` is told.
fn arguments(source: &NFSVolumeSource, options: &[String], read_only: bool, dir: &Path) -> Vec<String> {
    // An address with colons would end at the first.
    let server = match source.server.contains(':') && !source.server.starts_with('[') {
        true => format!("[{}]", source.server),
        false => source.server.clone(),
    };
    let mut all: Vec<&str> = Vec::new();
    for option in options.iter().map(String::as_str).chain(read_only.then_some("ro")) {
        if !all.contains(&option) {
            all.push(option);
        }
    }
    let mut arguments = vec!["-t".to_owned(), "nfs".to_owned()];
    if !all.is_empty() {
        arguments.extend(["-o".to_owned(), all.join(",")]);
    }
    // Whoever makes a pod names the server: it must not pass for an option.
    arguments.extend(["--".to_owned(), format!("{server}:{}", source.path), dir.display().to_string()]);
    arguments
}

/// As upstream's `mount-utils` tells it.
fn words(error: &CommandError, arguments: &[String]) -> String {
    let (what, output) = match error {
        CommandError::Failed { status, stderr, .. } => (
            status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}")),
            &**stderr,
        ),
        CommandError::Start { source, .. } => (source.to_string(), ""),
        late @ CommandError::Late { .. } => (late.to_string(), ""),
    };
    let arguments = arguments.join(" ");
    format!(
        "mount failed: {what}\nMounting command: mount\nMounting arguments: {arguments}\nOutput: {output}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_is_told_the_server_the_folder_and_each_option_once() {
        let source = |server: &str| NFSVolumeSource {
            server: server.to_owned(),
            path: "/srv".to_owned(),
            read_only: None,
        };
        let told = |server, options: &[&str], read_only| {
            let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
            arguments(&source(server), &options, read_only, Path::new("/d")).join(" ")
        };
        assert_eq!(told("files", &[], false), "-t nfs -- files:/srv /d");
        assert_eq!(told("10.0.0.1", &["vers=4.1", "ro"], true), "-t nfs -o vers=4.1,ro -- 10.0.0.1:/srv /d");
        assert_eq!(told("fd00::1", &[], true), "-t nfs -o ro -- [fd00::1]:/srv /d");
        assert_eq!(told("-T/tmp/fstab", &[], false), "-t nfs -- -T/tmp/fstab:/srv /d");
    }

    #[tokio::test]
    async fn what_mount_says_is_what_the_pod_hears() {
        let failed = command::run("sh", ["-c", "echo no helper >&2; exit 32"], &[], PATIENCE).await;
        let told = words(&failed.unwrap_err(), &["-t".to_owned(), "nfs".to_owned()]);
        let expected = "mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t nfs\nOutput: no helper\n";
        assert_eq!(told, expected);
    }
}
