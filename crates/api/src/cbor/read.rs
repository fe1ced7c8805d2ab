//! From CBOR to JSON, in one pass.

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use minicbor::data::Type;
use minicbor::decode::Decoder;

use super::{Fault, Result, half};

/// So many arrays and maps may stand within one another.
pub(super) const LEVELS: usize = 64;
/// So many elements an array may have, or pairs a map.
pub(super) const ITEMS: u64 = 1024;

/// Tags that mean something to us; of others the content counts.
mod tag {
    pub(super) const TIME: u64 = 0;
    pub(super) const EPOCH: u64 = 1;
    pub(super) const BIG: u64 = 2;
    pub(super) const BIG_NEGATIVE: u64 = 3;
    pub(super) const BASE64_URL: u64 = 21;
    pub(super) const BASE64: u64 = 22;
    pub(super) const BASE16: u64 = 23;
}

/// The JSON of a body that is one item.
pub(super) fn whole(body: &[u8]) -> Result<Vec<u8>> {
    let mut reader = Reader { decoder: Decoder::new(body), out: Vec::with_capacity(body.len() * 2) };
    reader.item(0)?;
    let end = reader.decoder.position();
    if end < body.len() {
        return Err(Fault::Extraneous(body.len() - end, end));
    }
    Ok(reader.out)
}

struct Reader<'b> {
    decoder: Decoder<'b>,
    out: Vec<u8>,
}

/// Whether a map or array goes on, and counts what it has had.
struct Count {
    /// Nothing if the length is open.
    length: Option<u64>,
    seen: u64,
    what: &'static str,
}

impl Count {
    fn new(length: Option<u64>, what: &'static str) -> Result<Self> {
        match length {
            Some(length) if length > ITEMS => Err(Fault::Items(what)),
            length => Ok(Self { length, seen: 0, what }),
        }
    }

    /// True if there is one more.
    fn more(&mut self, decoder: &mut Decoder<'_>) -> Result<bool> {
        match self.length {
            Some(length) if self.seen == length => return Ok(false),
            None if decoder.datatype()? == Type::Break => {
                // The break is no item: it is stepped over as the byte that it is.
                decoder.set_position(decoder.position() + 1);
                return Ok(false);
            }
            _ => {}
        }
        if self.seen == ITEMS {
            return Err(Fault::Items(self.what));
        }
        self.seen += 1;
        Ok(true)
    }
}

impl<'b> Reader<'b> {
    fn item(&mut self, level: usize) -> Result<()> {
        match self.decoder.datatype()? {
            Type::Tag => self.tagged(level),
            Type::Array | Type::ArrayIndef => self.array(level + 1),
            Type::Map | Type::MapIndef => self.map(level + 1),
            Type::Bytes | Type::BytesIndef | Type::String | Type::StringIndef => {
                let text = self.text()?;
                self.json(&text)
            }
            Type::Bool => {
                let value = self.decoder.bool()?;
                self.json(&value)
            }
            Type::Null => {
                self.decoder.null()?;
                self.json(&())
            }
            Type::F16 | Type::F32 | Type::F64 => {
                let value = self.float()?;
                self.json(&value)
            }
            Type::Undefined => Err(simple(23)),
            Type::Simple => Err(simple(self.decoder.simple()?)),
            Type::Break | Type::Unknown(_) => Err(Fault::Malformed("an item has no type".to_owned())),
            _ => {
                let value = self.integer()?;
                self.json(&value)
            }
        }
    }

    fn json(&mut self, value: &(impl serde::Serialize + ?Sized)) -> Result<()> {
        serde_json::to_writer(&mut self.out, value).map_err(|error| Fault::Json(error.to_string()))
    }

    fn integer(&mut self) -> Result<i64> {
        let value = i128::from(self.decoder.int()?);
        i64::try_from(value).map_err(|_| Fault::Overflow(value.to_string()))
    }

    fn float(&mut self) -> Result<f64> {
        let value = if self.decoder.datatype()? == Type::F16 { self.half()? } else { self.decoder.f64()? };
        match value {
            value if value.is_nan() => {
                Err(Fault::Unacceptable("primitives", "floating-point NaN".to_owned()))
            }
            value if value.is_infinite() => {
                Err(Fault::Unacceptable("primitives", "floating-point infinity".to_owned()))
            }
            value => Ok(value),
        }
    }

    /// A number of 16 bits, which the decoder only knows with another crate.
    fn half(&mut self) -> Result<f64> {
        let at = self.decoder.position() + 1;
        let bits = self.decoder.input().get(at..at + 2).and_then(|bits| bits.try_into().ok());
        let bits = bits.ok_or_else(|| Fault::Malformed("end of input bytes".to_owned()))?;
        self.decoder.set_position(at + 2);
        Ok(half::value(u16::from_be_bytes(bits)))
    }

