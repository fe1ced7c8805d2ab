//! A driver of volumes as small as can be: it registers itself, has a file system in memory for each volume (or only a folder, where
//! mounts would not be seen), a loop device for those that are devices, and remembers what was asked of it.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use prost::Message;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use skiff_base::Tasks;
use skiff_kubelet::csi::proto::{
    BYTES, EXPAND_VOLUME, GET_VOLUME_STATS, NodeCapabilities, NodeCapability, NodeExpandVolume,
    NodeGetVolumeStats, NodeInfo, NodePublishVolume, NodeRpc, NodeStageVolume, NodeUnpublishVolume,
    NodeUnstageVolume, STAGE_UNSTAGE_VOLUME, Topology, VOLUME_CONDITION, VolumeCapability, VolumeCondition,
    VolumeStats, VolumeUsage,
};

use crate::plugin::{Asked, Plugin};

/// The driver's name.
pub(crate) const NAME: &str = "small.test";

/// A driver at work.
#[derive(Clone)]
pub(crate) struct Driver {
    /// Whether its volumes are mounts.
    mounts: bool,
    pub(crate) asked: Asked,
}

impl Driver {
    /// Serves in `folder` and registers in `registry`.
    pub(crate) fn start(folder: &Path, registry: &Path, mounts: bool, tasks: &Tasks) -> Self {
        let driver = Self { mounts, asked: Asked::default() };
        let plugin =
            Plugin { kind: "CSIPlugin", name: NAME, versions: &["1.0.0"], socket: folder.join("csi.sock") };
        let own = driver.clone();
        plugin.start(registry, &driver.asked, tasks, move |call, message| own.carry_out(call, message));
        driver
    }

    fn carry_out(&self, call: &str, message: &[u8]) -> Result<Vec<u8>, String> {
        match call {
            "NodeGetInfo" => {
                let segments = [("topology.small.test/zone".to_owned(), "here".to_owned())].into();
                Ok(NodeInfo {
                    node_id: "node-7".to_owned(),
                    max_volumes_per_node: 5,
                    accessible_topology: Some(Topology { segments }),
                }
                .encode_to_vec())
            }
            "NodeGetCapabilities" => {
                let can = [STAGE_UNSTAGE_VOLUME, EXPAND_VOLUME, GET_VOLUME_STATS, VOLUME_CONDITION];
                let can = can.map(|kind| NodeCapability { rpc: Some(NodeRpc { kind }) });
                Ok(NodeCapabilities { capabilities: can.to_vec() }.encode_to_vec())
            }
            "NodeStageVolume" => self.stage(&NodeStageVolume::decode(message).unwrap()),
            "NodePublishVolume" => self.publish(&NodePublishVolume::decode(message).unwrap()),
            "NodeUnpublishVolume" => {
                let request = NodeUnpublishVolume::decode(message).unwrap();
                let cleared = self.clear(Path::new(&request.target_path), true);
                self.asked.note(&format!("unpublish {}", request.volume_id));
                cleared
            }
            "NodeUnstageVolume" => {
                let request = NodeUnstageVolume::decode(message).unwrap();
                let cleared = self.clear(Path::new(&request.staging_target_path), false);
                self.asked.note(&format!("unstage {}", request.volume_id));
                cleared
            }
            "NodeExpandVolume" => {
                let request = NodeExpandVolume::decode(message).unwrap();
                assert!(Path::new(&request.volume_path).exists(), "{}", request.volume_path);
                let size = request.capacity_range.unwrap().required_bytes;
                let secret = request.secrets.get("key").cloned().unwrap_or_default();
                self.asked.note(&format!("expand {} to {size} {secret}", request.volume_id));
                Ok(Vec::new())
            }
            "NodeGetVolumeStats" => {
                let request = NodeGetVolumeStats::decode(message).unwrap();
                assert!(Path::new(&request.volume_path).exists(), "{}", request.volume_path);
                let usage = vec![VolumeUsage { available: 1, total: 3, used: 2, unit: BYTES }];
                let condition = VolumeCondition { abnormal: true, message: "torn".to_owned() };
                Ok(VolumeStats { usage, volume_condition: Some(condition) }.encode_to_vec())
            }
            other => Err(format!("{other} is not known")),
        }
    }

    fn make(&self, place: &Path, content: &str) -> Result<Vec<u8>, String> {
        if self.mounts {
            mount("tmpfs", place, "tmpfs", MountFlags::empty(), None).map_err(|error| error.to_string())?;
        }
        std::fs::write(place.join("greeting"), content).map_err(|error| error.to_string())?;
        Ok(Vec::new())
    }

