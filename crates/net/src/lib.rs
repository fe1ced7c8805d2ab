//! Makes a service address work: model, nftables, DNS, CNI, routes.
//!
//! One model of "who is reachable where" feeds the service proxy and the cluster's DNS; the pods' own network is made
//! by a CNI plugin that is this same code under another name. All talk to the kernel goes through [`netlink`].
//! Invariant: everything here belongs to one network namespace, the one the node lives in, and can be removed again.

#![deny(unsafe_code)]

pub mod cni;
pub mod dns;
pub mod family;
pub mod follow;
pub mod hosts;
mod ledger;
pub mod model;
pub mod netlink;
pub mod netns;
pub mod node;
pub mod policy;
pub mod proxy;
pub mod routes;
pub mod sysctl;

use std::path::PathBuf;

pub use node::{CleanupOptions, Net, NetOptions, cleanup};

/// What can go wrong in a node's network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something of the operating system failed.
    #[error("{what}: {source}")]
    System {
        /// What we tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}
