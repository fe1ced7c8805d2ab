//! What a specification gives to a container, in the words of the Container Runtime Interface.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use super::spec::{Edits, Mount, Node};
use crate::runtime::{self, ContainerConfig, MountPropagation};

/// Gives a container all of it.
pub(super) fn apply(edits: &Edits, config: &mut ContainerConfig) -> Result<(), String> {
    if let Some(hook) = edits.hooks.first() {
        let (name, path) = (&hook.hook_name, &hook.path);
        return Err(format!("this runtime cannot be told of hooks ({name} {path}): it needs containerd 2"));
    }
    if edits.intel_rdt.is_some() || !edits.net_devices.is_empty() {
        return Err(
            "this runtime cannot be told of intelRdt and netDevices: it needs containerd 2".to_owned()
        );
    }
    for variable in &edits.env {
        let (name, value) =
            variable.split_once('=').ok_or_else(|| format!("invalid environment variable {variable:?}"))?;
        config.env.retain(|(known, _)| known != name);
        config.env.push((name.to_owned(), value.to_owned()));
    }
    for node in &edits.device_nodes {
        let device = device(node)?;
        config.devices.retain(|known| known.container_path != device.container_path);
        config.devices.push(device);
    }
    for mount in &edits.mounts {
        let mount = bind(mount)?;
        config.mounts.retain(|known| known.container_path != mount.container_path);
        config.mounts.push(mount);
    }
    for group in edits.additional_gids.iter().filter(|group| **group != 0) {
        if !config.security.supplemental_groups.contains(group) {
            config.security.supplemental_groups.push(*group);
        }
    }
    Ok(())
}

/// A device node. The runtime takes kind, numbers, mode and owner from the machine's: they must be what is asked for.
fn device(node: &Node) -> Result<runtime::Device, String> {
    let path = node.host_path.clone().unwrap_or_else(|| PathBuf::from(&node.path));
    let shown = path.display();
    let meta = std::fs::metadata(&path).map_err(|error| format!("device node {shown}: {error}"))?;
    let kind = meta.file_type();
    let kind = match (kind.is_char_device(), kind.is_block_device()) {
        (true, _) => "c",
        (_, true) => "b",
        _ => return Err(format!("{shown} is not a device")),
    };
    let numbers = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    let asked =
        node.kind.as_deref().filter(|kind| !kind.is_empty()).map(|kind| if kind == "u" { "c" } else { kind });
    let other =
        |what: &str| Err(format!("device node {shown} has another {what} than the specification says"));
    let differs = |asked: Option<u32>, is: u32| asked.is_some_and(|asked| asked != is);
    match node {
        _ if asked.is_some_and(|asked| asked != kind) => return other("type"),
        Node { major: Some(major), minor, .. } if (*major, minor.unwrap_or(0)) != numbers => {
            return other("number");
        }
        Node { file_mode, .. } if differs(file_mode.map(|mode| mode & 0o777), meta.mode() & 0o777) => {
            return other("mode");
        }
        Node { uid, gid, .. } if differs(*uid, meta.uid()) || differs(*gid, meta.gid()) => {
            return other("owner");
        }
        _ => {}
    }
    let permissions = node.permissions.clone().filter(|permissions| !permissions.is_empty());
    Ok(runtime::Device {
        container_path: node.path.clone(),
        host_path: path,
        permissions: permissions.unwrap_or_else(|| "rwm".to_owned()),
    })
}

fn bind(mount: &Mount) -> Result<runtime::Mount, String> {
    let target = &mount.container_path;
    if let Some(kind) = mount.kind.as_deref().filter(|kind| !matches!(*kind, "bind" | "none" | "")) {
        return Err(format!(
            "this runtime cannot be told of a {kind} mounted on {target}: it needs containerd 2"
        ));
    }
    let mut made = runtime::Mount {
        container_path: target.clone(),
        host_path: mount.host_path.clone(),
        ..runtime::Mount::default()
    };
    for option in &mount.options {
        match option.as_str() {
            "ro" => made.readonly = true,
            "rslave" | "slave" => made.propagation = MountPropagation::HostToContainer,
            "rshared" | "shared" => made.propagation = MountPropagation::Bidirectional,
            "rw" | "bind" | "rbind" | "private" | "rprivate" | "nosuid" | "nodev" | "noexec" => {}
            other => {
                return Err(format!(
                    "this runtime cannot be told of option {other} of the mount on {target}: it needs containerd 2"
                ));
            }
        }
    }
    Ok(made)
}
