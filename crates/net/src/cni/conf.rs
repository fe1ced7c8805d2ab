//! The plugin's configuration: written by Skiff into the runtime's `conf_dir`, read back by the plugin.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::Deserialize;
use serde_json::json;

use super::Fault;

/// What a node's pod network is; several nodes on one machine differ in every name here but live in network
/// namespaces of their own, so links and tables may even be called the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The network's name; also a folder under `data_dir`.
    pub name: String,
    /// The bridge all pods hang on.
    pub bridge: String,
    /// The node's share of the cluster's pod range.
    pub subnet: Ipv4Net,
    /// The pods' way out; the first address of `subnet` if absent.
    pub gateway: Option<Ipv4Addr>,
    /// The whole cluster's pod range: traffic to it keeps its source address.
    pub cluster_cidr: Option<Ipv4Net>,
    /// Largest packet; 0 for what fits the node's way out when its bridge is made.
    pub mtu: u32,
    /// Where given-out addresses are remembered.
    pub data_dir: PathBuf,
    /// A pod may reach itself through a service or host port.
    pub hairpin: bool,
    /// The nftables table for host ports and masquerade.
    pub table: String,
    /// The plugin's file name in the runtime's `bin_dir`.
    pub plugin: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "skiff".to_owned(),
            bridge: "skiff0".to_owned(),
            subnet: Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 24),
            gateway: None,
            cluster_cidr: Some(Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16)),
            mtu: 0,
            data_dir: PathBuf::from("/var/lib/skiff/cni"),
            hairpin: true,
            table: "skiff-pods".to_owned(),
            plugin: "skiff-cni".to_owned(),
        }
    }
}

/// The text of a `.conflist` for the runtime's `conf_dir`.
pub fn config(options: &Config) -> String {
    let mut plugin = json!({
        "type": options.plugin,
        "bridge": options.bridge,
        "subnet": options.subnet.trunc().to_string(),
        "mtu": options.mtu,
        "dataDir": options.data_dir,
        "hairpin": options.hairpin,
        "table": options.table,
        "capabilities": { "portMappings": true },
    });
    if let Some(gateway) = options.gateway {
        plugin["gateway"] = json!(gateway);
    }
    if let Some(range) = options.cluster_cidr {
        plugin["clusterCidr"] = json!(range.to_string());
    }
    let list = json!({ "cniVersion": "1.0.0", "name": options.name, "plugins": [plugin] });
    format!("{list:#}\n")
}

/// One plugin's configuration, as the runtime hands it over.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Conf {
    #[serde(default = "oldest")]
    pub(super) cni_version: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) bridge: String,
    pub(super) subnet: Option<Ipv4Net>,
    pub(super) gateway: Option<Ipv4Addr>,
    pub(super) cluster_cidr: Option<Ipv4Net>,
    #[serde(default)]
    pub(super) mtu: u32,
    #[serde(default)]
    pub(super) data_dir: PathBuf,
    #[serde(default)]
    pub(super) hairpin: bool,
    #[serde(default = "table")]
    pub(super) table: String,
    #[serde(default)]
    pub(super) runtime_config: RuntimeConf,
    pub(super) prev_result: Option<serde_json::Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RuntimeConf {
    #[serde(default)]
    pub(super) port_mappings: Vec<PortMapping>,
}

/// A host port as the runtime asks for it.
#[derive(Clone, Debug, Deserialize, serde::Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortMapping {
    // containerd encodes a Go struct without field names for JSON, so it capitalises what the convention does not.
    #[serde(alias = "HostPort")]
    pub(super) host_port: u16,
    #[serde(alias = "ContainerPort")]
    pub(super) container_port: u16,
    #[serde(default = "tcp", alias = "Protocol")]
    pub(super) protocol: String,
    #[serde(rename = "hostIP", alias = "HostIP", default, skip_serializing_if = "String::is_empty")]
    pub(super) host_ip: String,
}

fn oldest() -> String {
    "0.1.0".to_owned()
}

fn table() -> String {
    Config::default().table
}

fn tcp() -> String {
    "tcp".to_owned()
}

/// Reads and checks the configuration.
pub(super) fn parse(text: &[u8]) -> Result<Conf, Fault> {
    let conf: Conf = serde_json::from_slice(text).map_err(|error| Fault {
        details: error.to_string(),
        ..Fault::new(6, "configuration is not readable")
    })?;
    if conf.kind == "loopback" {
        return Ok(conf);
    }
    let refuse = |what: &str| Err(Fault::new(7, format!("invalid network configuration: {what}")));
    if conf.name.is_empty() || conf.name.contains('/') {
        return refuse("name is missing");
    }
    if conf.bridge.is_empty() || conf.bridge.len() > 15 {
        return refuse("bridge must have 1 to 15 characters");
    }
    if conf.data_dir.as_os_str().is_empty() {
        return refuse("dataDir is missing");
    }
    match conf.subnet {
        None => refuse("subnet is missing"),
        Some(net) if net.prefix_len() > 30 => refuse("subnet has no room for pods"),
        Some(net) if conf.gateway.is_some_and(|gateway| !net.contains(&gateway)) => {
            refuse("gateway is outside subnet")
        }
        Some(_) => Ok(conf),
    }
}

impl Conf {
    /// The node's range; checked when read.
    pub(super) fn range(&self) -> Ipv4Net {
        self.subnet.unwrap_or_default().trunc()
    }

    pub(super) fn gateway(&self) -> Ipv4Addr {
        self.gateway.unwrap_or_else(|| first(self.range()))
    }

    pub(super) fn folder(&self) -> PathBuf {
        folder(&self.data_dir, &self.name)
    }
}

pub(super) fn folder(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join(name)
}

fn first(net: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.network()) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_config_renders_parse_reads() {
        let options = Config { bridge: "br7".into(), mtu: 1400, ..Config::default() };
        let list: serde_json::Value = serde_json::from_str(&config(&options)).unwrap();
        let mut plugin = list["plugins"][0].clone();
        plugin["cniVersion"] = list["cniVersion"].clone();
        plugin["name"] = list["name"].clone();
        plugin["runtimeConfig"] =
            json!({"portMappings": [{"hostPort": 80, "containerPort": 8080, "protocol": "UDP"}]});
        let conf = parse(plugin.to_string().as_bytes()).unwrap();
        assert_eq!((conf.bridge.as_str(), conf.mtu, conf.range()), ("br7", 1400, options.subnet));
        assert_eq!(conf.gateway(), Ipv4Addr::new(10, 244, 0, 1));
        assert_eq!(conf.cluster_cidr, options.cluster_cidr);
        assert_eq!(conf.runtime_config.port_mappings[0].container_port, 8080);
        plugin["runtimeConfig"] = json!({"portMappings": [{"HostPort": 81, "ContainerPort": 8081, "Protocol": "tcp", "HostIP": ""}]});
        let conf = parse(plugin.to_string().as_bytes()).unwrap();
        assert_eq!(conf.runtime_config.port_mappings[0].host_port, 81);
    }
}
