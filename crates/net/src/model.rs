//! Services × EndpointSlices → who is reachable where.
//!
//! Pure, and small: of each object only what proxy and DNS need is kept (an endpoint weighs some 60 bytes, a typed
//! slice kilobytes). A change names the services it touches; nothing is recomputed for the others. The proxy and DNS
//! read the same [`Reach`], so they can't disagree. Addresses of both families are kept side by side: who wants one of
//! them asks for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;

pub mod reach;
pub mod service;
pub mod slice;
#[cfg(test)]
mod tests;

pub use reach::{Reach, Target};
pub use service::{Port, Protocol, Service};
pub use slice::{Endpoint, Slice};

/// `namespace/name` of an object.
pub type Key = Arc<str>;

/// The label that ties a slice to its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// All services and slices known.
#[derive(Debug, Default)]
pub struct Model {
    services: HashMap<Key, Arc<Service>>,
    slices: HashMap<Key, Key>,
    of: HashMap<Key, BTreeMap<Key, Arc<Slice>>>,
}

impl Model {
    /// A new or changed service; its key if that changes anything here.
    pub fn put_service(&mut self, object: &core::Service) -> Option<Key> {
        let service = Service::of(object);
        let key = service.key();
        if self.services.get(&key).is_some_and(|known| **known == service) {
            return None;
        }
        self.services.insert(Arc::clone(&key), Arc::new(service));
        Some(key)
    }

    /// A service that is gone.
    pub fn remove_service(&mut self, key: &str) -> Option<Key> {
        self.services.remove_entry(key).map(|(key, _)| key)
    }

    /// All services there are; the keys of those that differ from what was known.
    pub fn reset_services<'a>(&mut self, all: impl IntoIterator<Item = &'a core::Service>) -> Vec<Key> {
        let mut gone: std::collections::HashSet<Key> = self.services.keys().cloned().collect();
        let mut changed = Vec::new();
        for object in all {
            gone.remove(&key_of(&object.metadata));
            changed.extend(self.put_service(object));
        }
        changed.extend(gone.into_iter().filter_map(|key| self.remove_service(&key)));
        changed
    }

    /// A new or changed slice; the keys of the services it belongs or belonged to.
    pub fn put_slice(&mut self, object: &discovery::EndpointSlice) -> Vec<Key> {
        let key = key_of(&object.metadata);
        let owner = matches!(&*object.address_type, "IPv4" | "IPv6")
            .then(|| object.metadata.labels.as_ref()?.get(SERVICE_NAME))
            .flatten()
            .map(|name| join(object.metadata.namespace.as_deref().unwrap_or_default(), name));
        let Some(owner) = owner else { return self.remove_slice(&key).into_iter().collect() };
        let moved = match self.slices.get(&key) {
            Some(before) if *before != owner => self.remove_slice(&key),
            _ => None,
        };
        let slice = Slice::of(object);
        let mut changed: Vec<Key> = moved.into_iter().collect();
        let slices = self.of.entry(Arc::clone(&owner)).or_default();
        if slices.get(&key).is_none_or(|known| **known != slice) {
            slices.insert(Arc::clone(&key), Arc::new(slice));
            self.slices.insert(key, Arc::clone(&owner));
            changed.push(owner);
        }
        changed
    }

    /// A slice that is gone; the key of its service.
    pub fn remove_slice(&mut self, key: &str) -> Option<Key> {
        let owner = self.slices.remove(key)?;
        if let Some(slices) = self.of.get_mut(&owner) {
            slices.remove(key);
            if slices.is_empty() {
                self.of.remove(&owner);
            }
        }
        Some(owner)
    }

    /// All slices there are; the keys of services that are touched.
    pub fn reset_slices<'a>(
        &mut self,
        all: impl IntoIterator<Item = &'a discovery::EndpointSlice>,
    ) -> Vec<Key> {
        let mut gone: std::collections::HashSet<Key> = self.slices.keys().cloned().collect();
        let mut changed = Vec::new();
        for object in all {
            gone.remove(&key_of(&object.metadata));
            changed.extend(self.put_slice(object));
        }
        changed.extend(gone.into_iter().filter_map(|key| self.remove_slice(&key)));
        changed
    }

    /// Who is behind a service; None if there is no such service.
    pub fn reach(&self, key: &str) -> Option<Reach> {
        let service = Arc::clone(self.services.get(key)?);
        let slices = self.of.get(key).map(|slices| slices.values().cloned().collect()).unwrap_or_default();
        Some(Reach { service, slices })
    }

    /// The keys of all services.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.services.keys()
    }
}

fn join(namespace: &str, name: &str) -> Key {
    Arc::from(format!("{namespace}/{name}"))
}

pub(crate) fn key_of(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Key {
    join(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}
