//! The seam between a component and the API.
//!
//! Writes always go through [`kube::Client`]; in the server's own process its transport is the server's service, so
//! authorisation, admission and conflicts are the same. Reads go through feeds: shared `Arc`s in the server's process,
//! list and watch over HTTPS elsewhere. The design page (ARCHITECTURE.md, "The seam") says why.

use std::sync::Arc;

use futures::stream::BoxStream;
use skiff_api::Object;

use crate::feed::{Delta, Feed, Topic};

mod fetched;

/// Reads inside the server's process; implemented by the API server's cache.
pub trait LocalFeeds: Send + Sync {
    /// Whether the server holds these objects itself. Those that another server behind it holds are listed and watched
    /// through the client.
    fn knows(&self, _topic: &Topic) -> bool {
        true
    }
    /// Everything on `topic`, then every change.
    fn subscribe(&self, topic: &Topic) -> BoxStream<'static, Delta<Arc<Object>>>;
}

/// A component's way to the API; cheap to clone.
#[derive(Clone)]
pub struct Link {
    client: kube::Client,
    local: Option<Arc<dyn LocalFeeds>>,
}

impl Link {
    /// A link to a server elsewhere.
    pub fn remote(client: kube::Client) -> Self {
        Self { client, local: None }
    }

    /// A link inside the server's process: `client`'s transport is the server's own service.
    pub fn local(client: kube::Client, feeds: Arc<dyn LocalFeeds>) -> Self {
        Self { client, local: Some(feeds) }
    }

    /// The client for writes, and for reads that must be fresh.
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Objects of a namespaced kind in `namespace`.
    pub fn within<K>(&self, namespace: &str) -> kube::Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        kube::Api::namespaced(self.client(), namespace)
    }

    /// Everything on `topic`, then every change; starts over by itself after a gap or a lost connection.
    pub fn feed(&self, topic: &Topic) -> Feed {
        match &self.local {
            Some(local) if local.knows(topic) => Feed::new(local.subscribe(topic)),
            _ => Feed::new(fetched::feed(self.client(), topic.clone())),
        }
    }
}
