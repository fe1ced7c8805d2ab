//! Bodies in protobuf, as `kubectl create namespace` and other Go clients send them: read into JSON at the door.
//!
//! Answers stay JSON, which every such client accepts as well. The decoder knows no types: field numbers, names and
//! types come from `protobuf/fields.txt`, made by the script beside it. Nothing here may panic: the input is a client's.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// The media type of the envelope.
pub(crate) const MEDIA: &str = "application/vnd.kubernetes.protobuf";
/// What every body starts with.
const MAGIC: &[u8] = b"k8s\0";
/// Messages are not nested deeper than this.
const DEPTH: usize = 32;

/// Why a body cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the body does not start as a Kubernetes protobuf message")]
    Magic,
    #[error("the body ends in the middle of a message")]
    Truncated,
    #[error("field {0} has the wrong wire type")]
    Type(String),
    #[error("a string is not UTF-8")]
    Text,
    #[error("messages are nested too deeply")]
    Depth,
    #[error("no protobuf form of {kind} in {version:?} is known")]
    Unknown { version: String, kind: String },
}

type Result<T> = std::result::Result<T, Fault>;

/// One field of a message.
struct Field {
    number: u64,
    name: &'static str,
    repeated: bool,
    map: bool,
    of: &'static str,
}

static MESSAGES: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    let mut messages: HashMap<&'static str, Vec<Field>> = HashMap::new();
    let mut current = "";
    for line in include_str!("protobuf/fields.txt").lines().filter(|line| !line.starts_with('#')) {
        let Some(text) = line.strip_prefix(' ') else {
            current = line;
            messages.entry(current).or_default();
            continue;
        };
        let mut words = text.split(' ');
        let (Some(number), Some(name), Some(of)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let number = number.parse().unwrap_or(0);
        let (repeated, map) = (of.starts_with('*'), of.starts_with('%'));
        let of = of.trim_start_matches(['*', '%']);
        messages.entry(current).or_default().push(Field { number, name, repeated, map, of });
    }
    messages
});

