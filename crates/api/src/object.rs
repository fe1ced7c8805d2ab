//! One immutable revision of an object: decoded metadata, its JSON, and the typed form while somebody holds it.
//!
//! A typed Pod weighs some 23 KB, its JSON 1 to 5 KB. So the JSON is what is kept; the typed form is remembered
//! only weakly: everyone who is handed the same event shares one decode, and it is gone when the last of them
//! lets go. Reading never encodes: the bytes are what GET, LIST and WATCH send.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use serde::Deserialize;

use crate::apply::Owners;
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

/// The typed form, while somebody holds it. Who owns which field it does not say.
type Typed = Option<Weak<dyn Any + Send + Sync>>;

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

    /// As [`Object::new`], remembering (weakly) the typed form that was just written, without the owners of its fields.
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
                let missing = || serde::de::Error::missing_field("metadata");
                let text = text::find(&self.bytes, &["metadata"])?.ok_or_else(missing)?;
                let begin = text.as_ptr().addr() - self.bytes.as_ptr().addr();
                self.span.get_or_init(|| begin..begin + text.len())
            }
        };
        Ok(span.clone())
    }

    /// The JSON with `null` in the place of its [owners](Self::owners): a copy costs far less than to read over them.
    pub fn without(&self, owners: Option<&Owners>) -> Cow<'_, [u8]> {
        let Some(owners) = owners.map(Owners::text) else { return Cow::Borrowed(&self.bytes) };
        let begin = owners.as_ptr().addr().checked_sub(self.bytes.as_ptr().addr());
        match begin
            .and_then(|begin| Some((self.bytes.get(..begin)?, self.bytes.get(begin + owners.len()..)?)))
        {
            Some((before, after)) => Cow::Owned([before, b"null", after].concat()),
            // They are somebody else's.
            None => Cow::Borrowed(&self.bytes),
        }
    }

    /// Who owns which field, a part of the bytes as well; nothing if nobody does.
    ///
    /// # Errors
    /// If the bytes are not a JSON object.
    pub fn owners(&self) -> Result<Option<Owners>, serde_json::Error> {
        let text = text::find(&self.bytes, &["metadata", "managedFields"])?;
        Ok(text.map(|text| Owners::stored(self.bytes.slice_ref(text.as_bytes()))))
    }

    /// The typed form; shared with every other holder of it, else decoded now. Who owns which field it does not say.
    ///
    /// # Errors
    /// If the JSON does not fit `K`.
    pub fn decode<K: Readable>(&self) -> Result<Arc<K>, DecodeError> {
        let mut typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = typed.as_ref().and_then(Weak::upgrade).and_then(|any| any.downcast().ok()) {
            return Ok(held);
        }
        let fresh = crate::decode::bare(&self.bytes).map_err(|source| DecodeError::of(K::KIND, self, source));
        let fresh: Arc<K> = Arc::new(fresh?);
        *typed = Some(Arc::downgrade(&fresh) as Weak<dyn Any + Send + Sync>);
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
    fn owners_are_apart_from_the_typed_form() {
        let owned = TEXT.replace("\"uid\"", "\"managedFields\":[{\"manager\":\"a\"}],\"uid\"");
        let object = Object::parse(Bytes::from(owned)).unwrap();
        let typed = object.decode::<ConfigMap>().unwrap();
        assert_eq!(
            (typed.metadata.managed_fields.as_ref(), typed.metadata.uid.as_deref()),
            (None, Some("u"))
        );
        let owners = object.owners().unwrap().unwrap();
        assert_eq!(owners.text(), br#"[{"manager":"a"}]"#);
        assert!(object.bytes().as_ptr_range().contains(&owners.text().as_ptr()), "nothing is copied");
        let rest: serde_json::Value = serde_json::from_slice(&object.without(Some(&owners))).unwrap();
        let whole = object.value().unwrap();
        assert_eq!((&rest["metadata"]["managedFields"], &rest["data"]), (&().into(), &whole["data"]));
    }
}
