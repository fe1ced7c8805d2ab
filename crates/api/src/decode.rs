//! From a request's JSON to a typed object, with what the client should be told about unknown or repeated fields.
//!
//! Unknown fields are found by `serde_ignored` during the one typed decode; nothing is walked twice.

use serde::de::DeserializeOwned;

/// What to do about fields that the kind does not have, or that are there twice (`fieldValidation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Drop them without a word.
    Ignore,
    /// Drop them and warn; upstream's default for API requests.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// A typed object and the warnings that go back as headers.
#[derive(Debug)]
pub struct Decoded<K> {
    /// The object.
    pub object: K,
    /// Warnings such as `unknown field "spec.foo"`.
    pub warnings: Vec<String>,
}

/// Why a body was refused.
#[derive(Debug, thiserror::Error)]
pub enum DecodeFault {
    /// The text is not the kind's JSON; the message names the path.
    #[error("{0}")]
    Malformed(String),
    /// Strict mode found fields that do not belong; the list is what upstream prints.
    #[error("strict decoding error: {}", .0.join(", "))]
    Strict(Vec<String>),
}

/// Decodes JSON into `K` as `strictness` asks.
///
/// # Errors
/// [`DecodeFault`], whose text is fit for the client.
pub fn decode<K: DeserializeOwned>(json: &[u8], strictness: Strictness) -> Result<Decoded<K>, DecodeFault> {
    let mut unknown = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    let object = if strictness == Strictness::Ignore {
        K::deserialize(tracked)
    } else {
        serde_ignored::deserialize(tracked, |path| unknown.push(field_path(&path.to_string())))
    };
    let object = match object {
        Ok(object) => object,
        Err(error) => {
            let path = track.path().to_string();
            return Err(DecodeFault::Malformed(if path == "." {
                error.to_string()
            } else {
                format!("{path}: {error}")
            }));
        }
    };
    reader.end().map_err(|error| DecodeFault::Malformed(error.to_string()))?;
    let warnings: Vec<String> = unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
    if strictness == Strictness::Strict && !warnings.is_empty() {
        return Err(DecodeFault::Strict(warnings));
    }
    Ok(Decoded { object, warnings })
}

/// `spec.?.containers.0.imag` (serde_ignored's way, a `?` for each Option) as `spec.containers[0].imag`.
fn field_path(ignored: &str) -> String {
    let mut path = String::with_capacity(ignored.len());
    for part in ignored.split('.').filter(|part| *part != "?") {
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            path.push('[');
            path.push_str(part);
            path.push(']');
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(part);
        }
    }
    path
}
