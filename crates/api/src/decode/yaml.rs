//! YAML to JSON, event by event, so that repeated members are still there for the JSON decoder to report.
//!
//! The one place where the YAML library's options are set: numbers with a leading zero are octal, as in Go's library.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;

use super::DecodeFault;

/// Most nested containers there may be, as in the JSON decoder.
const MAX_DEPTH: usize = 120;

/// The JSON of the first document of a YAML text (JSON is YAML, too).
///
/// # Errors
/// If the text is not YAML, has keys that are no scalars, or expands beyond measure.
pub fn yaml_to_json(yaml: &[u8]) -> Result<Vec<u8>, DecodeFault> {
    let refused = |why: &dyn fmt::Display| {
        DecodeFault::Malformed(format!("error converting YAML to JSON: yaml: {why}"))
    };
    let text = std::str::from_utf8(yaml).map_err(|error| refused(&error))?;
    let mut options = serde_saphyr::Options::default();
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.legacy_octal_numbers = true;
    let mut json = Vec::with_capacity(yaml.len() + yaml.len() / 4);
    let outcome = serde_saphyr::with_deserializer_from_str_with_options(text, options, |reader| {
        Node { json: &mut json, depth: 0 }.deserialize(reader)
    });
    outcome.map_err(|error| refused(&error))?;
    Ok(json)
}

struct Node<'a> {
    json: &'a mut Vec<u8>,
    depth: usize,
}

impl Node<'_> {
    fn put<E: serde::de::Error>(self, value: impl serde::Serialize) -> Result<(), E> {
        serde_json::to_writer(self.json, &value).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML that JSON can express")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.depth > MAX_DEPTH {
            return Err(A::Error::custom("exceeded max depth"));
        }
        self.json.push(b'{');
        let mut first = true;
        loop {
            // The key goes into its own buffer, because a scalar of any type becomes a text.
            let mut key = Vec::new();
            let Some(()) = map.next_key_seed(Node { json: &mut key, depth: MAX_DEPTH + 1 })? else { break };
            if !std::mem::take(&mut first) {
                self.json.push(b',');
            }
            if key.first() == Some(&b'"') {
                self.json.extend_from_slice(&key);
            } else {
                self.json.push(b'"');
                self.json.extend_from_slice(&key);
                self.json.push(b'"');
            }
            self.json.push(b':');
            map.next_value_seed(Node { json: self.json, depth: self.depth + 1 })?;
        }
        self.json.push(b'}');
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.depth > MAX_DEPTH {
            return Err(A::Error::custom("exceeded max depth"));
        }
        self.json.push(b'[');
        let mut length = self.json.len();
        loop {
            let before = self.json.len();
            if before != length {
                self.json.push(b',');
            }
            if list.next_element_seed(Node { json: self.json, depth: self.depth + 1 })?.is_none() {
                self.json.truncate(before);
                break;
            }
            if before == length {
                // From now on every item is preceded by a comma.
                length = usize::MAX;
            }
        }
        self.json.push(b']');
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.put(value)
    }
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.put(value)
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.put(value)
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        if value.is_finite() {
            return self.put(value);
        }
        Err(E::custom(format!("json: unsupported value: {value}")))
    }
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.put(value)
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.put(())
    }
    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        self.put(())
    }
    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        self.deserialize(reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(yaml: &str, json: &str) {
        assert_eq!(String::from_utf8(yaml_to_json(yaml.as_bytes()).unwrap()).unwrap(), json);
    }

    #[test]
    fn scalars_become_what_gos_yaml_makes_of_them() {
        check(
            "a: yes\nb: 0x1F\nc: 014\nd: 0o14\ne: 1.5\nf: '7'\n",
            r#"{"a":true,"b":31,"c":12,"d":12,"e":1.5,"f":"7"}"#,
        );
        check("a: ~\nb:\nc: null\n", r#"{"a":null,"b":null,"c":null}"#);
        check("1: x\ntrue: z\n", r#"{"1":"x","true":"z"}"#);
        check(
            "a: |\n  one\n  two\nb: []\nc: {}\nd: [1, [2], {x: z}]\n",
            r#"{"a":"one\ntwo\n","b":[],"c":{},"d":[1,[2],{"x":"z"}]}"#,
        );
    }

    #[test]
    fn json_and_repeated_members_pass_through() {
        check(r#"{"a": "b", "a": "c"}"#, r#"{"a":"b","a":"c"}"#);
        check("a: 1\na: 2\n", r#"{"a":1,"a":2}"#);
        check("x: &x {k: v}\nz: *x\n", r#"{"x":{"k":"v"},"z":{"k":"v"}}"#);
    }

    #[test]
    fn what_is_no_yaml_is_refused() {
        for text in ["a: b: c", "a: [1", "? [a]\n: b\n"] {
            let error = yaml_to_json(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("error converting YAML to JSON: yaml: "), "{error}");
        }
    }
}
