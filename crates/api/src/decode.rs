//! From a request's JSON to a typed object, with what the client should be told about unknown or repeated fields.
//!
//! Unknown fields are found by `serde_ignored` during the one typed decode. Fields that are there twice are found by a
//! second, untyped pass that keeps nothing ([`duplicate`]): typed decoding takes the last one without a word. YAML
//! becomes JSON once, at the door ([`yaml_to_json`]).

use serde::de::DeserializeOwned;

mod duplicate;
mod wording;
mod yaml;

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
            return Err(DecodeFault::Malformed(wording::of::<K>(&path, &error)));
        }
    };
    reader.end().map_err(|error| DecodeFault::Malformed(error.to_string()))?;
    let mut warnings: Vec<String> = unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
    if strictness != Strictness::Ignore {
        warnings.extend(duplicate::fields(json).iter().map(|path| format!("duplicate field \"{path}\"")));
    }
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
