//! One step of a path to a field, kept as `fieldsV1` writes it: `f:NAME`, `k:{KEYS}`, `v:VALUE`, `i:INDEX`.
//!
//! Two steps are the same if their texts are; so texts from outside are brought into one form first ([`Element::parse`]).

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// A step: a member of a map, or an item of a list by its keys, its value or its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element(Box<str>);

impl Element {
    /// A member of a map or struct.
    pub fn field(name: &str) -> Self {
        Self(["f:", name].concat().into())
    }

    /// The item of a list whose keys have these values.
    pub fn key(keys: &BTreeMap<&str, &Value>) -> Self {
        let mut text = String::from("k:{");
        for (index, (name, value)) in keys.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            // Names of keys are words: they need no escaping.
            text.extend(["\"", name, "\":"]);
            match value {
                Value::String(plain)
                    if plain.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') =>
                {
                    text.extend(["\"", plain, "\""]);
                }
                other => text.push_str(&other.to_string()),
            }
        }
        text.push('}');
        Self(text.into())
    }

    /// The item of a set.
    pub fn value(value: &Value) -> Self {
        Self(format!("v:{value}").into())
    }

    /// Reads a step that somebody else wrote.
    ///
    /// # Errors
    /// What is wrong with it, in upstream's words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() < 2 {
            return Err("key must be 2 characters long:".to_owned());
        }
        let json = |rest: &str| serde_json::from_str::<Value>(rest).map_err(|error| error.to_string());
        match text.as_bytes() {
            [b'f', b':', ..] => Ok(Self(text.into())),
            [b'k', b':', ..] => {
                let Value::Object(keys) = json(&text[2..])? else {
                    return Err(format!("keys are no object: {text}"));
                };
                Ok(Self::key(&keys.iter().map(|(name, value)| (name.as_str(), value)).collect()))
            }
            [b'v', b':', ..] => Ok(Self::value(&json(&text[2..])?)),
            [b'i', b':', ..] => match text[2..].parse::<i64>() {
                Ok(index) => Ok(Self(format!("i:{index}").into())),
                Err(_) => Err(format!("strconv.Atoi: parsing {:?}: invalid syntax", &text[2..])),
            },
            [_, b':', ..] => Err("unknown path element type".to_owned()),
            _ => Err(format!("missing colon: {text}")),
        }
    }

    /// As `fieldsV1` writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The member's name, if it is a member of a map.
    pub fn name(&self) -> Option<&str> {
        self.0.strip_prefix("f:")
    }
}

/// As messages write it: `.spec`, `[name="a"]`, `[="x"]`, `[3]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, rest) = self.0.split_at(2);
        match kind {
            "f:" => write!(f, ".{rest}"),
            "k:" => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(rest).unwrap_or_default();
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, "[{}]", keys.join(","))
            }
            "v:" => write!(f, "[={rest}]"),
            _ => write!(f, "[{rest}]"),
        }
    }
}
