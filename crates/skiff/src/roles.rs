//! What a process can be: the control plane, a node, or both. The parts are wired here and nowhere else.

pub(crate) mod control_plane;
pub(crate) mod node;

use anyhow::Context;
use skiff_client::{Link, Remote};

use crate::kubeconfig::Access;

/// A link to a server elsewhere.
pub(crate) fn remote(access: &Access) -> anyhow::Result<Link> {
    let server = access.server.parse().with_context(|| format!("{} is not a URL", access.server))?;
    let remote = Remote { server, ca_pem: access.ca_pem.clone(), identity: access.identity.clone() };
    remote.link().context("use the kubeconfig's certificates")
}
