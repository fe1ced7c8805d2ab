//! The messages of the Container Storage Interface that a node needs, by their numbers on the wire.
//!
//! No crate has them, and of the specification's ninety messages these are the few that a kubelet sends or reads; fields that
//! are left out are skipped by whoever reads.

use std::collections::HashMap;

use prost::Message;

/// What a driver says of its node.
#[derive(Clone, PartialEq, Message)]
pub struct NodeInfo {
    /// Its name for the node.
    #[prost(string, tag = "1")]
    pub node_id: String,
    /// How many volumes fit; zero is no limit.
    #[prost(int64, tag = "2")]
    pub max_volumes_per_node: i64,
    /// Which volumes can be reached from it.
    #[prost(message, optional, tag = "3")]
    pub accessible_topology: Option<Topology>,
}

/// A place.
#[derive(Clone, PartialEq, Message)]
pub struct Topology {
    /// By key.
    #[prost(map = "string, string", tag = "1")]
    pub segments: HashMap<String, String>,
}

/// What a driver can do on a node.
#[derive(Clone, PartialEq, Message)]
pub struct NodeCapabilities {
    /// Each.
    #[prost(message, repeated, tag = "1")]
    pub capabilities: Vec<NodeCapability>,
}

/// One thing.
#[derive(Clone, PartialEq, Message)]
pub struct NodeCapability {
    /// A call.
    #[prost(message, optional, tag = "1")]
    pub rpc: Option<NodeRpc>,
}

/// A call that a driver knows.
#[derive(Clone, PartialEq, Message)]
pub struct NodeRpc {
    /// By number.
    #[prost(int32, tag = "1")]
    pub kind: i32,
}

/// Volumes are staged once a node before they are published to pods.
pub const STAGE_UNSTAGE_VOLUME: i32 = 1;
/// The driver tells how much of a volume is used.
pub const GET_VOLUME_STATS: i32 = 2;
/// Volumes that have grown are made known to the node.
pub const EXPAND_VOLUME: i32 = 3;
/// The driver tells whether a volume is well.
pub const VOLUME_CONDITION: i32 = 4;
/// The driver tells apart one and several writers on a node.
pub const SINGLE_NODE_MULTI_WRITER: i32 = 5;
/// The driver gives the volume to a group itself.
pub const VOLUME_MOUNT_GROUP: i32 = 6;

/// How a volume is to be used.
#[derive(Clone, PartialEq, Message)]
pub struct VolumeCapability {
    /// As a device.
    #[prost(message, optional, tag = "1")]
    pub block: Option<BlockVolume>,
    /// As a file system.
    #[prost(message, optional, tag = "2")]
    pub mount: Option<MountVolume>,
    /// By whom.
    #[prost(message, optional, tag = "3")]
    pub access_mode: Option<AccessMode>,
}

/// A device; there is nothing to say about it.
#[derive(Clone, PartialEq, Message)]
pub struct BlockVolume {}

/// A file system.
#[derive(Clone, PartialEq, Message)]
pub struct MountVolume {
    /// Such as `ext4`; the driver's own choice if empty.
    #[prost(string, tag = "1")]
    pub fs_type: String,
    /// Options.
    #[prost(string, repeated, tag = "2")]
    pub mount_flags: Vec<String>,
    /// The group that is to have it.
    #[prost(string, tag = "3")]
    pub volume_mount_group: String,
}

/// By whom a volume is used.
#[derive(Clone, PartialEq, Message)]
pub struct AccessMode {
    /// By number.
    #[prost(int32, tag = "1")]
    pub mode: i32,
}

/// Brings a volume to the node.
#[derive(Clone, PartialEq, Message)]
pub struct NodeStageVolume {
    /// Which.
    #[prost(string, tag = "1")]
    pub volume_id: String,
    /// What attaching it came to.
    #[prost(map = "string, string", tag = "2")]
    pub publish_context: HashMap<String, String>,
    /// Where to.
    #[prost(string, tag = "3")]
    pub staging_target_path: String,
    /// How.
    #[prost(message, optional, tag = "4")]
    pub volume_capability: Option<VolumeCapability>,
    /// With these.
    #[prost(map = "string, string", tag = "5")]
    pub secrets: HashMap<String, String>,
    /// What is known of it.
    #[prost(map = "string, string", tag = "6")]
    pub volume_context: HashMap<String, String>,
}

