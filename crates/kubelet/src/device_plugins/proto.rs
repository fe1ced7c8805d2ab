//! The messages between a node and a plugin of devices (`deviceplugin/v1beta1`), by their numbers on the wire.
//!
//! Fields that are left out (where a device is near to) are skipped by whoever reads.

use std::collections::HashMap;

use prost::Message;

/// The version that is spoken.
pub const VERSION: &str = "v1beta1";

/// What a plugin can be asked.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Options {
    /// It wants to know before each container begins.
    #[prost(bool, tag = "1")]
    pub pre_start_required: bool,
    /// It has a say in which devices are given.
    #[prost(bool, tag = "2")]
    pub get_preferred_allocation_available: bool,
}

/// A plugin that makes itself known.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Register {
    /// The version that it speaks.
    #[prost(string, tag = "1")]
    pub version: String,
    /// The name of its socket, beside the kubelet's.
    #[prost(string, tag = "2")]
    pub endpoint: String,
    /// What its devices are called in pods.
    #[prost(string, tag = "3")]
    pub resource_name: String,
    /// What it can be asked.
    #[prost(message, optional, tag = "4")]
    pub options: Option<Options>,
}

/// All devices of a plugin.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Devices {
    /// Each.
    #[prost(message, repeated, tag = "1")]
    pub devices: Vec<Device>,
}

/// A device.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Device {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
    /// `Healthy` if it can be given.
    #[prost(string, tag = "2")]
    pub health: String,
}

/// Which devices would be best.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Preference {
    /// For each container.
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<ContainerPreference>,
}

/// The same for a container.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ContainerPreference {
    /// Of these.
    #[prost(string, repeated, tag = "1")]
    pub available: Vec<String>,
    /// With these.
    #[prost(string, repeated, tag = "2")]
    pub must_include: Vec<String>,
    /// So many.
    #[prost(int32, tag = "3")]
    pub size: i32,
}

/// Devices for each container: preferred, or to be given or begun with.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ForContainers {
    /// For each.
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<Ids>,
}

/// Some devices.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Ids {
    /// Their names.
    #[prost(string, repeated, tag = "1")]
    pub ids: Vec<String>,
}

/// What containers get for their devices.
#[derive(Clone, PartialEq, Message)]
pub struct Allocated {
    /// Each container.
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<ContainerAllocated>,
}

/// What a container gets.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerAllocated {
    /// Environment.
    #[prost(map = "string, string", tag = "1")]
    pub envs: HashMap<String, String>,
    /// Paths of the machine.
    #[prost(message, repeated, tag = "2")]
    pub mounts: Vec<Mount>,
    /// Device nodes.
    #[prost(message, repeated, tag = "3")]
    pub devices: Vec<Node>,
    /// For the runtime.
    #[prost(map = "string, string", tag = "4")]
    pub annotations: HashMap<String, String>,
    /// By their names in specifications of the Container Device Interface.
    #[prost(message, repeated, tag = "5")]
    pub cdi_devices: Vec<Named>,
}

/// A path of the machine.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Mount {
    /// In the container.
    #[prost(string, tag = "1")]
    pub container_path: String,
    /// On the machine.
    #[prost(string, tag = "2")]
    pub host_path: String,
    /// Only to be read.
    #[prost(bool, tag = "3")]
    pub read_only: bool,
}

/// A device node.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Node {
    /// In the container.
    #[prost(string, tag = "1")]
    pub container_path: String,
    /// On the machine.
    #[prost(string, tag = "2")]
    pub host_path: String,
    /// Some of `rwm`.
    #[prost(string, tag = "3")]
    pub permissions: String,
}

/// A name.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Named {
    /// It.
    #[prost(string, tag = "1")]
    pub name: String,
}
