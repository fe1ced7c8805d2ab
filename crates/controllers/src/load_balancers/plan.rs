//! At which nodes' addresses a service is served; pure.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// A node with this label serves nobody from outside.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// A protocol and a port, as `TCP` and 80.
type Port<'a> = (&'a str, i32);

/// A node as seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    name: String,
    /// Where its kubelet listens.
    kubelet: Option<i32>,
    /// Where it is reached, if it serves at all: its external addresses, where it has none its internal ones.
    addresses: Vec<IpAddr>,
}

impl Site {
    pub(super) fn of(node: &Node) -> Self {
        let name = node.metadata.name.clone().unwrap_or_default();
        let status = node.status.clone().unwrap_or_default();
        let kubelet =
            status.daemon_endpoints.and_then(|it| it.kubelet_endpoint).map(|endpoint| endpoint.port);
        let ready =
            status.conditions.iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
        let excluded = node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(EXCLUDED));
        if !ready || excluded || node.metadata.deletion_timestamp.is_some() {
            return Self { name, kubelet, addresses: Vec::new() };
        }
        let of = |kind: &str| -> Vec<IpAddr> {
            let addresses = status.addresses.iter().flatten().filter(|one| one.type_ == kind);
            addresses.filter_map(|one| one.address.parse().ok()).collect()
        };
        let external = of("ExternalIP");
        Self { name, kubelet, addresses: if external.is_empty() { of("InternalIP") } else { external } }
    }
}

/// Whether the service wants a balancer, and no particular one.
pub(super) fn is_ours(service: &Service) -> bool {
    let Some(spec) = &service.spec else { return false };
    spec.type_.as_deref() == Some("LoadBalancer")
        && spec.load_balancer_class.is_none()
        && service.metadata.deletion_timestamp.is_none()
}

/// What is around a service.
#[derive(Debug, Default)]
pub(super) struct Here {
    /// All services that are ours, this one too.
    pub(super) rivals: Vec<Arc<Service>>,
    pub(super) sites: Vec<Site>,
    /// The service's slices.
    pub(super) own: Vec<Arc<EndpointSlice>>,
    /// Where the API servers are.
    pub(super) servers: Vec<Arc<EndpointSlice>>,
}

impl Here {
    /// The addresses at which the service is served, or why there are none.
    pub(super) fn addresses(&self, service: &Service) -> Result<Vec<String>, String> {
        let empty = ServiceSpec::default();
        let spec = service.spec.as_ref().unwrap_or(&empty);
        if spec.load_balancer_source_ranges.as_ref().is_some_and(|ranges| !ranges.is_empty()) {
            return Err("loadBalancerSourceRanges are not supported by the nodes' proxies".to_owned());
        }
        let wanted: HashSet<Port<'_>> = ports(service).collect();
        self.nodes_own(&wanted)?;
        self.taken(service, &wanted)?;
        let families = spec.ip_families.as_deref().unwrap_or_default();
        let of_family =
            |address: &&IpAddr| families.iter().any(|family| (family == "IPv6") == address.is_ipv6());
        let near = (spec.external_traffic_policy.as_deref() == Some("Local")).then(|| nodes(&self.own));
        let serving =
            self.sites.iter().filter(|site| near.as_ref().is_none_or(|near| near.contains(&*site.name)));
        let addresses: BTreeSet<&IpAddr> =
            serving.flat_map(|site| site.addresses.iter().filter(of_family)).collect();
        Ok(addresses.into_iter().map(ToString::to_string).collect())
    }

    /// The service would answer in the place of kubelets or API servers, and nobody could reach these any more.
    fn nodes_own(&self, wanted: &HashSet<Port<'_>>) -> Result<(), String> {
        let servers = self.servers.iter().flat_map(|slice| slice.ports.iter().flatten());
        let mut own =
            servers.filter_map(|port| port.port).chain(self.sites.iter().filter_map(|site| site.kubelet));
        let taken = own.find(|port| wanted.contains(&("TCP", *port)));
        taken.map_or(Ok(()), |port| Err(format!("port {port}/TCP is the nodes' own")))
    }

    /// Who came first has the port.
    fn taken(&self, service: &Service, wanted: &HashSet<Port<'_>>) -> Result<(), String> {
        let age = |it: &Service| (it.metadata.creation_timestamp.clone(), it.metadata.uid.clone());
        for rival in self.rivals.iter().filter(|rival| age(rival) < age(service)) {
            if let Some((protocol, port)) = ports(rival).find(|port| wanted.contains(port)) {
                let of = |part: &Option<String>| part.clone().unwrap_or_default();
                let (namespace, name) = (of(&rival.metadata.namespace), of(&rival.metadata.name));
                return Err(format!("port {port}/{protocol} is taken by service {namespace}/{name}"));
            }
        }
        Ok(())
    }
}

fn ports(service: &Service) -> impl Iterator<Item = Port<'_>> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports.map(|port: &ServicePort| (port.protocol.as_deref().unwrap_or("TCP"), port.port))
}

/// Where endpoints are that serve.
fn nodes(slices: &[Arc<EndpointSlice>]) -> HashSet<&str> {
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    let ready =
        endpoints.filter(|endpoint| endpoint.conditions.as_ref().and_then(|it| it.ready).unwrap_or(true));
    ready.filter_map(|endpoint| endpoint.node_name.as_deref()).collect()
}

#[cfg(test)]
mod tests;