/// Takes a volume from the node.
#[derive(Clone, PartialEq, Message)]
pub struct NodeUnstageVolume {
    /// Which.
    #[prost(string, tag = "1")]
    pub volume_id: String,
    /// Where it is.
    #[prost(string, tag = "2")]
    pub staging_target_path: String,
}

/// Brings a volume to a pod.
#[derive(Clone, PartialEq, Message)]
pub struct NodePublishVolume {
    /// Which.
    #[prost(string, tag = "1")]
    pub volume_id: String,
    /// What attaching it came to.
    #[prost(map = "string, string", tag = "2")]
    pub publish_context: HashMap<String, String>,
    /// Where it was staged, if it was.
    #[prost(string, tag = "3")]
    pub staging_target_path: String,
    /// Where to.
    #[prost(string, tag = "4")]
    pub target_path: String,
    /// How.
    #[prost(message, optional, tag = "5")]
    pub volume_capability: Option<VolumeCapability>,
    /// Only to be read.
    #[prost(bool, tag = "6")]
    pub readonly: bool,
    /// With these.
    #[prost(map = "string, string", tag = "7")]
    pub secrets: HashMap<String, String>,
    /// What is known of it, and of the pod.
    #[prost(map = "string, string", tag = "8")]
    pub volume_context: HashMap<String, String>,
}

/// Takes a volume from a pod.
#[derive(Clone, PartialEq, Message)]
pub struct NodeUnpublishVolume {
    /// Which.
    #[prost(string, tag = "1")]
    pub volume_id: String,
    /// Where it is.
    #[prost(string, tag = "2")]
    pub target_path: String,
}

/// Makes known to the node that a volume has grown.
#[derive(Clone, PartialEq, Message)]
pub struct NodeExpandVolume {
    /// Which.
    #[prost(string, tag = "1")]
    pub volume_id: String,
    /// Where a pod has it.
    #[prost(string, tag = "2")]
    pub volume_path: String,
    /// How large it is.
    #[prost(message, optional, tag = "3")]
    pub capacity_range: Option<CapacityRange>,
    /// Where it was staged, if it was.
    #[prost(string, tag = "4")]
    pub staging_target_path: String,
    /// How it is used.
    #[prost(message, optional, tag = "5")]
    pub volume_capability: Option<VolumeCapability>,
    /// With these.
    #[prost(map = "string, string", tag = "6")]
    pub secrets: HashMap<String, String>,
}

/// A size, in bytes.
#[derive(Clone, PartialEq, Message)]
pub struct CapacityRange {
    /// At least.
    #[prost(int64, tag = "1")]
    pub required_bytes: i64,
    /// At most; zero is no limit.
    #[prost(int64, tag = "2")]
    pub limit_bytes: i64,
}

/// Asks how much of a volume is used.
#[derive(Clone, PartialEq, Message)]
pub struct NodeGetVolumeStats {
    /// Which.
    #[prost(string, tag = "1")]
    pub volume_id: String,
    /// Where a pod has it.
    #[prost(string, tag = "2")]
    pub volume_path: String,
    /// Where it was staged, if it was.
    #[prost(string, tag = "3")]
    pub staging_target_path: String,
}

/// What is known of a volume.
#[derive(Clone, PartialEq, Message)]
pub struct VolumeStats {
    /// In bytes and in inodes.
    #[prost(message, repeated, tag = "1")]
    pub usage: Vec<VolumeUsage>,
    /// Whether it is well.
    #[prost(message, optional, tag = "2")]
    pub volume_condition: Option<VolumeCondition>,
}

/// How much is used.
#[derive(Clone, PartialEq, Message)]
pub struct VolumeUsage {
    /// What is left.
    #[prost(int64, tag = "1")]
    pub available: i64,
    /// What there is.
    #[prost(int64, tag = "2")]
    pub total: i64,
    /// What is taken.
    #[prost(int64, tag = "3")]
    pub used: i64,
    /// Of what: [`BYTES`] or [`INODES`].
    #[prost(int32, tag = "4")]
    pub unit: i32,
}

/// Usage is counted in bytes.
pub const BYTES: i32 = 1;
/// Usage is counted in inodes.
pub const INODES: i32 = 2;

/// Whether a volume is well.
#[derive(Clone, PartialEq, Message)]
pub struct VolumeCondition {
    /// It is not.
    #[prost(bool, tag = "1")]
    pub abnormal: bool,
    /// Why.
    #[prost(string, tag = "2")]
    pub message: String,
}
