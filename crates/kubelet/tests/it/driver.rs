//! A driver of volumes as small as can be: it registers itself, has a file system in memory for each volume (or only a folder, where
//! mounts would not be seen), and remembers what was asked of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use skiff_base::Tasks;
use skiff_kubelet::csi::proto::{
    NodeCapabilities, NodeCapability, NodeInfo, NodePublishVolume, NodeRpc, NodeStageVolume,
    NodeUnpublishVolume, NodeUnstageVolume, STAGE_UNSTAGE_VOLUME, Topology,
};
use skiff_kubelet::plugins::proto::{PluginInfo, RegistrationStatus};
use tokio::sync::watch;

use crate::grpc::{self, Answer};

/// The driver's name.
pub(crate) const NAME: &str = "small.test";
/// Long enough for a machine under heavy load; a passing test never waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A driver at work.
#[derive(Clone)]
pub(crate) struct Driver {
    socket: PathBuf,
    /// Whether its volumes are mounts.
    mounts: bool,
    asked: Arc<watch::Sender<Vec<String>>>,
}

impl Driver {
    /// Serves in `folder` and registers in `registry`.
    pub(crate) fn start(folder: &Path, registry: &Path, mounts: bool, tasks: &Tasks) -> Self {
        let socket = folder.join("csi.sock");
        let driver = Self { socket: socket.clone(), mounts, asked: Arc::default() };
        std::fs::create_dir_all(registry).unwrap();
        for path in [socket, registry.join(format!("{NAME}-reg.sock"))] {
            let own = driver.clone();
            let carry_out = move |call: &str, message: &[u8]| Answer::One(own.carry_out(call, message));
            grpc::serve(&path, Arc::new(carry_out), tasks);
        }
        driver
    }

    /// What was asked of it, as soon as this is among it.
    pub(crate) async fn asked(&self, so: &str) -> Vec<String> {
        let mut asked = self.asked.subscribe();
        let seen = asked.wait_for(|asked| asked.iter().any(|line| line == so));
        match tokio::time::timeout(PATIENCE, seen).await {
            Ok(seen) => seen.unwrap().clone(),
            Err(_) => panic!("{so:?} was not asked: {:#?}", self.asked.borrow()),
        }
    }

    fn note(&self, line: String) {
        self.asked.send_modify(|asked| asked.push(line));
    }

    fn carry_out(&self, call: &str, message: &[u8]) -> Result<Vec<u8>, String> {
        match call {
            "GetInfo" => Ok(PluginInfo {
                kind: "CSIPlugin".to_owned(),
                name: NAME.to_owned(),
                endpoint: self.socket.display().to_string(),
                supported_versions: vec!["1.0.0".to_owned()],
            }
            .encode_to_vec()),
            "NotifyRegistrationStatus" => {
                let status = RegistrationStatus::decode(message).unwrap();
                self.note(
                    format!("registered {} {}", status.plugin_registered, status.error).trim().to_owned(),
                );
                Ok(Vec::new())
            }
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
                self.note(format!("unpublish {}", request.volume_id));
                self.clear(Path::new(&request.target_path), true)
            }
            "NodeUnstageVolume" => {
                let request = NodeUnstageVolume::decode(message).unwrap();
                self.note(format!("unstage {}", request.volume_id));
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
        self.note(format!("stage {} {secret} {disk}", request.volume_id).trim().to_owned());
        if place.join("greeting").exists() {
            return Ok(Vec::new());
        }
        self.make(place, request.volume_context.get("greeting").map_or("", String::as_str))
    }

    fn publish(&self, request: &NodePublishVolume) -> Result<Vec<u8>, String> {
        let place = Path::new(&request.target_path);
        let pod = request.volume_context.get("csi.storage.k8s.io/pod.name").cloned().unwrap_or_default();
        self.note(format!("publish {} to {pod}", request.volume_id));
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
