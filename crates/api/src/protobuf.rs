//! Protobuf as Go clients speak it, both ways, between the bytes of the wire and the bytes of JSON.
//!
//! What is stored is JSON, so protobuf is a form of the door: bodies become JSON as they come in, answers become protobuf
//! as they leave. No types are involved: field numbers, names and kinds come from a table. Follows upstream's
//! `apimachinery/pkg/runtime/serializer/protobuf`. Nothing here may panic: the input is a client's.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeSeed;
use serde_json::{Map, Value};

mod read;
pub(crate) mod table;
mod wire;
mod write;

use table::{Index, TABLE};
use wire::{Reader, Wire};

/// The media type of the envelope.
pub const MEDIA: &str = "application/vnd.kubernetes.protobuf";
/// The media type of a watch.
pub const WATCH: &str = "application/vnd.kubernetes.protobuf;stream=watch";
/// What every body starts with.
const MAGIC: &[u8] = b"k8s\0";

/// Why a body cannot be read, or an object cannot be written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The envelope's first bytes are not there.
    #[error("the body does not start as a Kubernetes protobuf message")]
    Magic,
    /// A length leads past the end.
    #[error("the body ends in the middle of a message")]
    Truncated,
    /// The field of that name is encoded as something else.
    #[error("field {0} has the wrong wire type")]
    Type(String),
    /// A string has bytes that no text has.
    #[error("a string is not UTF-8")]
    Text,
    /// More levels than any kind has.
    #[error("messages are nested too deeply")]
    Depth,
    /// A field that holds JSON holds something else, or the object to write is not JSON.
    #[error("JSON within the message: {0}")]
    Json(String),
    /// A kind without a message, such as a custom resource.
    #[error("no protobuf form of {kind} in {version:?} is known")]
    Unknown {
        /// As the envelope says it.
        version: String,
        /// As the envelope says it.
        kind: String,
    },
    /// The table knows the field, not its number.
    #[error("{0}")]
    Unnumbered(String),
}

type Result<T> = std::result::Result<T, Fault>;

/// The JSON of an enveloped object, `apiVersion` and `kind` included.
///
/// # Errors
/// [`Fault`], whose text is fit for the client.
pub fn to_json(body: &[u8]) -> Result<Vec<u8>> {
    Ok(to_value(body)?.to_string().into_bytes())
}

fn to_value(body: &[u8]) -> Result<Value> {
    let mut reader = Reader(body.strip_prefix(MAGIC).ok_or(Fault::Magic)?);
    let (mut version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    while let Some((number, wire)) = reader.field()? {
        match (number, wire) {
            (1, Wire::Bytes(head)) => {
                let mut head = Reader(head);
                while let Some((number, wire)) = head.field()? {
                    match (number, wire) {
                        (1, Wire::Bytes(text)) => version = read::utf8(text)?,
                        (2, Wire::Bytes(text)) => kind = read::utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let Some(message) = TABLE.kind(&version, &kind) else { return Err(Fault::Unknown { version, kind }) };
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), version.into());
    object.insert("kind".to_owned(), kind.into());
    read::fill(&mut object, message, raw, 0)?;
    Ok(Value::Object(object))
}

/// A kind that has a protobuf form.
#[derive(Clone, Debug)]
pub struct Kind {
    api_version: String,
    name: String,
    message: Index,
}

impl Kind {
    /// The kind of that name; nothing if it has no such form, as custom resources.
    pub fn find(api_version: &str, name: &str) -> Option<Self> {
        let message = TABLE.kind(api_version, name)?;
        Some(Self { api_version: api_version.to_owned(), name: name.to_owned(), message })
    }

    /// What the table has of it.
    pub(crate) fn message(&self) -> Index {
        self.message
    }

    /// The kind that a JSON text says it is of.
    fn of(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head<'a> {
            #[serde(borrow, rename = "apiVersion", default)]
            api_version: Cow<'a, str>,
            #[serde(borrow, default)]
            kind: Cow<'a, str>,
        }
        let head: Head<'_> = serde_json::from_slice(json).map_err(|error| Fault::Json(error.to_string()))?;
        Self::find(&head.api_version, &head.kind).ok_or_else(|| Fault::Unknown {
            version: head.api_version.into_owned(),
            kind: head.kind.into_owned(),
        })
    }

    /// The enveloped form of an object's JSON.
    ///
    /// # Errors
    /// If it has a field whose number is not known; not if it may be left out (`lossy`).
    pub fn object(&self, json: &[u8], lossy: bool) -> Result<Vec<u8>> {
        self.enveloped(json.len(), |out| fields(self.message, json, lossy, out))
    }

    /// The enveloped form of a list: of its metadata and of its items, each JSON.
    ///
    /// # Errors
    /// As [`Kind::object`].
    pub fn list<B: AsRef<[u8]>>(
        &self,
        metadata: &[u8],
        items: impl ExactSizeIterator<Item = B>,
    ) -> Result<Vec<u8>> {
        let unknown = || Fault::Unknown { version: self.api_version.clone(), kind: self.name.clone() };
        let (_, place) = TABLE.field(self.message, "metadata").ok_or_else(unknown)?;
        let (_, held) = TABLE.field(self.message, "items").ok_or_else(unknown)?;
        let (table::Of::Message(meta), table::Of::Message(item)) = (place.of, held.of) else {
            return Err(unknown());
        };
        self.enveloped(items.len() * 512, |out| {
            wire::message(out, place.number, |out| fields(meta, metadata, false, out))?;
            for json in items {
                wire::message(out, held.number, |out| fields(item, json.as_ref(), false, out))?;
            }
            Ok(())
        })
    }

    fn enveloped(&self, size: usize, fill: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(size + 64);
        out.extend_from_slice(MAGIC);
        wire::message(&mut out, 1, |out| {
            wire::bytes(out, 1, self.api_version.as_bytes());
            wire::bytes(out, 2, self.name.as_bytes());
            Ok(())
        })?;
        wire::message(&mut out, 2, fill)?;
        Ok(out)
    }
}

/// The enveloped form of an object of any kind.
///
/// # Errors
/// If the kind has no such form, or the object has a field whose number is not known.
pub fn from_json(json: &[u8]) -> Result<Vec<u8>> {
    Kind::of(json)?.object(json, false)
}

/// One event of a watch, framed by its length; `object` is enveloped.
pub fn frame(change: &str, object: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 4];
    wire::bytes(&mut out, 1, change.as_bytes());
    let Ok(()) = wire::message(&mut out, 2, |out| {
        wire::bytes(out, 1, object);
        Ok::<_, std::convert::Infallible>(())
    });
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

/// Whether the table has that field of that message but not its number: objects that have it go out as JSON.
/// `message` is named by group, version and kind: `core.v1.PodSpec`.
pub fn is_unnumbered(message: &str, field: &str) -> bool {
    TABLE
        .named(message)
        .and_then(|message| TABLE.field(message, field))
        .is_some_and(|(_, known)| known.number == 0)
}

fn fields(message: Index, json: &[u8], lossy: bool, out: &mut Vec<u8>) -> Result<()> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    write::Fields { message, lossy, out }.deserialize(&mut deserializer).map_err(|error| {
        let text = error.to_string();
        if text.starts_with(write::UNNUMBERED) { Fault::Unnumbered(text) } else { Fault::Json(text) }
    })
}

#[cfg(test)]
mod tests;
