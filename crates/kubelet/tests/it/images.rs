//! Images made on the spot: a docker archive is a tar of a layer, a configuration and a manifest.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};

pub(crate) const PAUSE: &str = "localhost/pause:test";
pub(crate) const BUSYBOX: &str = "localhost/busybox:test";

/// A file or link in a layer.
enum Entry<'a> {
    File(&'a str, Vec<u8>, u32),
    Link(&'a str, &'a str),
    Directory(&'a str, u32),
}

fn layer(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        match entry {
            Entry::File(path, content, mode) => {
                header.set_size(content.len() as u64);
                header.set_mode(*mode);
                tar.append_data(&mut header, path, content.as_slice()).unwrap();
            }
            Entry::Link(path, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                header.set_mode(0o777);
                tar.append_link(&mut header, path, target).unwrap();
            }
            Entry::Directory(path, mode) => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_size(0);
                header.set_mode(*mode);
                tar.append_data(&mut header, path, std::io::empty()).unwrap();
            }
        }
    }
    tar.into_inner().unwrap()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn archive(path: &Path, name: &str, command: &[&str], layer: &[u8]) {
    let layer_digest = digest(layer);
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": command, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
    });
    let config = serde_json::to_vec(&config).unwrap();
    let config_name = format!("{}.json", digest(&config));
    let layer_name = format!("{layer_digest}.tar");
    let manifest = json!([{"Config": config_name, "RepoTags": [name], "Layers": [layer_name]}]);
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let mut tar = tar::Builder::new(std::fs::File::create(path).unwrap());
    for (name, content) in [
        (layer_name.as_str(), layer),
        (config_name.as_str(), config.as_slice()),
        ("manifest.json", manifest.as_slice()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content).unwrap();
    }
    tar.into_inner().unwrap().flush().unwrap();
}

/// Waits for signals and reaps; as process 1 it must handle SIGTERM itself to end by it.
const PAUSE_SOURCE: &str = r"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int signal) { (void)signal; _exit(0); }
static void reap(int signal) { (void)signal; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) {
  struct sigaction a = {0};
  a.sa_handler = end; sigaction(SIGTERM, &a, 0); sigaction(SIGINT, &a, 0);
  a.sa_handler = reap; sigaction(SIGCHLD, &a, 0);
  for (;;) pause();
}
";

/// The pause image's archive.
pub(crate) async fn pause(directory: &Path) -> PathBuf {
    let binary = directory.join("pause");
    let output = binary.to_string_lossy().into_owned();
    let args = ["-static", "-O2", "-s", "-x", "c", "-", "-o", &output];
    let patience = std::time::Duration::from_secs(60);
    skiff_base::command::run("gcc", args, PAUSE_SOURCE.as_bytes(), patience).await.unwrap();
    let program = std::fs::read(&binary).unwrap();
    let path = directory.join("pause.tar");
    archive(&path, PAUSE, &["/pause"], &layer(&[Entry::File("pause", program, 0o755)]));
    path
}

/// An image with a shell and the usual tools.
pub(crate) fn busybox(directory: &Path) -> PathBuf {
    let program = std::fs::read("/bin/busybox").unwrap();
    let mut entries = vec![
        Entry::Directory("bin", 0o755),
        Entry::File("bin/busybox", program, 0o755),
        Entry::Directory("tmp", 0o1777),
        Entry::Directory("etc", 0o755),
        Entry::File("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n".to_vec(), 0o644),
    ];
    let tools = [
        "sh", "sleep", "cat", "echo", "true", "false", "env", "ls", "id", "hostname", "kill", "touch", "test",
    ];
    let paths: Vec<String> = tools.iter().map(|tool| format!("bin/{tool}")).collect();
    entries.extend(paths.iter().map(|path| Entry::Link(path, "/bin/busybox")));
    let path = directory.join("busybox.tar");
    archive(&path, BUSYBOX, &[], &layer(&entries));
    path
}
