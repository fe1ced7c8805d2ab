//! What of a Service matters for reaching it.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;

use super::Key;

/// How long a client stays with an endpoint, unless the service says otherwise (upstream's default).
const AFFINITY_SECONDS: u32 = 10_800;

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    pub(crate) fn of(text: Option<&str>) -> Self {
        match text {
            Some("UDP") => Self::Udp,
            Some("SCTP") => Self::Sctp,
            _ => Self::Tcp,
        }
    }

    /// Its number in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// Its name as DNS writes it after an underscore.
    pub fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name; empty if the only port has none.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port on the service's addresses.
    pub port: u16,
    /// Port on every node.
    pub node_port: Option<u16>,
}

/// A service as proxy and DNS see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Cluster addresses; empty if headless or external.
    pub addresses: Vec<IpAddr>,
    /// No address of its own: DNS answers with the endpoints'.
    pub headless: bool,
    /// Another name instead of any address.
    pub external_name: Option<Arc<str>>,
    /// Addresses outside the cluster: `externalIPs` and the load balancer's.
    pub external: Vec<IpAddr>,
    /// Ports.
    pub ports: Vec<Port>,
    /// Seconds a client stays with an endpoint; None if it doesn't.
    pub affinity: Option<u32>,
    /// Traffic from outside only goes to endpoints of the node it reaches, and keeps its source.
    pub external_local: bool,
    /// Traffic from inside only goes to endpoints of the same node.
    pub internal_local: bool,
    /// DNS answers with endpoints that aren't ready too.
    pub publish_not_ready: bool,
    /// Another program serves this service.
    pub foreign: bool,
}

/// Labels of services that the service proxy leaves alone; DNS knows them all the same.
const LEFT_ALONE: [&str; 2] = ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"];

impl Service {
    pub(super) fn of(object: &core::Service) -> Self {
        let empty = core::ServiceSpec::default();
        let spec = object.spec.as_ref().unwrap_or(&empty);
        let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
        let external = kind == "ExternalName";
        let single = spec.cluster_ip.as_deref().unwrap_or_default();
        let listed = spec.cluster_ips.as_deref().unwrap_or_default();
        let headless = !external && (single == "None" || listed.first().is_some_and(|ip| ip == "None"));
        let mut addresses: Vec<IpAddr> = listed.iter().filter_map(|ip| ip.parse().ok()).collect();
        if listed.is_empty() {
            addresses.extend(single.parse::<IpAddr>().ok());
        }
        if external {
            addresses.clear();
        }
        let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
            let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
            config
                .and_then(|client| client.timeout_seconds)
                .and_then(|seconds| u32::try_from(seconds).ok())
                .unwrap_or(AFFINITY_SECONDS)
        });
        let local = |policy: &Option<String>| policy.as_deref() == Some("Local");
        Self {
            namespace: object.metadata.namespace.as_deref().unwrap_or_default().into(),
            name: object.metadata.name.as_deref().unwrap_or_default().into(),
            addresses,
            headless,
            external_name: external.then(|| spec.external_name.as_deref().unwrap_or_default().into()),
            external: outside(object, spec, kind),
            ports: spec.ports.iter().flatten().filter_map(port).collect(),
            affinity,
            external_local: local(&spec.external_traffic_policy),
            internal_local: local(&spec.internal_traffic_policy),
            publish_not_ready: spec.publish_not_ready_addresses == Some(true),
            foreign: object
                .metadata
                .labels
                .as_ref()
                .is_some_and(|labels| LEFT_ALONE.iter().any(|label| labels.contains_key(*label))),
        }
    }

    /// `namespace/name`.
    pub fn key(&self) -> Key {
        super::join(&self.namespace, &self.name)
    }
}

fn outside(object: &core::Service, spec: &core::ServiceSpec, kind: &str) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = spec.external_ips.iter().flatten().filter_map(|ip| ip.parse().ok()).collect();
    if kind == "LoadBalancer" {
        let balancer = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = balancer.into_iter().flat_map(|balancer| balancer.ingress.iter().flatten());
        // A balancer in proxy mode opens connections of its own; its address is not ours to serve.
        let vip = ingress.filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
        all.extend(vip.filter_map(|ingress| ingress.ip.as_deref()?.parse::<IpAddr>().ok()));
    }
    all.sort();
    all.dedup();
    all
}

fn port(port: &core::ServicePort) -> Option<Port> {
    Some(Port {
        name: port.name.as_deref().unwrap_or_default().into(),
        protocol: Protocol::of(port.protocol.as_deref()),
        port: u16::try_from(port.port).ok()?,
        node_port: port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0),
    })
}