/// The JSON of an enveloped object, `apiVersion` and `kind` included.
///
/// # Errors
/// [`Fault`], whose text is fit for the client.
pub(crate) fn to_json(body: &[u8]) -> Result<Vec<u8>> {
    let mut reader = Reader(body.strip_prefix(MAGIC).ok_or(Fault::Magic)?);
    let (mut version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    while let Some((number, wire)) = reader.field()? {
        match (number, wire) {
            (1, Wire::Bytes(head)) => {
                let mut head = Reader(head);
                while let Some((number, wire)) = head.field()? {
                    match (number, wire) {
                        (1, Wire::Bytes(text)) => version = utf8(text)?,
                        (2, Wire::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let message = message(&version, &kind);
    let Some((message, _)) = MESSAGES.get_key_value(message.as_str()) else {
        return Err(Fault::Unknown { version, kind });
    };
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), version.into());
    object.insert("kind".to_owned(), kind.into());
    fill(&mut object, message, raw, 0)?;
    Ok(Value::Object(object).to_string().into_bytes())
}

/// `v1` and `Pod` as `core.v1.Pod`, `coordination.k8s.io/v1` and `Lease` as `coordination.v1.Lease`.
fn message(version: &str, kind: &str) -> String {
    if kind == "DeleteOptions" {
        // It comes in every group's version and is the same in all.
        return "meta.v1.DeleteOptions".to_owned();
    }
    let (group, version) = version.rsplit_once('/').unwrap_or(("core", version));
    format!("{}.{version}.{kind}", group.split('.').next().unwrap_or_default())
}

/// Reads the fields of a message into `object`.
fn fill(object: &mut Map<String, Value>, message: &str, bytes: &[u8], depth: usize) -> Result<()> {
    if depth > DEPTH {
        return Err(Fault::Depth);
    }
    let fields = MESSAGES.get(message).map(Vec::as_slice).unwrap_or_default();
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.field()? {
        // What is not in the table is of another release; JSON clients' unknown fields go the same way.
        let Some(field) = fields.iter().find(|field| field.number == number) else { continue };
        if field.map {
            let Some((key, value)) = entry(field, wire, depth)? else { continue };
            let map = object.entry(field.name).or_insert_with(|| Map::new().into());
            if let Value::Object(map) = map {
                map.insert(key, value);
            }
            continue;
        }
        if field.name == "-" {
            fill(object, field.of, wire.bytes(field)?, depth + 1)?;
            continue;
        }
        let Some(value) = value(field, wire, depth)? else { continue };
        if field.repeated {
            let list = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(value);
            }
        } else if value != "" {
            // Go writes strings that are not set as empty ones.
            object.insert(field.name.to_owned(), value);
        }
    }
    Ok(())
}

/// One entry of a map.
fn entry(field: &Field, wire: Wire<'_>, depth: usize) -> Result<Option<(String, Value)>> {
    let mut reader = Reader(wire.bytes(field)?);
    let (mut key, mut found) = (String::new(), None);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => key = utf8(wire.bytes(field)?)?,
            2 => found = value(field, wire, depth)?,
            _ => {}
        }
    }
    // An absent value is the empty one.
    let empty = if field.of == "s" || field.of == "b" { Value::from("") } else { Map::new().into() };
    Ok(Some((key, found.unwrap_or(empty))))
}

/// One value; nothing for a time that is not set.
fn value(field: &Field, wire: Wire<'_>, depth: usize) -> Result<Option<Value>> {
    Ok(Some(match field.of {
        "s" => utf8(wire.bytes(field)?)?.into(),
        "b" => STANDARD.encode(wire.bytes(field)?).into(),
        "i" => wire.integer(field)?.into(),
        "B" => (wire.integer(field)? != 0).into(),
        "d" => wire.double(field)?.into(),
        "@time" | "@micro" => return time(wire.bytes(field)?, field.of == "@micro"),
        "@quantity" => first_text(wire.bytes(field)?)?.into(),
        "@intstr" => int_or_string(wire.bytes(field)?)?,
        // Free-form JSON; what is not JSON could not have come by JSON either.
        "@raw" => serde_json::from_str(&first_text(wire.bytes(field)?)?).unwrap_or_default(),
        message => {
            let mut object = Map::new();
            fill(&mut object, message, wire.bytes(field)?, depth + 1)?;
            object.into()
        }
    }))
}

fn first_text(bytes: &[u8]) -> Result<String> {
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.field()? {
        if let (1, Wire::Bytes(text)) = (number, wire) {
            return utf8(text);
        }
    }
    Ok(String::new())
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

fn utf8(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Fault::Text)
}

/// A value as it travels.
#[derive(Clone, Copy, Debug)]
enum Wire<'a> {
    Integer(i64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    fn bytes(self, field: &Field) -> Result<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Fault::Type(field.name.to_owned())),
        }
    }

    fn integer(self, field: &Field) -> Result<i64> {
        match self {
            Self::Integer(value) => Ok(value),
            _ => Err(Fault::Type(field.name.to_owned())),
        }
    }

    fn double(self, field: &Field) -> Result<f64> {
        match self {
            Self::Fixed(bits) => Ok(f64::from_bits(bits)),
            _ => Err(Fault::Type(field.name.to_owned())),
        }
    }
}

/// What is left of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next field's number and value; nothing at the end.
    fn field(&mut self) -> Result<Option<(u64, Wire<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Wire::Integer(self.varint()?.cast_signed()),
            1 => {
                let (bytes, rest) = self.0.split_first_chunk::<8>().ok_or(Fault::Truncated)?;
                self.0 = rest;
                Wire::Fixed(u64::from_le_bytes(*bytes))
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Fault::Truncated)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(Fault::Truncated)?;
                self.0 = rest;
                Wire::Bytes(bytes)
            }
            5 => {
                let (bytes, rest) = self.0.split_first_chunk::<4>().ok_or(Fault::Truncated)?;
                self.0 = rest;
                Wire::Fixed(u64::from(u32::from_le_bytes(*bytes)))
            }
            // Groups are not used by the API.
            _ => return Err(Fault::Type(format!("number {}", key >> 3))),
        };
        Ok(Some((key >> 3, value)))
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Fault::Truncated)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::Truncated)
    }
}

#[cfg(test)]
mod tests;
