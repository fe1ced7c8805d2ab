//! Endpoints: a service's addresses as a flat list of `ip:port`.

use k8s_openapi::api::core::v1;
use serde::{Deserialize, Serialize};

use super::container::protocol;
use super::kind::{Kind, Row, row};
use super::meta::TypeMeta;
use super::value::{self, Map};

static ROW: Row = Row {
    segment: "endpoints",
    kind: "Endpoints",
    list_kind: "EndpointsList",
    plural: "endpoints",
    word: "endpoints",
    paths: &[("subsets", "endpoints")],
    ..row::<Endpoints>()
};

/// A service's addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoints {
    /// The common members; the id is the service's.
    #[serde(flatten)]
    pub meta: TypeMeta,
    /// `ip:port` each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Shown when it is not TCP (L).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
}

fn shown(ip: &str, port: i32) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// `ip:port` in parts; a text that is not gives port 0, which v1 refuses by name.
fn parts(endpoint: &str) -> (String, i32) {
    let (ip, port) = endpoint.rsplit_once(':').unwrap_or((endpoint, ""));
    (ip.trim_matches(['[', ']']).to_owned(), port.parse().unwrap_or(0))
}

impl Kind for Endpoints {
    type V1 = v1::Endpoints;
    const ROW: &'static Row = &ROW;

    fn meta(&self) -> &TypeMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut TypeMeta {
        &mut self.meta
    }

    fn from_v1(endpoints: &v1::Endpoints) -> Self {
        let subsets = || endpoints.subsets.iter().flatten();
        let mut list = Vec::new();
        for subset in subsets() {
            for port in subset.ports.iter().flatten() {
                let addresses = subset.addresses.iter().flatten();
                list.extend(addresses.map(|address| shown(&address.ip, port.port)));
            }
        }
        let words = subsets().flat_map(|subset| subset.ports.iter().flatten());
        let first = words.filter_map(|port| port.protocol.clone()).next();
        Self {
            meta: TypeMeta::from_v1(&endpoints.metadata),
            endpoints: list,
            protocol: first.filter(|word| word != "TCP").unwrap_or_default(),
        }
    }

    fn to_v1(&self) -> v1::Endpoints {
        let mut by_port: Vec<(i32, Vec<String>)> = Vec::new();
        for endpoint in &self.endpoints {
            let (ip, port) = parts(endpoint);
            match by_port.iter_mut().find(|(known, _)| *known == port) {
                Some((_, ips)) => ips.push(ip),
                None => by_port.push((port, vec![ip])),
            }
        }
        let subsets = by_port
            .into_iter()
            .map(|(port, ips)| v1::EndpointSubset {
                addresses: Some(
                    ips.into_iter().map(|ip| v1::EndpointAddress { ip, ..Default::default() }).collect(),
                ),
                not_ready_addresses: None,
                ports: Some(vec![v1::EndpointPort {
                    port,
                    protocol: Some(protocol(&self.protocol)),
                    ..v1::EndpointPort::default()
                }]),
            })
            .collect();
        v1::Endpoints { metadata: self.meta.to_v1(&Map::new()), subsets: value::some_list(subsets) }
    }

    fn keep(&mut self, shown: &Self) {
        self.meta.keep(&shown.meta);
        if self.protocol.is_empty() {
            self.protocol.clone_from(&shown.protocol);
        }
    }
}
