//! The messages of plugin registration, by their numbers on the wire.
//!
//! No crate has them; fields that are left out are skipped by whoever reads.

use prost::Message;

/// Nothing.
#[derive(Clone, PartialEq, Message)]
pub struct Empty {}

/// What a plugin says of itself.
#[derive(Clone, PartialEq, Message)]
pub struct PluginInfo {
    /// `CSIPlugin`, `DRAPlugin`, `DevicePlugin`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// The driver's name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Where it serves; where it registered if empty.
    #[prost(string, tag = "3")]
    pub endpoint: String,
    /// Which versions of its interface it speaks.
    #[prost(string, repeated, tag = "4")]
    pub supported_versions: Vec<String>,
}

/// How the registration went.
#[derive(Clone, PartialEq, Message)]
pub struct RegistrationStatus {
    /// Well.
    #[prost(bool, tag = "1")]
    pub plugin_registered: bool,
    /// Or why not.
    #[prost(string, tag = "2")]
    pub error: String,
}
