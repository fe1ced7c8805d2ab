//! Ports of the host that pods ask for, and when two of them get in each other's way.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::is_sidecar;

/// A port of a node: address (empty for all), protocol and number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Box<str>,
    /// The number.
    pub port: u16,
    /// The address; empty for all.
    pub address: Box<str>,
}

impl HostPort {
    /// Whether one of the two would take packets meant for the other.
    pub fn clashes_with(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address.is_empty() || other.address.is_empty() || self.address == other.address)
    }
}

/// The ports of the host that a pod needs; those of containers that run to their end before the others do not count.
pub fn of(spec: &PodSpec) -> BTreeSet<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    sidecars.chain(&spec.containers).flat_map(of_container).collect()
}

fn of_container(container: &Container) -> impl Iterator<Item = HostPort> {
    container.ports.iter().flatten().filter_map(|port| {
        let number = u16::try_from(port.host_port?).ok().filter(|number| *number > 0)?;
        let address = port.host_ip.as_deref().filter(|address| *address != "0.0.0.0").unwrap_or_default();
        let protocol = port.protocol.as_deref().filter(|protocol| !protocol.is_empty()).unwrap_or("TCP");
        Some(HostPort { protocol: protocol.into(), port: number, address: address.into() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_clashes_with_itself_and_with_all() {
        let port = |address: &str| HostPort { protocol: "TCP".into(), port: 80, address: address.into() };
        assert!(port("").clashes_with(&port("10.0.0.1")));
        assert!(port("10.0.0.1").clashes_with(&port("10.0.0.1")));
        assert!(!port("10.0.0.1").clashes_with(&port("10.0.0.2")));
        assert!(!port("").clashes_with(&HostPort { protocol: "UDP".into(), ..port("") }));
    }
}
