//! Between the form that is stored and the version that is served, where these are two.
//!
//! The registry, drafts and answers know the served version only; objects cross this border on their way out of the
//! store and into it. What needs no conversion is passed on as it is, bytes and all.
//!
//! A built-in kind with a second served version is a file and a row like any other, whose row names how it converts:
//!
//! ```ignore
//! static CONVERSION: Between<v2::HorizontalPodAutoscaler, v1::HorizontalPodAutoscaler> =
//!     Between { served: to_v1, stored: to_v2 };
//! pub(crate) const KIND: Row = Row { converts: Some(&CONVERSION), ..row::<v1::HorizontalPodAutoscaler>() };
//! ```
//!
//! Both functions must keep all metadata, and one undo the other; what one version cannot say goes into annotations.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, OptionFuture, ready};
use serde::Serialize;
use serde_json::Value;
use skiff_api::object::DecodeError;
use skiff_api::{ApiError, Object, Readable, Resource};
use skiff_store::{Event, Snapshot};

use crate::catalog::Entry;
use crate::kinds::Frozen;
use crate::stored::{Change, Stored, restamped};

/// How objects of a kind get from one version to another.
pub trait Conversion: Send + Sync {
    /// The table of the stored kind, where it is not the served one's own.
    fn table(&self) -> Option<Arc<str>> {
        None
    }
    /// True if objects of the served version are stored as they are.
    fn stores_as_is(&self) -> bool {
        false
    }
    /// True if the stored bytes are what is served.
    fn is_served(&self, stored: &Object) -> bool;
    /// Stored objects in the served version, in the same order, with their revisions.
    fn serve(&self, stored: Vec<Arc<Object>>) -> BoxFuture<'_, Result<Vec<Object>, ApiError>>;
    /// The JSON to store for an object of the served version.
    fn store(&self, served: Bytes) -> BoxFuture<'_, Result<Bytes, ApiError>>;
}

/// The conversion between two Rust types.
pub struct Between<S: 'static, K: 'static> {
    /// Makes the served version from the stored one.
    pub served: fn(S) -> K,
    /// Makes the stored version from the served one.
    pub stored: fn(K) -> S,
}

fn json(object: &impl Serialize) -> Result<Bytes, ApiError> {
    serde_json::to_vec(object).map(Bytes::from).map_err(ApiError::internal)
}

impl<S: Readable, K: Readable> Between<S, K> {
    fn one(&self, stored: &Object) -> Result<Object, ApiError> {
        let read = skiff_api::decode::from_slice::<S>(stored.bytes());
        let typed = read.map_err(|error| ApiError::internal(DecodeError::of(S::KIND, stored, error)))?;
        let bytes = json(&(self.served)(typed))?;
        Object::parse(bytes).map_err(ApiError::internal)
    }
}

impl<S: Readable, K: Readable> Conversion for Between<S, K> {
    fn table(&self) -> Option<Arc<str>> {
        Some(Resource::of::<S>().table())
    }

    fn is_served(&self, _stored: &Object) -> bool {
        false
    }

    fn serve(&self, stored: Vec<Arc<Object>>) -> BoxFuture<'_, Result<Vec<Object>, ApiError>> {
        Box::pin(ready(stored.iter().map(|object| self.one(object)).collect()))
    }

    fn store(&self, served: Bytes) -> BoxFuture<'_, Result<Bytes, ApiError>> {
        let typed = skiff_api::decode::from_slice::<K>(&served).map_err(ApiError::internal);
        Box::pin(ready(typed.and_then(|typed| json(&(self.stored)(typed)))))
    }
}

impl Entry {
    /// Stored objects as this version serves them.
    ///
    /// # Errors
    /// If they cannot be converted.
    pub(crate) async fn served(&self, items: Vec<Arc<Stored>>) -> Result<Vec<Arc<Stored>>, ApiError> {
        let Some(conversion) = &self.conversion else { return Ok(items) };
        let other = |stored: &&Arc<Stored>| !conversion.is_served(stored.object());
        let convert: Vec<Arc<Object>> =
            items.iter().filter(other).map(|stored| Arc::clone(stored.object())).collect();
        if convert.is_empty() {
            return Ok(items);
        }
        let mut converted = conversion.serve(convert).await?.into_iter();
        let served = |stored: Arc<Stored>| {
            if conversion.is_served(stored.object()) {
                return Ok(stored);
            }
            let object =
                converted.next().ok_or_else(|| ApiError::internal("an object was lost in conversion"))?;
            Ok(Arc::new(Stored::of(object)))
        };
        items.into_iter().map(served).collect()
    }

