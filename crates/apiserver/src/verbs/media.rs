//! In which form the client wants its answer: JSON, YAML, a table, metadata only.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::ACCEPT;
use jiff::Timestamp;
use skiff_api::{ApiError, Object};

use super::table;
use crate::catalog::Entry;
use crate::request::Info;
use crate::wire::{self, Body, Response};
use skiff_api::{cbor, protobuf};

/// A form of answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    Json,
    Yaml,
    /// JSON until it leaves; see `chain/form.rs`.
    Protobuf,
    /// The same.
    Cbor,
    /// `as=Table`, in this version of `meta.k8s.io`.
    Table(&'static str),
    /// `as=PartialObjectMetadata`, in this version.
    Partial(&'static str),
    /// The same in protobuf.
    PartialProtobuf(&'static str),
    /// The same in CBOR.
    PartialCbor(&'static str),
}

/// What we can produce, as 406 names it.
pub(crate) const OFFERED: &str =
    "application/json, application/yaml, application/vnd.kubernetes.protobuf, application/cbor";
pub(crate) const YAML: &str = "application/yaml";

/// The form to answer in.
///
/// # Errors
/// 406 if nothing the client accepts can be produced.
pub(crate) fn negotiate(headers: &HeaderMap) -> Result<Form, ApiError> {
    negotiate_with(headers, |_| true)
}

/// As [`negotiate`], for what does not have every form.
///
/// # Errors
/// As [`negotiate`].
pub(crate) fn negotiate_with(headers: &HeaderMap, has: impl Fn(&Form) -> bool) -> Result<Form, ApiError> {
    let accepted: Vec<&str> =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let accepted = accepted.join(",");
    if accepted.trim().is_empty() {
        return Ok(Form::Json);
    }
    let mut clauses: Vec<(f32, Form)> =
        accepted.split(',').filter_map(clause).filter(|(_, form)| has(form)).collect();
    // Stable: what the client names first wins among equals.
    clauses.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    match clauses.into_iter().next() {
        Some((_, form)) => Ok(form),
        None => Err(ApiError::not_acceptable(OFFERED)),
    }
}

/// One clause of an Accept header, if we can serve it.
fn clause(text: &str) -> Option<(f32, Form)> {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let (mut quality, mut convert, mut group, mut version) = (1.0, "", "", "");
    for part in parts {
        match part.split_once('=').unwrap_or((part, "")) {
            ("q", value) => quality = value.parse().unwrap_or(0.0),
            ("as", value) => convert = value,
            ("g", value) => group = value,
            ("v", value) => version = value,
            _ => {}
        }
    }
    let known = match version {
        "v1" => "v1",
        "v1beta1" => "v1beta1",
        _ => "",
    };
    let form = match (media, convert) {
        ("application/json" | "application/*" | "*/*", "") => Form::Json,
        ("application/yaml", "") => Form::Yaml,
        ("application/json", "Table") if group == "meta.k8s.io" && !known.is_empty() => Form::Table(known),
        (protobuf::MEDIA, "") => Form::Protobuf,
        // A watch is a sequence, whichever of the two was asked for.
        (cbor::MEDIA | cbor::SEQUENCE, "") => Form::Cbor,
        (protobuf::MEDIA, "PartialObjectMetadata" | "PartialObjectMetadataList")
            if group == "meta.k8s.io" && !known.is_empty() =>
        {
            Form::PartialProtobuf(known)
        }
        (cbor::MEDIA | cbor::SEQUENCE, "PartialObjectMetadata" | "PartialObjectMetadataList")
            if group == "meta.k8s.io" && !known.is_empty() =>
        {
            Form::PartialCbor(known)
        }
        ("application/json", "PartialObjectMetadata" | "PartialObjectMetadataList")
            if group == "meta.k8s.io" && !known.is_empty() =>
        {
            Form::Partial(known)
        }
        _ => return None,
    };
    (quality > 0.0).then_some((quality, form))
}

/// One object in the wanted form.
///
/// # Errors
/// 500 if stored JSON cannot be read.
pub(crate) fn object(
    form: &Form,
    entry: &Arc<Entry>,
    info: &Info,
    code: u16,
    bytes: Bytes,
    now: Timestamp,
) -> Result<Response, ApiError> {
    Ok(match form {
        Form::Json | Form::Protobuf | Form::Cbor => wire::json(code, bytes),
        Form::Yaml => wire::answer(code, YAML, Body::full(yaml(&bytes)?)),
        Form::Partial(version) | Form::PartialProtobuf(version) | Form::PartialCbor(version) => {
            let object = Object::parse(bytes).map_err(ApiError::internal)?;
            wire::json(code, partial(&object, version)?)
        }
        Form::Table(version) => {
            let object = Object::parse(bytes).map_err(ApiError::internal)?;
            let view = table::View::new(entry, info, version, now)?;
            let revision = object.meta().revision;
            let row = view.row(&object)?;
            let head = view.head(&serde_json::json!({ "resourceVersion": revision.to_string() }), true)?;
            wire::answer(code, wire::JSON, Body::join(head, std::iter::once(row), "]}".into()))
        }
    })
}

/// JSON as YAML.
///
/// # Errors
/// 500 if it is not JSON.
pub(crate) fn yaml(json: &[u8]) -> Result<String, ApiError> {
    let value: serde_json::Value = serde_json::from_slice(json).map_err(ApiError::internal)?;
    serde_saphyr::to_string(&value).map_err(ApiError::internal)
}

/// The metadata of an object, as an object.
///
/// # Errors
/// 500 if it is not JSON.
pub(crate) fn partial(object: &Object, version: &str) -> Result<Bytes, ApiError> {
    let metadata = object.metadata().map_err(ApiError::internal)?;
    let head =
        format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/{version}","metadata":"#);
    Ok([head.as_bytes(), metadata, b"}"].concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        negotiate(&headers).map_or_else(|error| error.code().to_string(), |form| format!("{form:?}"))
    }

    #[test]
    fn the_first_form_we_can_produce_is_chosen() {
        for (accept, expected) in [
            ("", "Json"),
            ("*/*", "Json"),
            ("application/json", "Json"),
            ("application/json;stream=watch", "Json"),
            ("application/yaml", "Yaml"),
            ("application/vnd.kubernetes.protobuf", "Protobuf"),
            ("application/vnd.kubernetes.protobuf;stream=watch,application/json", "Protobuf"),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
                "PartialProtobuf(\"v1\")",
            ),
            ("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json", "Json"),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "Table(\"v1\")"),
            ("application/cbor,application/json", "Cbor"),
            ("application/cbor;q=0.5,application/json", "Json"),
            ("application/cbor;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "PartialCbor(\"v1\")"),
            ("application/cbor;as=Table;v=v1;g=meta.k8s.io,application/cbor", "Cbor"),
            ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", "Json"),
            ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "Partial(\"v1\")"),
            ("application/json;q=0.1, application/yaml", "Yaml"),
            ("text/html", "406"),
        ] {
            assert_eq!(chosen(accept), expected, "{accept}");
        }
    }
}
