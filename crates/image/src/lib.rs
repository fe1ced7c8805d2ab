//! Image archives from plain files, without registry, root or daemon.
//!
//! An archive is a tar of one layer, one configuration and one `manifest.json`: what `docker save` writes and every
//! runtime imports. The same files give the same bytes, so the same image id.

use std::io::{self, Write};

use serde_json::json;
use sha2::{Digest, Sha256};

pub mod pause;

/// How the image runs.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Names the image goes by, each with a tag.
    pub names: Vec<String>,
    /// The program; what a container's `command` replaces.
    pub entrypoint: Vec<String>,
    /// Its arguments; what a container's `args` replace.
    pub cmd: Vec<String>,
    /// Environment, `NAME=value`.
    pub env: Vec<String>,
    /// Working directory; empty for `/`.
    pub working_dir: String,
    /// Ports the image declares, such as `6379/tcp`.
    pub ports: Vec<String>,
}

/// The one layer of an image, file by file.
pub struct Layer {
    tar: tar::Builder<Vec<u8>>,
}

impl Default for Layer {
    fn default() -> Self {
        Self { tar: tar::Builder::new(Vec::new()) }
    }
}

impl Layer {
    /// A layer without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a folder; `path` is relative to the image's root, `mode` such as 0o755.
    ///
    /// # Errors
    /// If the path is too long for a tar.
    pub fn folder(&mut self, path: &str, mode: u32) -> io::Result<()> {
        let mut header = header(mode, 0, tar::EntryType::Directory);
        self.tar.append_data(&mut header, format!("{}/", path.trim_matches('/')), io::empty())
    }

    /// Adds a file.
    ///
    /// # Errors
    /// If the path is too long for a tar.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let mut header = header(mode, content.len() as u64, tar::EntryType::Regular);
        self.tar.append_data(&mut header, path.trim_start_matches('/'), content)
    }

    /// Adds a symbolic link at `path` that points to `target`.
    ///
    /// # Errors
    /// If a path is too long for a tar.
    pub fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        let mut header = header(0o777, 0, tar::EntryType::Symlink);
        self.tar.append_link(&mut header, path.trim_start_matches('/'), target)
    }

    /// The archive of an image with this layer and `config`, written to `out`.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write(self, config: &Config, out: impl Write) -> io::Result<()> {
        let layer = self.tar.into_inner()?;
        let layer_id = hex(&layer);
        let ports: serde_json::Map<_, _> =
            config.ports.iter().map(|port| (port.clone(), json!({}))).collect();
        let description = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": config.entrypoint,
                "Cmd": config.cmd,
                "Env": config.env,
                "WorkingDir": config.working_dir,
                "ExposedPorts": ports,
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_id}")]},
        })
        .to_string();
        let description_name = format!("{}.json", hex(description.as_bytes()));
        let layer_name = format!("{layer_id}.tar");
        let manifest =
            json!([{"Config": description_name, "RepoTags": config.names, "Layers": [layer_name]}])
                .to_string();
        let mut archive = tar::Builder::new(out);
        for (name, content) in [
            (&*layer_name, &*layer),
            (&description_name, description.as_bytes()),
            ("manifest.json", manifest.as_bytes()),
        ] {
            let mut header = header(0o644, content.len() as u64, tar::EntryType::Regular);
            archive.append_data(&mut header, name, content)?;
        }
        archive.into_inner()?.flush()
    }
}

fn header(mode: u32, size: u64, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// The processor architecture as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut layer = Layer::new();
        layer.folder("tmp", 0o1777).unwrap();
        layer.file("/bin/hello", 0o755, b"hello").unwrap();
        layer.link("bin/hi", "hello").unwrap();
        let mut out = Vec::new();
        let config = Config { names: vec!["localhost/hello:1".into()], ..Config::default() };
        layer.write(&config, &mut out).unwrap();
        out
    }

    #[test]
    fn same_files_give_the_same_archive() {
        assert_eq!(archive(), archive());
    }

    #[test]
    fn the_manifest_names_the_other_two_members() {
        let bytes = archive();
        let mut members = tar::Archive::new(bytes.as_slice());
        let mut names = Vec::new();
        let mut manifest = String::new();
        for member in members.entries().unwrap() {
            let mut member = member.unwrap();
            let name = member.path().unwrap().display().to_string();
            if name == "manifest.json" {
                io::Read::read_to_string(&mut member, &mut manifest).unwrap();
            }
            names.push(name);
        }
        assert_eq!(names.len(), 3);
        assert!(
            manifest.contains(&names[0])
                && manifest.contains(&names[1])
                && manifest.contains("localhost/hello:1")
        );
    }
}
