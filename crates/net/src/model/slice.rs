//! What of an EndpointSlice matters.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1 as discovery;

use super::Protocol;

/// An address behind a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// Takes new connections.
    pub ready: bool,
    /// Would take connections, even if it is about to end.
    pub serving: bool,
    /// About to end.
    pub terminating: bool,
    /// The node it is on.
    pub node: Option<Arc<str>>,
    /// The name it has under its service.
    pub hostname: Option<Arc<str>>,
}

/// A part of a service's endpoints, all with the same ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Name, protocol, number.
    pub ports: Vec<(Arc<str>, Protocol, u16)>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

impl Slice {
    pub(super) fn of(object: &discovery::EndpointSlice) -> Self {
        let ports = object.ports.iter().flatten().filter_map(|port| {
            let number = u16::try_from(port.port?).ok()?;
            let name = port.name.as_deref().unwrap_or_default().into();
            Some((name, Protocol::of(port.protocol.as_deref()), number))
        });
        Self {
            ports: ports.collect(),
            endpoints: object.endpoints.iter().flatten().filter_map(endpoint).collect(),
        }
    }
}

/// Of several addresses only the first counts: they mean the same thing, and upstream's proxy does the same.
fn endpoint(endpoint: &discovery::Endpoint) -> Option<Endpoint> {
    let address = endpoint.addresses.first()?.parse().ok()?;
    let conditions = endpoint.conditions.as_ref();
    // Unknown means ready; whether it serves follows from that.
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    Some(Endpoint {
        address,
        ready,
        serving: conditions.and_then(|c| c.serving).unwrap_or(ready),
        terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
        node: endpoint.node_name.as_deref().map(Into::into),
        hostname: endpoint.hostname.as_deref().filter(|name| !name.is_empty()).map(Into::into),
    })
}
