//! What a worker asks of the cluster, as narrow as its questions.
//!
//! A trait of our own between workers and the API, so that they can be tested against a cluster in memory, and so that
//! a node without any API server still runs its static pods.

pub(crate) mod link;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodStatus, Secret, Service};
use k8s_openapi::api::resource::v1::ResourceClaim;

/// Why the cluster did not do or tell.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClusterError {
    /// The object is not there, or is another one of the same name.
    #[error("{0}")]
    NotFound(String),
    /// Someone else was faster.
    #[error("{0}")]
    Conflict(String),
    /// Anything else, in the server's words.
    #[error("{0}")]
    Failed(String),
}

/// What every question answers.
pub(crate) type Result<T> = std::result::Result<T, ClusterError>;

/// The cluster as a node's workers see it.
pub trait Cluster: Send + Sync + 'static {
    /// Writes a pod's status, if it still is this very pod.
    fn write_status<'a>(&'a self, pod: &'a Pod, status: &'a PodStatus) -> BoxFuture<'a, Result<()>>;
    /// Deletes this very pod at once: all its containers ended.
    fn delete_pod<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<()>>;
    /// Shows a static pod in the API.
    fn create_mirror<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<()>>;
    /// A config map, if there is one.
    fn config_map<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ConfigMap>>>;
    /// A secret, if there is one.
    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Secret>>>;
    /// What the nodes' runtimes call this runtime class.
    fn runtime_handler<'a>(&'a self, class: &'a str) -> BoxFuture<'a, Result<String>>;
    /// A claim for devices.
    fn resource_claim<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<ResourceClaim>>;
    /// The services a pod of this namespace may learn of by its environment.
    fn services<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Vec<Service>>;
}
