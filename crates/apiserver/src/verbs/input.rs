//! A request's body: bounded, JSON or YAML, of the kind the path names.

use std::fmt;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Body as _;
use http_body_util::BodyExt;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use skiff_api::decode::{DecodeFault, yaml_to_json};
use skiff_api::{ApiError, Strictness};

use crate::catalog::Entry;
use crate::registry::update::Proposal;
use crate::wire::Incoming;
use skiff_api::cbor;
use skiff_api::protobuf::{self, Fault};

/// Upstream's `MaxRequestBodyBytes`.
pub(crate) const LIMIT: usize = 3 * 1024 * 1024;

const OFFERED: &str = super::media::OFFERED;

/// The media type of a body, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

/// Reads a body to its end.
///
/// # Errors
/// 413 if it is too large, 400 if the client does not send it whole.
pub(crate) async fn read(headers: &HeaderMap, body: Incoming) -> Result<Bytes, ApiError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > LIMIT as u64) {
        return Err(ApiError::too_large(LIMIT));
    }
    let mut body = body;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| ApiError::bad_request(format!("read the request's body: {error}")))?;
        // Trailers say nothing about objects.
        let Ok(data) = frame.into_data() else { continue };
        if whole.is_empty() && body.is_end_stream() {
            whole = BytesMut::from(data);
        } else {
            whole.extend_from_slice(&data);
        }
        if whole.len() > LIMIT {
            return Err(ApiError::too_large(LIMIT));
        }
    }
    Ok(whole.freeze())
}

/// Reads a body as JSON, whatever it was written in.
///
/// # Errors
/// As [`read`], 415 for other media types, 400 for what is not YAML.
pub(crate) async fn json(headers: &HeaderMap, body: Incoming) -> Result<Bytes, ApiError> {
    match media_type(headers) {
        "" | "application/json" => read(headers, body).await,
        "application/yaml" | "application/x-yaml" | "text/yaml" => {
            let text = read(headers, body).await?;
            let json = yaml_to_json(&text).map_err(|error| ApiError::bad_request(error.to_string()))?;
            Ok(json.into())
        }
        protobuf::MEDIA => {
            let body = read(headers, body).await?;
            if body.is_empty() {
                return Ok(body);
            }
            protobuf::to_json(&body).map(Bytes::from).map_err(|fault| match fault {
                Fault::Unknown { .. } => ApiError::unsupported_media_type(OFFERED),
                fault => ApiError::bad_request(fault.to_string()),
            })
        }
        cbor::MEDIA => {
            let body = read(headers, body).await?;
            if body.is_empty() {
                return Ok(body);
            }
            from_cbor(&body)
        }
        _ => Err(ApiError::unsupported_media_type(OFFERED)),
    }
}

/// The JSON of a body in CBOR.
///
/// # Errors
/// 400 for what is none.
pub(crate) fn from_cbor(body: &[u8]) -> Result<Bytes, ApiError> {
    cbor::to_json(body).map(Bytes::from).map_err(|fault| ApiError::bad_request(fault.to_string()))
}

/// A draft of the entry's kind.
///
/// # Errors
/// 400 in upstream's words.
pub(crate) fn decode(entry: &Entry, json: &[u8], strictness: Strictness) -> Result<Proposal, ApiError> {
    check_kind(&entry.api_version, &entry.resource.kind, json)?;
    let decoded = entry
        .ops
        .decode(json, strictness)
        .map_err(|fault| refused(&entry.api_version, &entry.resource.kind, json, &fault))?;
    Ok(Proposal { warnings: decoded.warnings, ..Proposal::quiet(decoded.object) })
}

/// A body of a type of its own, such as a Binding.
///
/// # Errors
/// 400 in upstream's words.
pub(crate) fn typed<K: skiff_api::decode::Legible>(
    api_version: &str,
    kind: &str,
    json: &[u8],
    strictness: Strictness,
) -> Result<skiff_api::Decoded<K>, ApiError> {
    check_kind(api_version, kind, json)?;
    skiff_api::decode::decode(json, strictness).map_err(|fault| refused(api_version, kind, json, &fault))
}

fn refused(api_version: &str, kind: &str, json: &[u8], fault: &DecodeFault) -> ApiError {
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(json) {
        return unrecognized(kind, &error);
    }
    let version = api_version.rsplit('/').next().unwrap_or_default();
    ApiError::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {fault}"))
}

/// What a body says it is. Most say so at their beginning, and are read no further.
#[derive(Default)]
struct Head {
    api_version: Option<String>,
    kind: Option<String>,
}

impl Head {
    fn read(json: &[u8]) -> serde_json::Result<Self> {
        let mut head = Self::default();
        let read = serde_json::Deserializer::from_slice(json).deserialize_map(Heading(&mut head));
        // Left in the middle, a body looks unfinished to its reader.
        read.or_else(|error| if head.is_whole() { Ok(()) } else { Err(error) })?;
        Ok(head)
    }

    fn is_whole(&self) -> bool {
        self.api_version.is_some() && self.kind.is_some()
    }
}

struct Heading<'h>(&'h mut Head);

impl<'de> Visitor<'de> for Heading<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "apiVersion" => self.0.api_version = map.next_value()?,
                "kind" => self.0.kind = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
            if self.0.is_whole() {
                break;
            }
        }
        Ok(())
    }
}

fn unrecognized(kind: &str, error: &serde_json::Error) -> ApiError {
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {error}"
    ))
}

/// A body need not name its kind, but if it does it must be the path's.
fn check_kind(api_version: &str, kind: &str, json: &[u8]) -> Result<(), ApiError> {
    let head = Head::read(json).map_err(|error| unrecognized(kind, &error))?;
    let sent_version = head.api_version.filter(|text| !text.is_empty());
    if let Some(sent) = sent_version.filter(|sent| *sent != api_version) {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({sent}) does not match the expected API version ({api_version})"
        )));
    }
    if let Some(sent) = head.kind.filter(|sent| !sent.is_empty() && *sent != kind) {
        let version = api_version.rsplit('/').next().unwrap_or_default();
        return Err(ApiError::bad_request(format!(
            "{sent} in version \"{version}\" cannot be handled as a {kind}: converting ({version}.{sent}) to ({version}.{kind}): unknown conversion"
        )));
    }
    Ok(())
}
