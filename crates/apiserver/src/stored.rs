//! What this server keeps in the store: an object, and the line that tells watchers of it.
//!
//! The line (`{"type":"MODIFIED","object":{...}}`) is built with the object, in one piece of memory: the object's own
//! bytes are a slice of it. So a watch event is encoded once, whatever the number of watchers, and costs nothing to keep.

use std::borrow::Cow;
use std::error::Error;
use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;
use skiff_api::{Meta, Object};
use skiff_store::{Key, Value};

use crate::kinds::Ops;

/// An object in the store.
pub struct Stored {
    object: Arc<Object>,
    /// Absent for what was loaded from disk.
    line: Option<(Change, Bytes)>,
    /// Found when first asked for: most objects are never selected by fields.
    fields: OnceLock<Fields>,
}

/// What field selectors see, besides name and namespace.
type Fields = Box<[(Cow<'static, str>, Box<str>)]>;

/// What happened to an object, as a watch names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Created, or selected from now on.
    Added,
    /// Changed.
    Modified,
    /// Gone, or no longer selected.
    Deleted,
}

impl Change {
    /// How a watch event names it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }

    pub(crate) fn head(self) -> &'static [u8] {
        match self {
            Self::Added => br#"{"type":"ADDED","object":"#,
            Self::Modified => br#"{"type":"MODIFIED","object":"#,
            Self::Deleted => br#"{"type":"DELETED","object":"#,
        }
    }

    /// The line that tells of an object whose JSON is in `parts`.
    pub(crate) fn line(self, parts: &[&[u8]]) -> Bytes {
        let size: usize = parts.iter().map(|part| part.len()).sum();
        let mut line = BytesMut::with_capacity(self.head().len() + size + 2);
        line.put_slice(self.head());
        for part in parts {
            line.put_slice(part);
        }
        line.put_slice(b"}\n");
        line.freeze()
    }

    /// The object's JSON in a line built by [`Change::line`]; shares its memory.
    pub(crate) fn object_in(self, line: &Bytes) -> Bytes {
        line.slice(self.head().len()..line.len() - 2)
    }
}

impl Stored {
    /// `object` as the outcome of `change`; its bytes must be a slice of `line`.
    pub(crate) fn new(object: Object, change: Change, line: Bytes) -> Self {
        Self { object: Arc::new(object), line: Some((change, line)), fields: OnceLock::new() }
    }

    /// An object that nobody is told of: read, or converted.
    pub(crate) fn of(object: Object) -> Self {
        Self { object: Arc::new(object), line: None, fields: OnceLock::new() }
    }

    /// The object.
    pub fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// The line that tells of `change`.
    pub(crate) fn line(&self, change: Change) -> Bytes {
        match &self.line {
            Some((known, line)) if *known == change => line.clone(),
            _ => change.line(&[self.object.bytes()]),
        }
    }

    /// The value of a selectable field; the kind's functions find them all at once.
    pub(crate) fn field(&self, ops: &dyn Ops, name: &str) -> Option<&str> {
        let meta = self.object.meta();
        match name {
            "metadata.name" => return Some(&meta.name),
            "metadata.namespace" => return Some(meta.namespace.as_deref().unwrap_or_default()),
            _ => {}
        }
        if let Some(known) = ops.known_field(&self.object, name) {
            return Some(known);
        }
        let fields = self.fields.get_or_init(|| {
            let found = ops.fields(&self.object).unwrap_or_default();
            found.into_iter().map(|(name, value)| (name, value.into_boxed_str())).collect()
        });
        fields.iter().find(|(own, _)| *own == name).map(|(_, value)| &**value)
    }

    /// The last state of a deleted object: what it was, with the deletion's revision.
    pub(crate) fn tombstone(&self, revision: u64) -> Self {
        restamped(&self.object, revision, Change::Deleted)
    }
}

impl Value for Stored {
    fn bytes(&self) -> &Bytes {
        self.object.bytes()
    }

    fn load(_key: &Key, _revision: u64, bytes: Bytes) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self::of(Object::parse(bytes)?))
    }
}

/// The same object with another `resourceVersion`, as the outcome of `change`; nothing else is touched.
pub(crate) fn restamped(object: &Object, revision: u64, change: Change) -> Stored {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        metadata: Version<'a>,
    }
    #[derive(Deserialize)]
    struct Version<'a> {
        #[serde(borrow, rename = "resourceVersion")]
        version: &'a RawValue,
    }
    let old = object.bytes();
    let line = match serde_json::from_slice::<Head<'_>>(old) {
        Ok(head) => {
            let text = head.metadata.version.get();
            let start = text.as_ptr() as usize - old.as_ptr() as usize;
            let number = format!("\"{revision}\"");
            change.line(&[&old[..start], number.as_bytes(), &old[start + text.len()..]])
        }
        // What is stored was written by us, with a revision; should it not be so, the bytes stay as they are.
        Err(_) => change.line(&[old]),
    };
    let meta = Meta { revision, ..object.meta().clone() };
    Stored::new(Object::new(meta, change.object_in(&line)), change, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Object {
        let text = r#"{"kind":"X","metadata":{"labels":{"resourceVersion":"7"},"name":"a","resourceVersion":"7","uid":"u"}}"#;
        Object::parse(Bytes::from_static(text.as_bytes())).unwrap()
    }

    #[test]
    fn only_the_revision_changes() {
        let other = restamped(&object(), 1234, Change::Added);
        let other = other.object();
        let expected = r#"{"kind":"X","metadata":{"labels":{"resourceVersion":"7"},"name":"a","resourceVersion":"1234","uid":"u"}}"#;
        assert_eq!((other.bytes().as_ref(), other.meta().revision), (expected.as_bytes(), 1234));
    }

    #[test]
    fn the_line_shares_memory_with_the_object() {
        let stored = restamped(&object(), 7, Change::Added);
        let line = stored.line(Change::Added);
        assert_eq!(line, Change::Added.line(&[object().bytes()]));
        assert!(line.as_ptr_range().contains(&stored.object().bytes().as_ptr()));
        assert_eq!(stored.line(Change::Modified), Change::Modified.line(&[object().bytes()]));
    }
}
