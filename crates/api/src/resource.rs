//! Which resource a request or an object speaks of: group, version, plural, kind and scope.
//!
//! For built-in kinds it comes from k8s-openapi's constants; for custom resources from their definition. All
//! strings are shared (`Arc<str>`), so that a `Resource` is cheap to clone and to hash.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope, SubResourceScope};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::decode::Legible;

/// A built-in kind that has metadata and can be read from and written to the API.
pub trait Readable:
    k8s_openapi::Resource<Scope: Scoped>
    + k8s_openapi::Metadata<Ty = ObjectMeta>
    + Serialize
    + DeserializeOwned
    + Legible
    + Clone
    + fmt::Debug
    + Send
    + Sync
    + 'static
{
}

impl<K> Readable for K where
    K: k8s_openapi::Resource<Scope: Scoped>
        + k8s_openapi::Metadata<Ty = ObjectMeta>
        + Serialize
        + DeserializeOwned
        + Legible
        + Clone
        + fmt::Debug
        + Send
        + Sync
        + 'static
{
}

/// Whether objects of a k8s-openapi scope live in a namespace.
pub trait Scoped {
    /// True for namespaced kinds.
    const NAMESPACED: bool;
}

impl Scoped for ClusterResourceScope {
    const NAMESPACED: bool = false;
}
impl Scoped for NamespaceResourceScope {
    const NAMESPACED: bool = true;
}
impl Scoped for SubResourceScope {
    const NAMESPACED: bool = true;
}

/// A kind as the API addresses it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: Arc<str>,
    /// Version within the group, such as `v1`.
    pub version: Arc<str>,
    /// Plural, lower case, as it stands in paths: `pods`.
    pub plural: Arc<str>,
    /// Kind as it stands in objects: `Pod`.
    pub kind: Arc<str>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
}

impl Resource {
    /// The resource of a built-in kind.
    pub fn of<K: Readable>() -> Self {
        Self {
            group: K::GROUP.into(),
            version: K::VERSION.into(),
            plural: K::URL_PATH_SEGMENT.into(),
            kind: K::KIND.into(),
            namespaced: <K::Scope as Scoped>::NAMESPACED,
        }
    }

    /// `v1` or `apps/v1`, as it stands in an object's `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `pods` or `deployments.apps`: the resource as error messages name it.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_string()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The store's table: `pods` or `apps/deployments`. Versions of one kind share a table.
    pub fn table(&self) -> Arc<str> {
        if self.group.is_empty() {
            Arc::clone(&self.plural)
        } else {
            format!("{}/{}", self.group, self.plural).into()
        }
    }

    /// The path of the collection, in a namespace or over all of them: `/api/v1/namespaces/default/pods`.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        match namespace {
            Some(namespace) if self.namespaced => format!("{root}/namespaces/{namespace}/{}", self.plural),
            _ => format!("{root}/{}", self.plural),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Node, Pod};
    use k8s_openapi::api::discovery::v1::EndpointSlice;

    use super::*;

    #[test]
    fn names_and_paths_follow_group_and_scope() {
        let pods = Resource::of::<Pod>();
        assert_eq!(pods.path(Some("blue")), "/api/v1/namespaces/blue/pods");
        assert_eq!(pods.path(None), "/api/v1/pods");
        assert_eq!(&*pods.table(), "pods");
        assert!(!Resource::of::<Node>().namespaced);
        let slices = Resource::of::<EndpointSlice>();
        assert_eq!(slices.api_version(), "discovery.k8s.io/v1");
        assert_eq!(slices.qualified(), "endpointslices.discovery.k8s.io");
        assert_eq!(&*slices.table(), "discovery.k8s.io/endpointslices");
    }
}
