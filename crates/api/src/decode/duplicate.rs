//! Finds members that a JSON text has twice, by a pass that keeps only the keys of the maps it is inside.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// The paths of all members that repeat an earlier one. Malformed JSON is somebody else's finding.
pub(super) fn fields(json: &[u8]) -> Vec<String> {
    let mut walk = Walk::default();
    let mut reader = serde_json::Deserializer::from_slice(json);
    let _ = Value(&mut walk).deserialize(&mut reader);
    walk.found
}

#[derive(Default)]
struct Walk {
    path: String,
    found: Vec<String>,
}

struct Value<'a>(&'a mut Walk);

/// A key, borrowed from the text where it has no escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        reader.deserialize_str(Text)
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let walk = self.0;
        let mut seen: Vec<Cow<'de, str>> = Vec::new();
        let mut many = std::collections::HashSet::new();
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            let before = walk.path.len();
            if before > 0 {
                walk.path.push('.');
            }
            walk.path.push_str(&key);
            // A long map (a ConfigMap's data) is looked up by hash, the usual short one by comparison.
            let repeated = if seen.len() < 32 {
                seen.contains(&key)
            } else {
                many.contains(&key) || seen.contains(&key)
            };
            if repeated {
                walk.found.push(walk.path.clone());
            } else if seen.len() < 32 {
                seen.push(key);
            } else {
                many.insert(key);
            }
            map.next_value_seed(Value(walk))?;
            walk.path.truncate(before);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let walk = self.0;
        let before = walk.path.len();
        for index in 0_usize.. {
            walk.path.push_str(&format!("[{index}]"));
            let more = list.next_element_seed(Value(walk))?;
            walk.path.truncate(before);
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
