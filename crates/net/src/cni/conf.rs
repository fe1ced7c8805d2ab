//! The plugin's configuration: written by Skiff into the runtime's `conf_dir`, read back by the plugin.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use serde_json::json;

use super::Fault;
use crate::family::{Family, further};

/// What a node's pod network is; several nodes on one machine differ in every name here but live in network
/// namespaces of their own, so links and tables may even be called the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The network's name; also a folder under `data_dir`.
    pub name: String,
    /// The bridge all pods hang on.
    pub bridge: String,
    /// The node's shares of the cluster's pod ranges, at most one of a family; the pods' way out is the first address of each.
    pub subnets: Vec<IpNet>,
    /// The whole cluster's pod ranges: traffic to them keeps its source address.
    pub cluster_cidrs: Vec<IpNet>,
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
            subnets: vec![IpNet::new_assert([10, 244, 0, 0].into(), 24)],
            cluster_cidrs: vec![IpNet::new_assert([10, 244, 0, 0].into(), 16)],
            mtu: 0,
            data_dir: PathBuf::from("/var/lib/skiff/cni"),
            hairpin: true,
            table: "skiff-pods".to_owned(),
            plugin: "skiff-cni".to_owned(),
        }
    }
}

/// Ranges as one text, which for one range is what Skiff has always written.
fn text(nets: &[IpNet]) -> String {
    nets.iter().map(|net| net.trunc().to_string()).collect::<Vec<_>>().join(",")
}

fn nets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.split(',').map(|net| net.parse().map_err(de::Error::custom)).collect()
}

/// The text of a `.conflist` for the runtime's `conf_dir`.
pub fn config(options: &Config) -> String {
    let mut plugin = json!({
        "type": options.plugin,
        "bridge": options.bridge,
        "subnet": text(&options.subnets),
        "mtu": options.mtu,
        "dataDir": options.data_dir,
        "hairpin": options.hairpin,
        "table": options.table,
        "capabilities": { "portMappings": true },
    });
    if !options.cluster_cidrs.is_empty() {
        plugin["clusterCidr"] = json!(text(&options.cluster_cidrs));
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
    #[serde(rename = "subnet", default, deserialize_with = "nets")]
    subnets: Vec<IpNet>,
    #[serde(rename = "clusterCidr", default, deserialize_with = "nets")]
    cluster_cidrs: Vec<IpNet>,
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
    if conf.subnets.is_empty() {
        return refuse("subnet is missing");
    }
    if conf.subnets.iter().any(|net| net.max_prefix_len() - net.prefix_len() < 2) {
        return refuse("subnet has no room for pods");
    }
    if Family::of_all(&conf.subnets).len() < conf.subnets.len() {
        return refuse("subnet has several ranges of one family");
    }
    Ok(conf)
}

/// A node's range of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) family: Family,
    pub(super) net: IpNet,
    /// The cluster's range that it is a part of.
    pub(super) cluster: IpNet,
}

impl Range {
    /// The pods' way out.
    pub(super) fn gateway(&self) -> IpAddr {
        further(self.net.network(), 1)
    }

    /// An address as a pod has it.
    pub(super) fn pod(&self, address: IpAddr) -> IpNet {
        IpNet::new(address, self.net.prefix_len()).unwrap_or_else(|_| address.into())
    }
}

impl Conf {
    /// The node's ranges, the first leading.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range> {
        self.subnets.iter().map(|net| {
            let family = Family::of(net.addr());
            let cluster = self.cluster_cidrs.iter().find(|whole| family.holds(whole));
            Range { family, net: net.trunc(), cluster: cluster.copied().unwrap_or(*net) }
        })
    }

    pub(super) fn folder(&self) -> PathBuf {
        folder(&self.data_dir, &self.name)
    }
}

pub(super) fn folder(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_config_renders_parse_reads() {
        let six = |text: &str| text.parse::<IpNet>().unwrap();
        let options = Config {
            bridge: "br7".into(),
            mtu: 1400,
            subnets: vec![Config::default().subnets[0], six("fd00:244:0:7::/64")],
            cluster_cidrs: vec![six("fd00:244::/56"), Config::default().cluster_cidrs[0]],
            ..Config::default()
        };
        let list: serde_json::Value = serde_json::from_str(&config(&options)).unwrap();
        let mut plugin = list["plugins"][0].clone();
        plugin["cniVersion"] = list["cniVersion"].clone();
        plugin["name"] = list["name"].clone();
        plugin["runtimeConfig"] =
            json!({"portMappings": [{"hostPort": 80, "containerPort": 8080, "protocol": "UDP"}]});
        let conf = parse(plugin.to_string().as_bytes()).unwrap();
        assert_eq!((conf.bridge.as_str(), conf.mtu), ("br7", 1400));
        let read = conf.ranges().map(|range| format!("{} {} {}", range.net, range.gateway(), range.cluster));
        assert_eq!(
            read.collect::<Vec<_>>(),
            ["10.244.0.0/24 10.244.0.1 10.244.0.0/16", "fd00:244:0:7::/64 fd00:244:0:7::1 fd00:244::/56"]
        );
        assert_eq!(conf.runtime_config.port_mappings[0].container_port, 8080);
        plugin["runtimeConfig"] = json!({"portMappings": [{"HostPort": 81, "ContainerPort": 8081, "Protocol": "tcp", "HostIP": ""}]});
        let conf = parse(plugin.to_string().as_bytes()).unwrap();
        assert_eq!(conf.runtime_config.port_mappings[0].host_port, 81);
    }
}
