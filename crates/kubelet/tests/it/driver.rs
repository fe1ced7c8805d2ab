//! A driver of volumes as small as can be: it registers itself, has a file system in memory for each volume (or only a folder, where
//! mounts would not be seen), and remembers what was asked of it.

use std::path::Path;

use prost::Message;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use skiff_base::Tasks;
use skiff_kubelet::csi::proto::{
    NodeCapabilities, NodeCapability, NodeInfo, NodePublishVolume, NodeRpc, NodeStageVolume,
    NodeUnpublishVolume, NodeUnstageVolume, STAGE_UNSTAGE_VOLUME, Topology,
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
                let rpc = Some(NodeRpc { kind: STAGE_UNSTAGE_VOLUME });
                Ok(NodeCapabilities { capabilities: vec![NodeCapability { rpc }] }.encode_to_vec())
            }
            "NodeStageVolume" => self.stage(&NodeStageVolume::decode(message).unwrap()),
            "NodePublishVolume" => self.publish(&NodePublishVolume::decode(message).unwrap()),
            "NodeUnpublishVolume" => {
                let request = NodeUnpublishVolume::decode(message).unwrap();
                self.asked.note(&format!("unpublish {}", request.volume_id));
                self.clear(Path::new(&request.target_path), true)
            }
            "NodeUnstageVolume" => {
                let request = NodeUnstageVolume::decode(message).unwrap();
                self.asked.note(&format!("unstage {}", request.volume_id));
                self.clear(Path::new(&request.staging_target_path), false)
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
        self.make(place, request.volume_context.get("greeting").map_or("", String::as_str))
    }

    fn publish(&self, request: &NodePublishVolume) -> Result<Vec<u8>, String> {
        let place = Path::new(&request.target_path);
        let pod = request.volume_context.get("csi.storage.k8s.io/pod.name").cloned().unwrap_or_default();
        self.asked.note(&format!("publish {} to {pod}", request.volume_id));
        std::fs::create_dir(place).map_err(|error| error.to_string())?;
        let staging = Path::new(&request.staging_target_path);
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
        if self.mounts {
            unmount(place, UnmountFlags::NOFOLLOW).map_err(|error| error.to_string())?;
        } else {
            std::fs::remove_file(place.join("greeting")).map_err(|error| error.to_string())?;
        }
        if whole {
            std::fs::remove_dir(place).map_err(|error| error.to_string())?;
        }
        Ok(Vec::new())
    }
}
