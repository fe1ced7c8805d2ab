//! One immutable revision of an object: decoded metadata, its JSON, and the typed form while somebody holds it.
//!
//! A typed Pod weighs some 23 KB, its JSON 1 to 5 KB. So the JSON is what is kept; the typed form is remembered
//! only weakly: everyone who is handed the same event shares one decode, and it is gone when the last of them
//! lets go. Reading never encodes: the bytes are what GET, LIST and WATCH send.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use serde::Deserialize;

use crate::meta::Meta;
use crate::resource::Readable;

mod text;

/// One revision of an object of any kind.
pub struct Object {
    meta: Meta,
    bytes: Bytes,
    typed: Mutex<Typed>,
    facts: OnceLock<Box<dyn Any + Send + Sync>>,
    /// Where the text of the metadata begins and ends.
    span: OnceLock<Range<usize>>,
}

/// The typed form, while somebody holds it.
#[derive(Default)]
struct Typed {
    held: Option<Weak<dyn Any + Send + Sync>>,
    /// Whether it says who owns which field.
    whole: bool,
}

/// What is asked of every object of a kind, again and again: small, read once and kept with the object.
pub trait Facts: Default + Send + Sync + 'static {
    /// From the JSON, of which no more is read than is needed.
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
        Self::of("custom resource", object, source)
    }

    /// The JSON of `object` is not what its kind ought to be.
    pub fn of(kind: &'static str, object: &Object, source: serde_json::Error) -> Self {
        Self { kind, key: object.meta.key(), source }
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
        Self { meta, bytes, typed: Mutex::default(), facts: OnceLock::new(), span: OnceLock::new() }
    }

    /// As [`Object::new`], remembering (weakly) the typed form that was just written.
    pub fn with_typed<K: Readable>(meta: Meta, bytes: Bytes, typed: &Arc<K>) -> Self {
        let weak: Weak<dyn Any + Send + Sync> = Arc::downgrade(typed) as Weak<dyn Any + Send + Sync>;
        Self { typed: Mutex::new(Typed { held: Some(weak), whole: true }), ..Self::new(meta, bytes) }
    }

    /// The decoded part of the metadata.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The object's JSON, in its storage version, `resourceVersion` included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The text of the metadata, a part of the bytes that is found once.
    ///
    /// # Errors
    /// If the bytes are not a JSON object with metadata.
    pub fn metadata(&self) -> Result<&[u8], serde_json::Error> {
        Ok(&self.bytes[self.span()?])
    }

    /// The JSON with its metadata left empty: a copy costs far less than to read over the owners of all fields.
    ///
    /// # Errors
    /// As [`Object::metadata`].
    pub fn without_metadata(&self) -> Result<Vec<u8>, serde_json::Error> {
        let span = self.span()?;
        Ok([&self.bytes[..span.start], b"{}", &self.bytes[span.end..]].concat())
    }

    fn span(&self) -> Result<Range<usize>, serde_json::Error> {
        let span = match self.span.get() {
            Some(span) => span,
            None => {
                let text = text::metadata(&self.bytes)?;
                let begin = text.as_ptr().addr() - self.bytes.as_ptr().addr();
                self.span.get_or_init(|| begin..begin + text.len())
            }
        };
        Ok(span.clone())
    }

    /// The typed form; shared with every other holder of it, else decoded now. Who owns which field it need not say.
    ///
    /// # Errors
    /// If the JSON does not fit `K`.
    pub fn decode<K: Readable>(&self) -> Result<Arc<K>, DecodeError> {
        self.typed(false)
    }

    /// The typed form with `metadata.managedFields`, to be written again.
    ///
    /// # Errors
    /// If the JSON does not fit `K`.
    pub fn decode_whole<K: Readable>(&self) -> Result<Arc<K>, DecodeError> {
        self.typed(true)
    }

    fn typed<K: Readable>(&self, whole: bool) -> Result<Arc<K>, DecodeError> {
        let mut typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = typed.held().filter(|_| typed.whole || !whole) {
            return Ok(held);
        }
        let read = if whole { crate::decode::from_slice } else { crate::decode::bare };
        let fresh: Arc<K> =
            Arc::new(read(&self.bytes).map_err(|source| DecodeError::of(K::KIND, self, source))?);
        typed.held = Some(Arc::downgrade(&fresh) as Weak<dyn Any + Send + Sync>);
        typed.whole = whole;
        Ok(fresh)
    }

    /// The facts of its kind, of which there is one type; empty ones if the JSON does not fit.
    ///
    /// # Panics
    /// If asked for facts of two types.
    pub fn facts<F: Facts>(&self) -> &F {
        let make = || Box::new(F::read(&self.bytes).unwrap_or_default()) as Box<dyn Any + Send + Sync>;
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

impl Typed {
    fn held<K: Readable>(&self) -> Option<Arc<K>> {
        self.held.as_ref().and_then(Weak::upgrade).and_then(|any| any.downcast().ok())
    }
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

    #[test]
    fn the_metadata_is_a_part_of_the_text_and_can_be_left_out() {
        let object = Object::parse(Bytes::from_static(TEXT.as_bytes())).unwrap();
        let metadata: serde_json::Value = serde_json::from_slice(object.metadata().unwrap()).unwrap();
        assert_eq!(metadata, object.value().unwrap()["metadata"]);
        let rest: serde_json::Value = serde_json::from_slice(&object.without_metadata().unwrap()).unwrap();
        assert_eq!((&rest["metadata"], &rest["data"]["k"]), (&serde_json::json!({}), &"v".into()));
    }

    #[test]
    fn owners_are_read_only_for_who_writes_again() {
        let owned = TEXT.replace("\"uid\"", "\"managedFields\":[{\"manager\":\"a\"}],\"uid\"");
        let object = Object::parse(Bytes::from(owned)).unwrap();
        let bare = object.decode::<ConfigMap>().unwrap();
        assert_eq!((bare.metadata.managed_fields.as_ref(), bare.metadata.uid.as_deref()), (None, Some("u")));
        let whole = object.decode_whole::<ConfigMap>().unwrap();
        assert_eq!(whole.metadata.managed_fields.as_ref().map(Vec::len), Some(1));
        assert!(Arc::ptr_eq(&whole, &object.decode::<ConfigMap>().unwrap()), "the whole serves both");
    }
}
