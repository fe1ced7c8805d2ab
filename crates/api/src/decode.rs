//! From a request's JSON to a typed object, with what the client should be told about unknown or repeated fields.
//!
//! Unknown fields and fields that are there twice are noted during the one typed decode ([`reader`]), which every typed
//! object goes through. YAML becomes JSON once, at the door ([`yaml_to_json`]).

use serde::Serialize;
use serde::de::DeserializeOwned;

mod legible;
mod reader;
mod wording;
mod yaml;

pub use legible::Legible;
pub use reader::Notes;
use reader::{Path, Reader};
pub use yaml::yaml_to_json;

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
pub fn decode<K: Legible>(json: &[u8], strictness: Strictness) -> Result<Decoded<K>, DecodeFault> {
    noted(json, strictness, K::read)
}

/// As [`decode`], for a type that only the caller's crate reads, such as a file of settings.
///
/// # Errors
/// As [`decode`].
pub fn decode_own<T: DeserializeOwned>(
    json: &[u8],
    strictness: Strictness,
) -> Result<Decoded<T>, DecodeFault> {
    noted(json, strictness, read)
}

fn noted<T>(
    json: &[u8],
    strictness: Strictness,
    read: fn(&[u8], &mut Notes) -> serde_json::Result<T>,
) -> Result<Decoded<T>, DecodeFault> {
    let mut notes = Notes { strict: strictness != Strictness::Ignore, ..Notes::default() };
    let object = match read(json, &mut notes) {
        Ok(object) => object,
        Err(error) => {
            let path = notes.failed.unwrap_or_default();
            return Err(DecodeFault::Malformed(wording::of(last_name::<T>(), &path, &error)));
        }
    };
    let unknown = notes.unknown.iter().map(|path| format!("unknown field \"{path}\""));
    let repeated = notes.repeated.iter().map(|path| format!("duplicate field \"{path}\""));
    let warnings: Vec<String> = unknown.chain(repeated).collect();
    if strictness == Strictness::Strict && !warnings.is_empty() {
        return Err(DecodeFault::Strict(warnings));
    }
    Ok(Decoded { object, warnings })
}

/// Decodes JSON that we trust to fit `K`: a stored object, a server's answer.
///
/// # Errors
/// If it does not fit.
pub fn from_slice<K: Legible>(json: &[u8]) -> Result<K, serde_json::Error> {
    K::read(json, &mut Notes::default())
}

/// As [`from_slice`], without `metadata.managedFields`: half of what decoding a pod costs, and hardly anybody's concern.
///
/// # Errors
/// If it does not fit.
pub fn bare<K: Legible>(json: &[u8]) -> Result<K, serde_json::Error> {
    K::read(json, &mut Notes { bare: true, ..Notes::default() })
}

/// Decodes a tree that fits `K`, by way of its text: as [`tree`].
///
/// # Errors
/// If it does not fit.
pub fn from_tree<K: Legible>(tree: &serde_json::Value) -> Result<K, serde_json::Error> {
    from_slice(&serde_json::to_vec(tree)?)
}

/// The tree of a typed object, by way of its text: the code that writes text exists for every type anyway, and is big.
///
/// # Errors
/// If the type cannot be encoded, which would be a fault of the type.
pub fn tree<T: Serialize + ?Sized>(object: &T) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::from_slice(&serde_json::to_vec(object)?)
}

/// How [`legible!`](crate::legible) reads; compiled anew for each type in each crate that calls it, so nothing else does.
#[doc(hidden)]
pub fn read<K: DeserializeOwned>(json: &[u8], notes: &mut Notes) -> Result<K, serde_json::Error> {
    let mut inner = serde_json::Deserializer::from_slice(json);
    let object = K::deserialize(Reader { inner: &mut inner, path: Path::Root, notes })?;
    inner.end()?;
    Ok(object)
}

/// `Pod` of `k8s_openapi::api::core::v1::pod::Pod`.
fn last_name<K>() -> &'static str {
    std::any::type_name::<K>().rsplit("::").next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    const TWICE: &str = r#"{"metadata":{"name":"a","name":"b"},"spec":{"foo":1,
        "containers":[{"name":"x"},{"name":"y","image":"1","imag":"2","image":"3"}]}}"#;

    #[test]
    fn unknown_and_repeated_fields_warn_or_refuse_as_asked() {
        let expected = [
            r#"unknown field "spec.foo""#,
            r#"unknown field "spec.containers[1].imag""#,
            r#"duplicate field "metadata.name""#,
            r#"duplicate field "spec.containers[1].image""#,
        ];
        let decoded = decode::<Pod>(TWICE.as_bytes(), Strictness::Warn).unwrap();
        assert_eq!(decoded.warnings, expected);
        assert_eq!(decoded.object.metadata.name.as_deref(), Some("b"));
        let refused = decode::<Pod>(TWICE.as_bytes(), Strictness::Strict).unwrap_err();
        assert_eq!(refused.to_string(), format!("strict decoding error: {}", expected.join(", ")));
        assert!(decode::<Pod>(TWICE.as_bytes(), Strictness::Ignore).unwrap().warnings.is_empty());
    }

    #[test]
    fn wrong_types_are_named_with_their_field() {
        let refused = |json: &str| decode::<Pod>(json.as_bytes(), Strictness::Warn).unwrap_err().to_string();
        assert_eq!(
            refused(r#"{"spec":{"containers":[{"name":"a","ports":[{"containerPort":"x"}]}]}}"#),
            "json: cannot unmarshal string into Go struct field Pod.spec.containers.ports.containerPort of type int32"
        );
        assert_eq!(
            refused(r#"{"spec":{"containers":{}}}"#),
            "json: cannot unmarshal object into Go struct field Pod.spec.containers of type array"
        );
        assert_eq!(
            refused(r#"{"spec":{"nodeName":5}}"#),
            "json: cannot unmarshal number into Go struct field Pod.spec.nodeName of type string"
        );
        assert!(refused(r#"{"spec":"#).contains("EOF"));
    }
}