    /// As [`Self::served`], for one.
    pub(crate) async fn served_one(&self, stored: Arc<Stored>) -> Result<Arc<Stored>, ApiError> {
        if self.conversion.is_none() {
            return Ok(stored);
        }
        let converted = self.served(vec![stored]).await?.pop();
        converted.ok_or_else(|| ApiError::internal("an object was lost in conversion"))
    }

    /// What is selected by may differ between versions: then everything below `prefix` is converted first.
    ///
    /// # Errors
    /// If an object cannot be converted.
    pub(crate) async fn served_snapshot(
        &self,
        snapshot: &Snapshot<Stored>,
        prefix: &str,
    ) -> Result<Snapshot<Stored>, ApiError> {
        let (keys, items): (Vec<_>, Vec<_>) =
            snapshot.beginning(prefix).map(|(key, stored)| (Arc::clone(key), Arc::clone(stored))).unzip();
        let objects = keys.into_iter().zip(self.served(items).await?).collect();
        Ok(Snapshot { revision: snapshot.revision, objects })
    }

    /// True if watchers of this version see an event only after [conversion](Self::served_event).
    pub(crate) fn is_foreign(&self, event: &Event<Stored>) -> bool {
        let Some(conversion) = &self.conversion else { return false };
        let mut states = std::iter::once(&event.object).chain(&event.previous);
        states.any(|stored| !conversion.is_served(stored.object()))
    }

    /// An event as watchers of this version see it. A state is converted once, whatever the number of watchers.
    ///
    /// # Errors
    /// If an object cannot be converted.
    pub(crate) async fn served_event(&self, event: Event<Stored>) -> Result<Event<Stored>, ApiError> {
        let Event { revision, key, object, previous, deleted } = event;
        let previous = OptionFuture::from(previous.map(|stored| self.served_to_all(stored)));
        let (object, previous) = tokio::join!(self.served_to_all(object), previous);
        Ok(Event { revision, key, object: object?, previous: previous.transpose()?, deleted })
    }

    async fn served_to_all(&self, stored: Arc<Stored>) -> Result<Arc<Stored>, ApiError> {
        if self.conversion.as_ref().is_none_or(|conversion| conversion.is_served(stored.object())) {
            return Ok(stored);
        }
        let (revision, size) = (stored.object().meta().revision, stored.object().bytes().len());
        let slot = self.converted.slot(revision, size);
        slot.get_or_try_init(|| self.served_one(stored)).await.cloned()
    }
}

impl Entry {
    /// True if `other` is another version of the same kind.
    pub(crate) fn is_kin_of(&self, other: &Entry) -> bool {
        self.table == other.table && self.resource != other.resource
    }

    /// An object of this version as another version has it; nothing stays nothing.
    ///
    /// # Errors
    /// If it cannot be converted.
    pub(crate) async fn as_version(&self, other: &Entry, object: &Value) -> Result<Value, ApiError> {
        if object.is_null() {
            return Ok(Value::Null);
        }
        let bytes = json(object)?;
        let stored = match &self.conversion {
            Some(conversion) if !conversion.stores_as_is() => conversion.store(bytes).await?,
            _ => bytes,
        };
        let stored = Object::parse(stored).map_err(ApiError::internal)?;
        let served = other.served_one(Arc::new(Stored::of(stored))).await?;
        served.object().value().map_err(ApiError::internal)
    }
}

/// An object in its stored version, which only lacks its revision; it carries another one meanwhile.
pub(crate) struct Converted(pub(crate) Object);

impl Frozen for Converted {
    fn same_as(&self, stored: &Object) -> bool {
        restamped(&self.0, stored.meta().revision, Change::Modified).object().bytes() == stored.bytes()
    }

    fn size(&self) -> usize {
        self.0.bytes().len()
    }

    fn stamp(self: Box<Self>, revision: u64, change: Change) -> (Stored, Arc<dyn Any + Send + Sync>) {
        (restamped(&self.0, revision, change), Arc::new(()))
    }
}

impl Entry {
    /// What is to be stored for an encoded object of this version.
    ///
    /// # Errors
    /// If it cannot be converted.
    pub(crate) async fn to_store(&self, frozen: Box<dyn Frozen>) -> Result<Box<dyn Frozen>, ApiError> {
        match &self.conversion {
            Some(conversion) if !conversion.stores_as_is() => {
                let (served, _) = frozen.stamp(0, Change::Modified);
                let bytes = conversion.store(served.object().bytes().clone()).await?;
                Ok(Box::new(Converted(Object::parse(bytes).map_err(ApiError::internal)?)))
            }
            _ => Ok(frozen),
        }
    }
}
