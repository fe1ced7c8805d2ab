//! Numbers and booleans where text is wanted.
//!
//! The servers of v0.4 read bodies with a YAML reader to whom `value: 6379` was a fine string; so were files written.
//! This wraps the decoder of a tree so that such a scalar is taken as the text it was written as, wherever text is asked
//! for by type. (Members of the flattened TypeMeta are not: they are held as they are until their type is known.)

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

/// A tree whose scalars are also text.
pub(super) struct Lenient(pub(super) Value);

impl<'de> IntoDeserializer<'de, Error> for Lenient {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Lenient {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.into_iter().map(Lenient));
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            Value::Object(members) => {
                let members = members.into_iter().map(|(key, value)| (key, Lenient(value)));
                let mut members = MapDeserializer::new(members);
                let value = visitor.visit_map(&mut members)?;
                members.end()?;
                Ok(value)
            }
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Number(number) => visitor.visit_string(number.to_string()),
            Value::Bool(flag) => visitor.visit_string(flag.to_string()),
            other => other.deserialize_string(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Pod};

    #[test]
    fn numbers_and_booleans_are_text_where_text_is_wanted() {
        let text = "id: p\nlabels: {version: 2, live: true}\ndesiredState:\n  manifest:\n    version: v1beta1\n    \
                    containers:\n    - name: c\n      image: i\n      command: [serve, 80]\n      env:\n      - \
                    {name: PORT, value: 6379}\n      ports: [{containerPort: 80}]\n";
        let pod = Pod::ROW.parse(text.as_bytes()).unwrap().to_v1();
        assert_eq!(pod["metadata"]["labels"], serde_json::json!({"version": "2", "live": "true"}));
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["env"][0]["value"], "6379");
        assert_eq!(container["args"], serde_json::json!(["serve", "80"]));
        assert_eq!(container["ports"][0]["containerPort"], 80);
    }

    #[test]
    fn text_is_not_a_number() {
        assert!(Pod::ROW.parse(b"{\"desiredState\": {\"manifest\": {\"containers\": \"x\"}}}").is_err());
        let text = br#"{"desiredState": {"manifest": {"containers": [{"name": "c", "cpu": "x"}]}}}"#;
        let error = Pod::ROW.parse(text).unwrap_err().to_string();
        assert!(error.starts_with("desiredState.manifest.containers[0].cpu: "), "{error}");
    }
}
