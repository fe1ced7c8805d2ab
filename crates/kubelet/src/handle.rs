//! What others may see of the kubelet: the pods it runs, and the runtime they run in.
//!
//! Workers publish a view of their pod here after each change; readers (the node's HTTP server, garbage
//! collection) take an `Arc` of it and never reach into a worker. Nobody changes a pod through here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;

use crate::runtime::{ContainerId, ContainerState, Runtime, SandboxId};
use crate::volume::Mounts;

/// A pod as its worker sees it now.
#[derive(Debug, Clone)]
pub struct PodView {
    /// The pod with its newest status.
    pub pod: Arc<Pod>,
    /// Its newest sandbox.
    pub sandbox: Option<SandboxId>,
    /// All its containers the runtime still knows, newest first.
    pub containers: Vec<ContainerView>,
    /// Its volumes, while it has them.
    pub mounts: Option<Arc<Mounts>>,
    /// It is over, nothing of it runs and its volumes are gone.
    pub cleared: bool,
}

/// A container of a pod, dead ones included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerView {
    /// Its name in the pod.
    pub name: String,
    /// How many of this name came before.
    pub attempt: u32,
    /// The runtime's name for it.
    pub id: ContainerId,
    /// Where it is in its life.
    pub state: ContainerState,
    /// Where its log is.
    pub log_path: PathBuf,
}

impl PodView {
    /// The newest container of this name.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&ContainerView> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// The one before the newest.
    #[must_use]
    pub fn previous(&self, name: &str) -> Option<&ContainerView> {
        self.containers.iter().filter(|container| container.name == name).nth(1)
    }
}

/// The door to a running kubelet.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

struct Inner {
    node_name: String,
    data_dir: PathBuf,
    runtime: Arc<dyn Runtime>,
    pods: RwLock<HashMap<String, Arc<PodView>>>,
    changes: watch::Sender<u64>,
}

impl Handle {
    /// A handle without pods yet.
    #[must_use]
    pub fn new(node_name: String, data_dir: PathBuf, runtime: Arc<dyn Runtime>) -> Self {
        let (pods, changes) = (RwLock::default(), watch::Sender::new(0));
        Self { inner: Arc::new(Inner { node_name, data_dir, runtime, pods, changes }) }
    }

    /// All pods of this node.
    #[must_use]
    pub fn pods(&self) -> Vec<Arc<PodView>> {
        self.inner.pods.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// One pod by name; with a uid only that very one.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str, uid: Option<&str>) -> Option<Arc<PodView>> {
        let pods = self.inner.pods.read().unwrap_or_else(PoisonError::into_inner);
        let named = |view: &&Arc<PodView>| {
            let meta = &view.pod.metadata;
            meta.name.as_deref() == Some(name) && meta.namespace.as_deref() == Some(namespace)
        };
        match uid {
            Some(uid) => pods.get(uid).filter(named).cloned(),
            // A pod and its successor of the same name may both be here for a moment: the younger is meant.
            None => pods
                .values()
                .filter(named)
                .max_by_key(|view| view.pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
                .cloned(),
        }
    }

    pub(crate) fn by_uid(&self, uid: &str) -> Option<Arc<PodView>> {
        self.inner.pods.read().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    /// The runtime the pods run in.
    #[must_use]
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.inner.runtime
    }

    /// This node's name.
    #[must_use]
    pub fn node_name(&self) -> &str {
        &self.inner.node_name
    }

    /// Where the kubelet keeps its files.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.inner.data_dir
    }

    /// Tells of each change of any pod here.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    pub(crate) fn publish(&self, uid: &str, view: Arc<PodView>) {
        self.inner.pods.write().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), view);
        self.inner.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn forget(&self, uid: &str) {
        self.inner.pods.write().unwrap_or_else(PoisonError::into_inner).remove(uid);
        self.inner.changes.send_modify(|count| *count += 1);
    }
}
