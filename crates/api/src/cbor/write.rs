//! From JSON to CBOR, in one pass: a container's length is written over a place that was kept for it.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minicbor::data::Tag;
use minicbor::encode::Encoder;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::half;
use crate::protobuf::table::{Field, Index, Of, TABLE};

/// The tag of bytes that are base64 where they have to be text.
const BASE64: Tag = Tag::new(22);

/// What stands before a number of 16 bits.
pub(super) const HALF: u8 = 0xf9;

/// What is known of an item, by the table of messages.
#[derive(Clone, Copy)]
pub(super) enum Known {
    /// Nothing: what is in it is written as it stands.
    Nothing,
    Message(Index),
    /// All that stands under the field's name.
    Field(&'static Field),
    /// One of the field's values.
    Value(&'static Field),
}

impl Known {
    /// What a single value holds.
    fn of(self) -> Option<Of> {
        match self {
            Self::Value(field) => Some(field.of),
            Self::Field(field) if !field.repeated && !field.map => Some(field.of),
            _ => None,
        }
    }

    fn member(self, key: &str) -> Self {
        let message = match (self, self.of()) {
            (Self::Field(field), None) if field.map => return Self::Value(field),
            (Self::Message(message), _) | (_, Some(Of::Message(message))) => message,
            (_, Some(Of::SchemaOrArray | Of::SchemaOrBool | Of::SchemaOrStrings)) => TABLE.schema,
            _ => return Self::Nothing,
        };
        TABLE.field(message, key).map_or(Self::Nothing, |(_, field)| Self::Field(field))
    }

    fn element(self) -> Self {
        match (self, self.of()) {
            (Self::Field(field), None) if field.repeated => Self::Value(field),
            (_, Some(Of::SchemaOrArray)) => Self::Message(TABLE.schema),
            _ => Self::Nothing,
        }
    }
}

/// Writes an item.
pub(super) struct Item<'a> {
    pub(super) known: Known,
    pub(super) out: &'a mut Vec<u8>,
}

/// Writes with the encoder, which cannot fail over memory.
fn put(
    out: &mut Vec<u8>,
    fill: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Result<(), minicbor::encode::Error<std::convert::Infallible>>,
) {
    let written = fill(&mut Encoder::new(out));
    debug_assert!(written.is_ok(), "memory takes everything");
}

/// A text, as a byte string.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    put(out, |encoder| encoder.bytes(text.as_bytes())?.ok());
}

/// The head of a map.
pub(super) fn map(out: &mut Vec<u8>, pairs: usize) {
    put(out, |encoder| encoder.map(pairs as u64)?.ok());
}

/// The head of an array.
pub(super) fn array(out: &mut Vec<u8>, elements: usize) {
    put(out, |encoder| encoder.array(elements as u64)?.ok());
}

/// Puts a head over the one byte that was kept for it; most need no more.
fn fill(out: &mut Vec<u8>, kept: usize, head: impl FnOnce(&mut Vec<u8>)) {
    let mut written = Vec::with_capacity(9);
    head(&mut written);
    out.splice(kept..=kept, written);
}

/// The shortest form that keeps the value.
fn float(out: &mut Vec<u8>, value: f64) {
    #[expect(clippy::cast_possible_truncation, reason = "what is lost is looked at")]
    let single = value as f32;
    if f64::from(single).to_bits() != value.to_bits() {
        return put(out, |encoder| encoder.f64(value)?.ok());
    }
    match half::bits(single) {
        Some(bits) => {
            out.push(HALF);
            out.extend_from_slice(&bits.to_be_bytes());
        }
        None => put(out, |encoder| encoder.f32(single)?.ok()),
    }
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        put(self.out, |encoder| encoder.null()?.ok());
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        put(self.out, |encoder| encoder.bool(value)?.ok());
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        if self.known.of() == Some(Of::Double) {
            #[expect(clippy::cast_precision_loss, reason = "the field is a double")]
            float(self.out, value as f64);
        } else {
            put(self.out, |encoder| encoder.i64(value)?.ok());
        }
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            #[expect(clippy::cast_precision_loss, reason = "as Go reads what is no int64")]
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        float(self.out, value);
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        let bytes = (self.known.of() == Some(Of::Bytes)).then(|| STANDARD.decode(value).ok()).flatten();
        match bytes {
            Some(bytes) => put(self.out, |encoder| encoder.tag(BASE64)?.bytes(&bytes)?.ok()),
            None => text(self.out, value),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { known, out } = self;
        let known = known.element();
        let (kept, mut count) = (out.len(), 0);
        out.push(0);
        while seq.next_element_seed(Item { known, out: &mut *out })?.is_some() {
            count += 1;
        }
        fill(out, kept, |head| array(head, count));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<(), A::Error> {
        let Self { known, out } = self;
        let (kept, mut count) = (out.len(), 0);
        out.push(0);
        while let Some(key) = pairs.next_key::<Cow<'de, str>>()? {
            text(out, &key);
            pairs.next_value_seed(Item { known: known.member(&key), out: &mut *out })?;
            count += 1;
        }
        fill(out, kept, |head| map(head, count));
        Ok(())
    }
}
