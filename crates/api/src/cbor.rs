//! CBOR as clients of KEP-4222 speak it, both ways, between the bytes of the wire and the bytes of JSON.
//!
//! What is stored is JSON, so CBOR is a form of the door, as protobuf is. Follows upstream's
//! `apimachinery/pkg/runtime/serializer/cbor`: texts leave as byte strings, bytes as themselves under the tag that says
//! "base64 in text", numbers in their shortest form, no length is open, and all is marked as CBOR by tag 55799. What comes in may
//! be written in other ways too. Nothing here may panic: the input is a client's.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeSeed;

use crate::protobuf::Kind;

mod half;
mod read;
mod write;

/// The media type of one object.
pub const MEDIA: &str = "application/cbor";
/// The media type of a watch: objects one after the other (RFC 8742).
pub const SEQUENCE: &str = "application/cbor-seq";
/// What everything we send begins with: tag 55799, "this is CBOR".
const MAGIC: [u8; 3] = [0xd9, 0xd9, 0xf7];

/// Why a body cannot be read, or an object cannot be written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is no CBOR, or ends too soon.
    #[error("cbor: {0}")]
    Malformed(String),
    /// Something stands behind the object.
    #[error("cbor: {0} bytes of extraneous data starting at index {1}")]
    Extraneous(usize, usize),
    /// More levels than any kind has.
    #[error("cbor: exceeded max nested level {}", read::LEVELS)]
    Depth,
    /// More elements than upstream reads.
    #[error("cbor: exceeded max number of {0} {limit}", limit = read::ITEMS)]
    Items(&'static str),
    /// A map has the key twice.
    #[error("cbor: found duplicate map key {0:?}")]
    Duplicate(String),
    /// What has no form in JSON.
    #[error("cbor: data item of type {0} is not accepted: {1}")]
    Unacceptable(&'static str, String),
    /// A number that does not fit into 64 bits with a sign.
    #[error("cbor: {0} overflows a signed integer of 64 bits")]
    Overflow(String),
    /// What is to be written is no JSON.
    #[error("{0}")]
    Json(String),
    /// What is to be written says of no kind that it is one.
    #[error("the document is no object of the API")]
    NoObject,
}

type Result<T> = std::result::Result<T, Fault>;

impl From<minicbor::decode::Error> for Fault {
    fn from(error: minicbor::decode::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// The JSON of a body.
///
/// # Errors
/// [`Fault`], whose text is fit for the client.
pub fn to_json(body: &[u8]) -> Result<Vec<u8>> {
    read::whole(body)
}

/// An object of any kind.
///
/// # Errors
/// If the JSON names no kind: it is a document of some other sort.
pub fn from_json(json: &[u8]) -> Result<Vec<u8>> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow, rename = "apiVersion", default)]
        api_version: Cow<'a, str>,
        #[serde(borrow, default)]
        kind: Cow<'a, str>,
    }
    let head: Head<'_> = serde_json::from_slice(json).map_err(|error| Fault::Json(error.to_string()))?;
    if head.kind.is_empty() {
        return Err(Fault::NoObject);
    }
    object(Kind::find(&head.api_version, &head.kind).as_ref(), json)
}

/// An object; what is known of its kind tells where it holds bytes.
///
/// # Errors
/// If it is no JSON.
pub fn object(kind: Option<&Kind>, json: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(json.len());
    out.extend_from_slice(&MAGIC);
    write(kind, json, &mut out)?;
    Ok(out)
}

/// An element of a list: as [`object`], without the mark.
///
/// # Errors
/// As [`object`].
pub fn element(kind: Option<&Kind>, json: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(json.len());
    write(kind, json, &mut out)?;
    Ok(out)
}

/// A list up to its elements, which follow as they are.
///
/// # Errors
/// If the metadata is no JSON.
pub fn list(api_version: &str, kind: &str, metadata: &[u8], count: usize) -> Result<Vec<u8>> {
    let mut out = MAGIC.to_vec();
    write::map(&mut out, 4);
    for (key, text) in [("kind", kind), ("apiVersion", api_version)] {
        write::text(&mut out, key);
        write::text(&mut out, text);
    }
    write::text(&mut out, "metadata");
    write(None, metadata, &mut out)?;
    write::text(&mut out, "items");
    write::array(&mut out, count);
    Ok(out)
}

/// One event of a watch, about an [`object`].
pub fn event(change: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.len() + 32);
    out.extend_from_slice(&MAGIC);
    write::map(&mut out, 2);
    write::text(&mut out, "type");
    write::text(&mut out, change);
    write::text(&mut out, "object");
    out.extend_from_slice(object);
    out
}

fn write(kind: Option<&Kind>, json: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let known = kind.map_or(write::Known::Nothing, |kind| write::Known::Message(kind.message()));
    let written = write::Item { known, out }.deserialize(&mut deserializer);
    written.and_then(|()| deserializer.end()).map_err(|error| Fault::Json(error.to_string()))
}

#[cfg(test)]
mod tests;
