//! One immutable revision of an object: decoded metadata, its JSON, and the typed form while somebody holds it.
//!
//! A typed Pod weighs some 23 KB, its JSON 1 to 5 KB. So the JSON is what is kept; the typed form is remembered
//! only weakly: everyone who is handed the same event shares one decode, and it is gone when the last of them
//! lets go. Reading never encodes: the bytes are what GET, LIST and WATCH send.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use serde::Deserialize;

use crate::meta::Meta;
use crate::resource::Readable;

/// One revision of an object of any kind.
pub struct Object {
    meta: Meta,
    bytes: Bytes,
    typed: Mutex<Option<Weak<dyn Any + Send + Sync>>>,
    facts: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// What is asked of every object of a kind, again and again: small, read once and kept with the object.
pub trait Facts: Default + Send + Sync + 'static {
    /// The kind it is about.
    type Of: Readable;
    /// From the typed form, where somebody has it.
    fn of(typed: &Self::Of) -> Self;
    /// From the JSON, of which no more is read than is needed; the same as [`Facts::of`].
    ///
    /// # Errors
    /// If the JSON does not fit.
    fn read(json: &[u8]) -> serde_json::Result<Self>;
}

/// The bytes are not the JSON of the kind asked for.
#[derive(Debug, thiserror::Error)]
#[error("decode {kind} {key}")]
pub struct DecodeError {
    kind: &'static str,
    key: Arc<str>,
    source: serde_json::Error,
}

impl DecodeError {
    /// The JSON of `object` is not what its kind, which no Rust type stands for, ought to be.
    pub fn untyped(object: &Object, source: serde_json::Error) -> Self {
        Self { kind: "custom resource", key: object.meta.key(), source }
    }
}

impl Object {
    /// An object from its stored JSON; only the metadata is decoded.
    ///
    /// # Errors
    /// If the bytes are not a JSON object with well-formed metadata.
    pub fn parse(bytes: Bytes) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(default)]
            metadata: Meta,
        }
        let head: Head = serde_json::from_slice(&bytes)?;
        Ok(Self::new(head.metadata, bytes))
    }

    /// An object whose metadata is already decoded; `bytes` must be the JSON of the same revision.
    pub fn new(meta: Meta, bytes: Bytes) -> Self {
        Self { meta, bytes, typed: Mutex::new(None), facts: OnceLock::new() }
    }

    /// As [`Object::new`], remembering (weakly) the typed form that was just written.
    pub fn with_typed<K: Readable>(meta: Meta, bytes: Bytes, typed: &Arc<K>) -> Self {
        let weak: Weak<dyn Any + Send + Sync> = Arc::downgrade(typed) as Weak<dyn Any + Send + Sync>;
        Self { typed: Mutex::new(Some(weak)), ..Self::new(meta, bytes) }
    }

    /// The decoded part of the metadata.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The object's JSON, in its storage version, `resourceVersion` included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The typed form; shared with every other holder of it, else decoded now.
    ///
    /// # Errors
    /// If the JSON does not fit `K`.
    pub fn decode<K: Readable>(&self) -> Result<Arc<K>, DecodeError> {
        let mut typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held(typed.as_ref()) {
            return Ok(held);
        }
        let fresh: Arc<K> =
            Arc::new(crate::decode::from_slice(&self.bytes).map_err(|source| DecodeError {
                kind: K::KIND,
                key: self.meta.key(),
                source,
            })?);
        *typed = Some(Arc::downgrade(&fresh) as Weak<dyn Any + Send + Sync>);
        Ok(fresh)
    }

    /// The facts of its kind, of which there is one type; empty ones if the JSON does not fit.
    ///
    /// # Panics
    /// If asked for facts of two types.
    pub fn facts<F: Facts>(&self) -> &F {
        let make = || {
            let typed = held::<F::Of>(self.typed.lock().unwrap_or_else(PoisonError::into_inner).as_ref());
            let facts = match typed {
                Some(typed) => F::of(&typed),
                None => F::read(&self.bytes).unwrap_or_default(),
            };
            Box::new(facts) as Box<dyn Any + Send + Sync>
        };
        self.facts.get_or_init(make).downcast_ref().expect("a kind has one type of facts")
    }

    /// The untyped form, decoded now.
    ///
    /// # Errors
    /// If the bytes are not JSON.
    pub fn value(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_slice(&self.bytes)
    }
}

fn held<K: Readable>(typed: Option<&Weak<dyn Any + Send + Sync>>) -> Option<Arc<K>> {
    typed.and_then(Weak::upgrade).and_then(|any| any.downcast::<K>().ok())
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({} @{})", self.meta.key(), self.meta.revision)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    const TEXT: &str = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"b","uid":"u",
        "resourceVersion":"7","labels":{"x":"y"},"creationTimestamp":"2026-11-22T10:00:00Z"},"data":{"k":"v"}}"#;

    #[test]
    fn holders_of_one_revision_share_one_decode() {
        let object = Object::parse(Bytes::from_static(TEXT.as_bytes())).unwrap();
        assert_eq!((object.meta().revision, &*object.meta().key()), (7, "b/a"));
        let first = object.decode::<ConfigMap>().unwrap();
        let second = object.decode::<ConfigMap>().unwrap();
        assert!(Arc::ptr_eq(&first, &second));
    }
}
