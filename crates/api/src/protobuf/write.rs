//! From JSON to protobuf in one pass: no tree, no types; the table says where each name goes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::table::{Field, Index, Of, TABLE};
use super::wire;

/// What a field without a number is told as; see [`super::Fault::Unnumbered`].
pub(super) const UNNUMBERED: &str = "no number is known of the field ";

/// Writes the fields of a message.
pub(super) struct Fields<'a> {
    pub(super) message: Index,
    /// Leave out what has no number, instead of failing.
    pub(super) lossy: bool,
    pub(super) out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { message, lossy, out } = self;
        // Fields of embedded messages are gathered: each message is written once.
        let mut embedded: Vec<([u32; 2], Vec<u8>)> = Vec::new();
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let found = TABLE.field(message, &name).filter(|(_, field)| field.number > 0);
            let Some((place, field)) = found else {
                // The envelope says what the object is.
                if lossy || name == "apiVersion" || name == "kind" {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                return Err(A::Error::custom(format_args!("{UNNUMBERED}{name}")));
            };
            let out = if place.within == [0, 0] { &mut *out } else { group(&mut embedded, place.within) };
            let value = Value { field, number: field.number, lossy, out };
            if field.map {
                map.next_value_seed(Entries(value))?;
            } else if field.repeated {
                map.next_value_seed(List(value))?;
            } else {
                map.next_value_seed(value)?;
            }
        }
        embedded.sort_by_key(|(within, _)| within[1] == 0);
        while let Some((within, content)) = (!embedded.is_empty()).then(|| embedded.remove(0)) {
            if within[1] == 0 {
                wire::bytes(out, within[0], &content);
            } else {
                wire::bytes(group(&mut embedded, [within[0], 0]), within[1], &content);
            }
        }
        Ok(())
    }
}

fn group(groups: &mut Vec<([u32; 2], Vec<u8>)>, within: [u32; 2]) -> &mut Vec<u8> {
    let at = groups.iter().position(|(own, _)| *own == within).unwrap_or_else(|| {
        groups.push((within, Vec::new()));
        groups.len() - 1
    });
    &mut groups[at].1
}

/// Writes one value of a field.
struct Value<'a> {
    field: &'static Field,
    number: u32,
    lossy: bool,
    out: &'a mut Vec<u8>,
}

/// Writes a list of them.
struct List<'a>(Value<'a>);

/// Writes a map of them.
struct Entries<'a>(Value<'a>);

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the list {}", self.0.field.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Value { field, number, lossy, out } = self.0;
        while seq.next_element_seed(Value { field, number, lossy, out: &mut *out })?.is_some() {}
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the map {}", self.0.field.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Value { field, number, lossy, out } = self.0;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            wire::message(out, number, |out| {
                wire::bytes(out, 1, key.as_bytes());
                map.next_value_seed(Value { field, number: 2, lossy, out })
            })?;
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.field.of == Of::Raw {
            let raw = <&RawValue>::deserialize(deserializer)?.get();
            if raw != "null" {
                let Ok(()) = wire::message(self.out, self.number, |out| {
                    wire::bytes(out, 1, raw.as_bytes());
                    Ok::<_, std::convert::Infallible>(())
                });
            }
            return Ok(());
        }
        deserializer.deserialize_any(self)
    }
}

impl Value<'_> {
    /// The value of a field that holds a message, written by `fill`.
    fn message<E>(self, fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        wire::message(self.out, self.number, fill)
    }

    fn schema<'de, A: MapAccess<'de>>(self, number: u32, map: A) -> Result<(), A::Error> {
        let lossy = self.lossy;
        self.message(|out| {
            wire::message(out, number, |out| Fields { message: TABLE.schema, lossy, out }.visit_map(map))
        })
    }

    fn number<E: Error>(self, value: i64) -> Result<(), E> {
        match self.field.of {
            Of::Integer => wire::integer(self.out, self.number, value),
            #[expect(clippy::cast_precision_loss, reason = "JSON's numbers are doubles")]
            Of::Double => wire::double(self.out, self.number, value as f64),
            Of::IntOrString => {
                return self.message(|out| {
                    wire::integer(out, 1, 0);
                    wire::integer(out, 2, value);
                    Ok(())
                });
            }
            Of::Quantity => {
                return self.message(|out| {
                    wire::bytes(out, 1, value.to_string().as_bytes());
                    Ok(())
                });
            }
            _ => return Err(E::invalid_type(serde::de::Unexpected::Signed(value), &self)),
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of the field {}", self.field.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.field.of {
            Of::Bool => {
                wire::integer(self.out, self.number, value.into());
                Ok(())
            }
            Of::SchemaOrBool => self.message(|out| {
                wire::integer(out, 1, value.into());
                Ok(())
            }),
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.number(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.number(value.cast_signed())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self.field.of {
            Of::Double => {
                wire::double(self.out, self.number, value);
                Ok(())
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Float(value), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.field.of {
            Of::Text => wire::bytes(self.out, self.number, text.as_bytes()),
            Of::Bytes => {
                let bytes = STANDARD.decode(text).map_err(E::custom)?;
                wire::bytes(self.out, self.number, &bytes);
            }
            Of::Quantity => {
                return self.message(|out| {
                    wire::bytes(out, 1, text.as_bytes());
                    Ok(())
                });
            }
            Of::IntOrString => {
                return self.message(|out| {
                    wire::integer(out, 1, 1);
                    wire::integer(out, 2, 0);
                    wire::bytes(out, 3, text.as_bytes());
                    Ok(())
                });
            }
            Of::Time | Of::MicroTime => {
                let time: Timestamp = text.parse().map_err(E::custom)?;
                return self.message(|out| {
                    wire::integer(out, 1, time.as_second());
                    wire::integer(out, 2, time.subsec_nanosecond().into());
                    Ok(())
                });
            }
            _ => return Err(E::invalid_type(serde::de::Unexpected::Str(text), &self)),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let (of, lossy) = (self.field.of, self.lossy);
        match of {
            Of::Strings | Of::SchemaOrStrings => self.message(|out| {
                let number = if of == Of::Strings { 1 } else { 2 };
                while let Some(text) = seq.next_element::<std::borrow::Cow<'de, str>>()? {
                    wire::bytes(out, number, text.as_bytes());
                }
                Ok(())
            }),
            Of::SchemaOrArray => self.message(|out| {
                loop {
                    let mut one = Vec::new();
                    let fields = Fields { message: TABLE.schema, lossy, out: &mut one };
                    if seq.next_element_seed(fields)?.is_none() {
                        return Ok(());
                    }
                    wire::bytes(out, 2, &one);
                }
            }),
            _ => Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let (of, lossy) = (self.field.of, self.lossy);
        match of {
            Of::Message(message) => self.message(|out| Fields { message, lossy, out }.visit_map(map)),
            Of::SchemaOrArray | Of::SchemaOrStrings => self.schema(1, map),
            Of::SchemaOrBool => self.message(|out| {
                wire::integer(out, 1, 1);
                wire::message(out, 2, |out| Fields { message: TABLE.schema, lossy, out }.visit_map(map))
            }),
            _ => Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self)),
        }
    }
}
