//! From protobuf to JSON. Nothing here may panic: the input is a client's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::table::{Field, Index, Of, TABLE};
use super::wire::{Reader, Wire};
use super::{Fault, Result};

/// Messages are not nested deeper than this.
const DEPTH: usize = 64;

/// Reads the fields of a message into `object`.
pub(super) fn fill(
    object: &mut Map<String, Value>,
    message: Index,
    bytes: &[u8],
    depth: usize,
) -> Result<()> {
    if depth > DEPTH {
        return Err(Fault::Depth);
    }
    let fields = &TABLE.message(message).fields;
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.field()? {
        // What is not in the table is of another release; JSON clients' unknown fields go the same way.
        let Some(field) = fields.iter().find(|field| field.number == number && number > 0) else { continue };
        if field.map {
            let (key, value) = entry(field, wire, depth)?;
            let map = object.entry(field.name).or_insert_with(|| Map::new().into());
            if let Value::Object(map) = map {
                map.insert(key, value);
            }
            continue;
        }
        if let (Of::Message(inner), "-") = (field.of, field.name) {
            fill(object, inner, wire.bytes(field.name)?, depth + 1)?;
            continue;
        }
        if field.repeated {
            let value = value(field, wire, depth)?;
            let list = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
            if let (Value::Array(list), Some(value)) = (list, value) {
                list.push(value);
            }
            continue;
        }
        match value(field, wire, depth)? {
            // Go writes what is no pointer even if it is not set.
            Some(value) if field.zero_is_unset && is_zero(&value) => {}
            Some(value) => {
                object.insert(field.name.to_owned(), value);
            }
            None => {}
        }
    }
    Ok(())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Bool(value) => !value,
        _ => false,
    }
}

/// One entry of a map.
fn entry(field: &Field, wire: Wire<'_>, depth: usize) -> Result<(String, Value)> {
    let mut reader = Reader(wire.bytes(field.name)?);
    let (mut key, mut found) = (String::new(), None);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => key = utf8(wire.bytes(field.name)?)?,
            2 => found = value(field, wire, depth)?,
            _ => {}
        }
    }
    // An absent value is the empty one.
    let empty = || match field.of {
        Of::Text | Of::Bytes => "".into(),
        Of::Quantity => "0".into(),
        Of::Strings | Of::SchemaOrStrings => Value::Array(Vec::new()),
        Of::Time | Of::MicroTime => Value::Null,
        _ => Map::new().into(),
    };
    Ok((key, found.unwrap_or_else(empty)))
}

/// One value; nothing for a time that is not set.
fn value(field: &Field, wire: Wire<'_>, depth: usize) -> Result<Option<Value>> {
    let name = field.name;
    Ok(Some(match field.of {
        Of::Text => utf8(wire.bytes(name)?)?.into(),
        Of::Bytes => STANDARD.encode(wire.bytes(name)?).into(),
        Of::Integer => wire.integer(name)?.into(),
        Of::Bool => (wire.integer(name)? != 0).into(),
        Of::Double => wire.double(name)?.into(),
        Of::Time | Of::MicroTime => return time(wire.bytes(name)?, field.of == Of::MicroTime),
        Of::Quantity => first(wire.bytes(name)?)?.map(utf8).transpose()?.unwrap_or_default().into(),
        Of::IntOrString => int_or_string(wire.bytes(name)?)?,
        Of::Raw => match first(wire.bytes(name)?)? {
            Some(json) => raw(json)?,
            None => return Ok(None),
        },
        Of::Strings => strings(wire.bytes(name)?, 1)?,
        Of::SchemaOrArray | Of::SchemaOrBool | Of::SchemaOrStrings => {
            either(field.of, wire.bytes(name)?, depth)?
        }
        Of::Message(inner) => {
            let mut object = Map::new();
            fill(&mut object, inner, wire.bytes(name)?, depth + 1)?;
            object.into()
        }
    }))
}

/// Free-form JSON, or an enveloped object.
fn raw(bytes: &[u8]) -> Result<Value> {
    if bytes.starts_with(super::MAGIC) {
        return super::to_value(bytes);
    }
    serde_json::from_slice(bytes).map_err(|error| Fault::Json(error.to_string()))
}

/// The bytes of field 1.
fn first(bytes: &[u8]) -> Result<Option<&[u8]>> {
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.field()? {
        if let (1, Wire::Bytes(found)) = (number, wire) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn strings(bytes: &[u8], number: u32) -> Result<Value> {
    let mut reader = Reader(bytes);
    let mut list = Vec::new();
    while let Some((found, wire)) = reader.field()? {
        if let (true, Wire::Bytes(text)) = (found == number, wire) {
            list.push(utf8(text)?.into());
        }
    }
    Ok(Value::Array(list))
}

/// A schema, or what may stand in its place.
fn either(of: Of, bytes: &[u8], depth: usize) -> Result<Value> {
    let schema = |bytes: &[u8]| -> Result<Value> {
        let mut object = Map::new();
        fill(&mut object, TABLE.schema, bytes, depth + 1)?;
        Ok(object.into())
    };
    let mut reader = Reader(bytes);
    let mut list = Vec::new();
    while let Some((number, wire)) = reader.field()? {
        match (of, number, wire) {
            (Of::SchemaOrBool, 1, Wire::Integer(allows)) => list.push((allows != 0).into()),
            (Of::SchemaOrBool, 2, Wire::Bytes(bytes)) => return schema(bytes),
            (Of::SchemaOrArray | Of::SchemaOrStrings, 1, Wire::Bytes(bytes)) => return schema(bytes),
            (Of::SchemaOrArray, 2, Wire::Bytes(bytes)) => list.push(schema(bytes)?),
            (Of::SchemaOrStrings, 2, Wire::Bytes(text)) => list.push(utf8(text)?.into()),
            _ => {}
        }
    }
    match of {
        Of::SchemaOrBool => Ok(list.pop().unwrap_or(Value::Bool(false))),
        _ => Ok(Value::Array(list)),
    }
}

fn int_or_string(bytes: &[u8]) -> Result<Value> {
    let mut reader = Reader(bytes);
    let (mut is_text, mut number_value, mut text) = (false, 0, String::new());
    while let Some((number, wire)) = reader.field()? {
        match (number, wire) {
            (1, Wire::Integer(kind)) => is_text = kind == 1,
            (2, Wire::Integer(value)) => number_value = value,
            (3, Wire::Bytes(bytes)) => text = utf8(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number_value.into() })
}

fn time(bytes: &[u8], micro: bool) -> Result<Option<Value>> {
    let mut reader = Reader(bytes);
    let (mut seconds, mut nanos) = (None, 0);
    while let Some((number, wire)) = reader.field()? {
        match (number, wire) {
            (1, Wire::Integer(value)) => seconds = Some(value),
            (2, Wire::Integer(value)) => nanos = i32::try_from(value).unwrap_or(0),
            _ => {}
        }
    }
    let nanos = if micro { nanos / 1000 * 1000 } else { 0 };
    let when = seconds.and_then(|seconds| Timestamp::new(seconds, nanos).ok());
    Ok(when.map(|when| if micro { format!("{when:.6}").into() } else { when.to_string().into() }))
}

/// Text of a client.
pub(super) fn utf8(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Fault::Text)
}