    /// The bytes of a byte string.
    fn bytes(&mut self) -> Result<Cow<'b, [u8]>> {
        if self.decoder.datatype()? == Type::Bytes {
            return Ok(Cow::Borrowed(self.decoder.bytes()?));
        }
        let mut whole = Vec::new();
        for chunk in self.decoder.bytes_iter()? {
            whole.extend_from_slice(chunk?);
        }
        Ok(Cow::Owned(whole))
    }

    /// A text, which may be a byte string as well: encoders that have not looked at a text send it so.
    fn text(&mut self) -> Result<Cow<'b, str>> {
        let bytes = match self.decoder.datatype()? {
            Type::String => return Ok(Cow::Borrowed(self.decoder.str()?)),
            Type::StringIndef => {
                let mut whole = String::new();
                for chunk in self.decoder.str_iter()? {
                    whole.push_str(chunk?);
                }
                return Ok(Cow::Owned(whole));
            }
            Type::Bytes | Type::BytesIndef => self.bytes()?,
            other => {
                let why = format!("the key of a map must be a string, not {other}");
                return Err(Fault::Unacceptable("map", why));
            }
        };
        let invalid = || Fault::Malformed("invalid UTF-8 string".to_owned());
        match bytes {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| invalid()),
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| invalid()),
        }
    }

    fn array(&mut self, level: usize) -> Result<()> {
        if level > LEVELS {
            return Err(Fault::Depth);
        }
        let mut count = Count::new(self.decoder.array()?, "elements for CBOR array")?;
        self.out.push(b'[');
        while count.more(&mut self.decoder)? {
            if count.seen > 1 {
                self.out.push(b',');
            }
            self.item(level)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn map(&mut self, level: usize) -> Result<()> {
        if level > LEVELS {
            return Err(Fault::Depth);
        }
        let mut count = Count::new(self.decoder.map()?, "key-value pairs for CBOR map")?;
        let mut keys = HashSet::new();
        self.out.push(b'{');
        while count.more(&mut self.decoder)? {
            if count.seen > 1 {
                self.out.push(b',');
            }
            let key = self.text()?;
            self.json(&key)?;
            self.out.push(b':');
            if let Some(twice) = keys.replace(key) {
                return Err(Fault::Duplicate(twice.into_owned()));
            }
            self.item(level)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// What the innermost of several tags says.
    fn tagged(&mut self, level: usize) -> Result<()> {
        let mut number = self.decoder.tag()?.as_u64();
        while self.decoder.datatype()? == Type::Tag {
            number = self.decoder.tag()?.as_u64();
        }
        let is_bytes = matches!(self.decoder.datatype()?, Type::Bytes | Type::BytesIndef);
        match number {
            tag::TIME => self.time(),
            tag::EPOCH => self.epoch(),
            tag::BIG | tag::BIG_NEGATIVE => Err(Fault::Unacceptable("tag", "bignum".to_owned())),
            tag::BASE64 if is_bytes => {
                let text = STANDARD.encode(self.bytes()?);
                self.json(&text)
            }
            tag::BASE64_URL if is_bytes => {
                let text = URL_SAFE_NO_PAD.encode(self.bytes()?);
                self.json(&text)
            }
            tag::BASE16 if is_bytes => {
                let text: String = self.bytes()?.iter().map(|byte| format!("{byte:02x}")).collect();
                self.json(&text)
            }
            _ => self.item(level),
        }
    }

    /// A time as text.
    fn time(&mut self) -> Result<()> {
        if !matches!(self.decoder.datatype()?, Type::String | Type::StringIndef) {
            let why = "tag number 0 must be followed by text string".to_owned();
            return Err(Fault::Unacceptable("tag", why));
        }
        let text = self.text()?;
        if text.parse::<Timestamp>().is_err() {
            return Err(Fault::Unacceptable("tag", format!("{text:?} is no time of RFC 3339")));
        }
        self.json(&text)
    }

    /// A time in seconds since 1970.
    fn epoch(&mut self) -> Result<()> {
        let time = match self.decoder.datatype()? {
            Type::F16 | Type::F32 | Type::F64 => {
                let since = SignedDuration::try_from_secs_f64(self.float()?);
                since.and_then(Timestamp::from_duration)
            }
            Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 => {
                Timestamp::from_second(self.integer()?)
            }
            _ => {
                let why = "tag number 1 must be followed by integer or floating-point number".to_owned();
                return Err(Fault::Unacceptable("tag", why));
            }
        };
        let time = time.map_err(|error| Fault::Unacceptable("tag", error.to_string()))?;
        self.json(&time.to_string())
    }
}

fn simple(value: u8) -> Fault {
    Fault::Unacceptable("primitives", format!("simple value {value} is not recognized"))
}
