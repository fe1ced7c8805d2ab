//! Where things lie in the data directory. Nothing of Skiff lies elsewhere but network namespaces and sockets.

use std::path::{Path, PathBuf};

/// The data directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Certificates of the authority, the server and its components.
    pub(crate) fn pki(&self) -> PathBuf {
        self.root.join("server/pki")
    }

    /// The store.
    pub(crate) fn store(&self) -> PathBuf {
        self.root.join("server/state.redb")
    }

    /// Which resources are ciphertext in the store, and their keys.
    pub(crate) fn encryption(&self) -> PathBuf {
        self.root.join("server/encryption.yaml")
    }

    /// What runs: see [`crate::state`].
    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("skiff.json")
    }

    /// What a detached Skiff says.
    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("skiff.log")
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    /// All nodes of this machine.
    pub(crate) fn nodes(&self) -> PathBuf {
        self.root.join("nodes")
    }

    /// Everything of one node: containerd, pods, network, certificates.
    pub(crate) fn node(&self, name: &str) -> PathBuf {
        self.nodes().join(name)
    }
}