    fn stage(&self, request: &NodeStageVolume) -> Result<Vec<u8>, String> {
        let place = Path::new(&request.staging_target_path);
        let secret = request.secrets.get("key").cloned().unwrap_or_default();
        let disk = request.publish_context.get("disk").cloned().unwrap_or_default();
        self.asked.note(&format!("stage {} {secret} {disk}", request.volume_id));
        if place.join("greeting").exists() {
            return Ok(Vec::new());
        }
        let greeting = request.volume_context.get("greeting").map_or("", String::as_str);
        self.make(place, greeting)?;
        if is_block(request.volume_capability.as_ref()) {
            let image = place.join("image");
            std::fs::write(&image, greeting).map_err(|error| error.to_string())?;
            let file = std::fs::OpenOptions::new().write(true).open(&image).unwrap();
            file.set_len(1 << 20).map_err(|error| error.to_string())?;
            let device = losetup(&["--find", "--show"], &image)?;
            std::fs::write(place.join("device"), device).map_err(|error| error.to_string())?;
        }
        Ok(Vec::new())
    }

    fn publish(&self, request: &NodePublishVolume) -> Result<Vec<u8>, String> {
        let place = Path::new(&request.target_path);
        let pod = request.volume_context.get("csi.storage.k8s.io/pod.name").cloned().unwrap_or_default();
        let tokens = [("context", &request.volume_context), ("secrets", &request.secrets)];
        let tokens =
            tokens.map(|(place, values)| (place, values.get("csi.storage.k8s.io/serviceAccount.tokens")));
        let tokens =
            tokens.into_iter().filter_map(|(place, text)| Some(format!("with {} in {place}", short(text?))));
        let tokens = tokens.collect::<Vec<_>>().join(" ");
        self.asked.note(&format!("publish {} to {pod} {tokens}", request.volume_id));
        let staging = Path::new(&request.staging_target_path);
        if is_block(request.volume_capability.as_ref()) {
            return device(staging, place);
        }
        // Asked again: what is there is good.
        if place.join("greeting").exists() {
            return Ok(Vec::new());
        }
        std::fs::create_dir(place).map_err(|error| error.to_string())?;
        match (request.staging_target_path.is_empty(), self.mounts) {
            (true, _) => self.make(place, request.volume_context.get("greeting").map_or("", String::as_str)),
            (false, true) => {
                mount_bind(staging, place).map(|()| Vec::new()).map_err(|error| error.to_string())
            }
            (false, false) => {
                let copied = std::fs::copy(staging.join("greeting"), place.join("greeting"));
                copied.map(|_| Vec::new()).map_err(|error| error.to_string())
            }
        }
    }

    fn clear(&self, place: &Path, whole: bool) -> Result<Vec<u8>, String> {
        if std::fs::symlink_metadata(place).is_ok_and(|meta| meta.file_type().is_block_device()) {
            return std::fs::remove_file(place).map(|()| Vec::new()).map_err(|error| error.to_string());
        }
        if let Ok(device) = std::fs::read_to_string(place.join("device")) {
            losetup(&["--detach"], Path::new(device.trim()))?;
        }
        if self.mounts {
            unmount(place, UnmountFlags::NOFOLLOW).map_err(|error| error.to_string())?;
        } else {
            for file in std::fs::read_dir(place).map_err(|error| error.to_string())?.flatten() {
                std::fs::remove_file(file.path()).map_err(|error| error.to_string())?;
            }
        }
        if whole {
            std::fs::remove_dir(place).map_err(|error| error.to_string())?;
        }
        Ok(Vec::new())
    }
}

fn is_block(capability: Option<&VolumeCapability>) -> bool {
    capability.is_some_and(|capability| capability.block.is_some())
}

/// The staged device under another name.
fn device(staging: &Path, place: &Path) -> Result<Vec<u8>, String> {
    let device = std::fs::read_to_string(staging.join("device")).map_err(|error| error.to_string())?;
    if place.exists() {
        return Ok(Vec::new());
    }
    let number = std::fs::metadata(device.trim()).map_err(|error| error.to_string())?.rdev();
    let made = mknodat(CWD, place, FileType::BlockDevice, Mode::from_raw_mode(0o600), number);
    made.map(|()| Vec::new()).map_err(|error| error.to_string())
}

/// Whom the tokens are for.
fn short(tokens: &str) -> String {
    let tokens: serde_json::Map<String, serde_json::Value> = serde_json::from_str(tokens).unwrap();
    assert!(tokens.values().all(|one| one["token"].is_string() && one["expirationTimestamp"].is_string()));
    tokens.keys().map(String::as_str).collect::<Vec<_>>().join("+")
}

#[expect(clippy::disallowed_methods, reason = "a test starts programs")]
fn losetup(arguments: &[&str], file: &Path) -> Result<String, String> {
    let output = std::process::Command::new("losetup").args(arguments).arg(file).output();
    let output = output.map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
