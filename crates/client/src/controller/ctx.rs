//! What a reconciler works with: the caches to read, and writes that are remembered.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use parking_lot::Mutex;
use serde_json::Value;
use skiff_api::{Object, Readable, Resource};
use skiff_base::Clock;

use super::{Caches, Key};
use crate::cache::{self, BY_CONTROLLER, Cache, Written};
use crate::events::{EventKind, Recorder};
use crate::link::Link;
use crate::write::{self, Basis, Patch, Place, Result};

/// A write and the kind it was made to: group, plural.
pub(super) type Writes = Arc<Mutex<Vec<((Arc<str>, Arc<str>), Written)>>>;

/// A reconciler's hands; made for one run of one key.
pub struct Ctx<S> {
    pub(super) link: Link,
    pub(super) caches: Caches,
    pub(super) settings: Arc<S>,
    pub(super) clock: Clock,
    pub(super) recorder: Recorder,
    pub(super) writes: Writes,
}

impl<S> Clone for Ctx<S> {
    fn clone(&self) -> Self {
        Self {
            link: self.link.clone(),
            caches: self.caches.clone(),
            settings: Arc::clone(&self.settings),
            clock: self.clock.clone(),
            recorder: self.recorder.clone(),
            writes: Arc::clone(&self.writes),
        }
    }
}

impl<S> Ctx<S> {
    /// What all controllers of the table are given.
    pub fn settings(&self) -> &S {
        &self.settings
    }

    /// The controller's own way to the API.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// The shared caches.
    pub fn caches(&self) -> &Caches {
        &self.caches
    }

    /// The cache of a kind.
    pub fn cache<K: Readable>(&self) -> &Cache {
        self.caches.of::<K>()
    }

    /// One object, decoded.
    pub fn get<K: Readable>(&self, key: &Key) -> Option<Arc<K>> {
        self.caches.get(key)
    }

    /// The objects of kind `K` in a namespace, decoded.
    pub fn within<K: Readable>(&self, namespace: &str) -> Vec<Arc<K>> {
        decoded(&self.cache::<K>().within(namespace))
    }

    /// All objects of kind `K`, decoded.
    pub fn all<K: Readable>(&self) -> Vec<Arc<K>> {
        decoded(&self.cache::<K>().list())
    }

    /// The objects of kind `K` that the owner with this uid manages, decoded; the row must ask for [`BY_CONTROLLER`].
    pub fn managed_by<K: Readable>(&self, uid: &str) -> Vec<Arc<K>> {
        decoded(&self.cache::<K>().by(&BY_CONTROLLER, uid))
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The time of day in whole seconds, as conditions hold it.
    pub fn clock_seconds(&self) -> Timestamp {
        self.clock.now_seconds()
    }

    /// Says what happened to an object.
    pub fn event(&self, about: ObjectReference, kind: EventKind, reason: &str, message: String) {
        self.recorder.record(about, kind, reason, message);
    }

    /// Creates an object.
    ///
    /// # Errors
    /// What the server refused, or a failure on the way.
    pub async fn create<K: Readable>(&self, object: &K) -> Result<K> {
        let made = write::create(&self.link, object).await?;
        self.wrote(&made);
        Ok(made)
    }

    /// Replaces an object; its `resourceVersion` is the precondition.
    ///
    /// # Errors
    /// What the server refused, or a failure on the way.
    pub async fn replace<K: Readable>(&self, object: &K) -> Result<K> {
        let made = write::replace(&self.link, &Place::of(object), object).await?;
        self.wrote(&made);
        Ok(made)
    }

    /// Patches an object.
    ///
    /// # Errors
    /// What the server refused, or a failure on the way.
    pub async fn patch<K: Readable>(&self, object: &K, kind: Patch, body: &Value) -> Result<K> {
        let made = write::patch(&self.link, &Place::of(object), kind, body).await?;
        self.wrote(&made);
        Ok(made)
    }

    /// Patches the status of an object.
    ///
    /// # Errors
    /// What the server refused, or a failure on the way.
    pub async fn patch_part<K: Readable>(
        &self,
        object: &K,
        part: &str,
        kind: Patch,
        body: &Value,
    ) -> Result<K> {
        let made = write::patch(&self.link, &Place::of(object).part(part), kind, body).await?;
        self.wrote(&made);
        Ok(made)
    }

    /// Makes the status what `new` says, if it is not so already.
    ///
    /// # Errors
    /// What the server refused, or a failure on the way; a conflict if somebody else wrote since `old` was read.
    pub async fn patch_status<K: Readable>(&self, old: &K, new: &K) -> Result<()> {
        if let Some(made) = write::patch_status(&self.link, old, new, Basis::Revision).await? {
            self.wrote(&made);
        }
        Ok(())
    }

    /// Deletes an object if it still is this one; one that is gone already is fine.
    ///
    /// # Errors
    /// What the server refused, or a failure on the way.
    pub async fn delete<K: Readable>(&self, object: &K, mut options: DeleteOptions) -> Result<()> {
        let meta = object.metadata();
        let uid = meta.uid.as_deref().unwrap_or_default();
        options.preconditions.get_or_insert_with(Default::default).uid = Some(uid.to_owned());
        match write::delete(&self.link, &Place::of(object), &options).await {
            Ok(_) => {}
            Err(error) if write::is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
        let key = Key::new(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default());
        self.remember::<K>(Written::Deleted(key.as_str().into(), uid.into()));
        Ok(())
    }

    fn wrote<K: Readable>(&self, object: &K) {
        let meta = object.metadata();
        let key = Key::new(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default());
        if let Some(revision) = meta.resource_version.as_deref().and_then(|text| text.parse().ok()) {
            self.remember::<K>(Written::At(key.as_str().into(), revision));
        }
    }

    fn remember<K: Readable>(&self, write: Written) {
        let Resource { group, plural, .. } = Resource::of::<K>();
        self.writes.lock().push(((group, plural), write));
    }
}

fn decoded<K: Readable>(objects: &[Arc<Object>]) -> Vec<Arc<K>> {
    objects.iter().filter_map(|object| cache::decode(object)).collect()
}
