//! A file of the Container Device Interface, versions 0.3 to 1.x, as JSON or YAML.

use std::path::PathBuf;

use serde::Deserialize;

/// A file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    cdi_version: String,
    /// `vendor/class`.
    pub(super) kind: String,
    pub(super) devices: Vec<Device>,
    /// For each of its devices.
    #[serde(default)]
    pub(super) container_edits: Edits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Device {
    pub(super) name: String,
    #[serde(default)]
    pub(super) container_edits: Edits,
}

/// What a container is given.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Edits {
    /// `KEY=value`.
    pub(super) env: Vec<String>,
    pub(super) device_nodes: Vec<Node>,
    pub(super) mounts: Vec<Mount>,
    pub(super) hooks: Vec<Hook>,
    #[serde(rename = "additionalGids")]
    pub(super) additional_gids: Vec<i64>,
    pub(super) intel_rdt: Option<serde::de::IgnoredAny>,
    pub(super) net_devices: Vec<serde::de::IgnoredAny>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Node {
    /// In the container.
    pub(super) path: String,
    /// On the machine; the same if absent.
    pub(super) host_path: Option<PathBuf>,
    /// `b`, `c`, `u`, `p`.
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) file_mode: Option<u32>,
    /// Some of `rwm`.
    pub(super) permissions: Option<String>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Mount {
    pub(super) host_path: PathBuf,
    pub(super) container_path: String,
    pub(super) options: Vec<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hook {
    pub(super) hook_name: String,
    #[serde(default)]
    pub(super) path: String,
}

impl Spec {
    /// Reads a file's text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // JSON is YAML.
        let spec: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let mut parts = spec.cdi_version.trim_start_matches('v').split('.').map(str::parse::<u32>);
        match (parts.next(), parts.next()) {
            (Some(Ok(0)), Some(Ok(3..))) | (Some(Ok(1)), Some(Ok(_))) => {}
            _ => return Err(format!("unknown CDI version {:?}", spec.cdi_version)),
        }
        match spec.kind.split_once('/') {
            Some((vendor, class)) if !vendor.is_empty() && !class.is_empty() && !class.contains('/') => {
                Ok(spec)
            }
            _ => Err(format!("invalid CDI kind {:?}", spec.kind)),
        }
    }
}
