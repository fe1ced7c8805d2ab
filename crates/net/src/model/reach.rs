//! One service with all that is behind it.

use std::net::IpAddr;
use std::sync::Arc;

use crate::family::Family;

use super::{Endpoint, Port, Protocol, Service, Slice};

/// A place traffic can be sent to.
pub type Target = (IpAddr, u16);

/// A service and its endpoints; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The service.
    pub service: Arc<Service>,
    /// Its slices.
    pub slices: Vec<Arc<Slice>>,
}

impl Reach {
    /// The endpoints that offer a port, with the port's number there.
    fn offering<'a>(&'a self, port: &'a Port) -> impl Iterator<Item = (&'a Endpoint, u16)> {
        self.slices.iter().flat_map(move |slice| {
            let number = slice
                .ports
                .iter()
                .find(|(name, protocol, _)| *name == port.name && *protocol == port.protocol)
                .map(|(_, _, number)| *number);
            number
                .into_iter()
                .flat_map(|number| slice.endpoints.iter().map(move |endpoint| (endpoint, number)))
        })
    }

    /// Where traffic of a family for a port goes: to ready endpoints or, if none is, to those that still serve while they
    /// end. With `on`, only to those of that node.
    pub fn targets(&self, port: &Port, family: Family, on: Option<&str>) -> Vec<Target> {
        let pick = |fit: fn(&Endpoint) -> bool| {
            let mut targets: Vec<Target> = self
                .offering(port)
                .filter(|(endpoint, _)| family.has(endpoint.address) && fit(endpoint))
                .filter(|(endpoint, _)| on.is_none_or(|node| endpoint.node.as_deref() == Some(node)))
                .map(|(endpoint, number)| (endpoint.address, number))
                .collect();
            // The same pod may stand in two slices while endpoints move between them.
            targets.sort_unstable();
            targets.dedup();
            targets
        };
        let ready = pick(|endpoint| endpoint.ready);
        if ready.is_empty() { pick(|endpoint| endpoint.serving && endpoint.terminating) } else { ready }
    }

    /// The endpoints that DNS tells of.
    pub fn published(&self) -> impl Iterator<Item = &Endpoint> {
        let all = self.service.publish_not_ready;
        self.slices.iter().flat_map(|slice| &slice.endpoints).filter(move |endpoint| all || endpoint.ready)
    }

    /// The endpoints that DNS tells of for one port, with its number there.
    pub fn published_on(&self, name: &str, protocol: Protocol) -> Vec<(&Endpoint, u16)> {
        let all = self.service.publish_not_ready;
        let mut found = Vec::new();
        for slice in &self.slices {
            for (_, _, number) in slice.ports.iter().filter(|(n, p, _)| **n == *name && *p == protocol) {
                found.extend(slice.endpoints.iter().filter(|e| all || e.ready).map(|e| (e, *number)));
            }
        }
        found
    }

    /// True if the endpoint's address is one of this node's pods.
    pub fn local_addresses(&self, node: &str) -> Vec<IpAddr> {
        let endpoints = self.slices.iter().flat_map(|slice| &slice.endpoints);
        let mut local: Vec<_> =
            endpoints.filter(|e| e.node.as_deref() == Some(node)).map(|e| e.address).collect();
        local.sort_unstable();
        local.dedup();
        local
    }
}
