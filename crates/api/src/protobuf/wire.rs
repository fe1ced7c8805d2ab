//! Protobuf's own encoding: tags, varints, lengths. Knows no messages; never panics.

use super::{Fault, Result};

/// A value as it travels.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wire<'a> {
    Integer(i64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    pub(super) fn bytes(self, field: &str) -> Result<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Fault::Type(field.to_owned())),
        }
    }

    pub(super) fn integer(self, field: &str) -> Result<i64> {
        match self {
            Self::Integer(value) => Ok(value),
            _ => Err(Fault::Type(field.to_owned())),
        }
    }

    pub(super) fn double(self, field: &str) -> Result<f64> {
        match self {
            Self::Fixed(bits) => Ok(f64::from_bits(bits)),
            _ => Err(Fault::Type(field.to_owned())),
        }
    }
}

/// What is left of a message.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next field's number and value; nothing at the end.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Wire<'a>)>> {
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
        let number = u32::try_from(key >> 3).map_err(|_| Fault::Type(format!("number {}", key >> 3)))?;
        Ok(Some((number, value)))
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

/// Appends a varint.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends a field that is an integer.
pub(super) fn integer(out: &mut Vec<u8>, number: u32, value: i64) {
    varint(out, u64::from(number) << 3);
    varint(out, value.cast_unsigned());
}

/// Appends a field that is a double.
pub(super) fn double(out: &mut Vec<u8>, number: u32, value: f64) {
    varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// Appends a field that is bytes.
pub(super) fn bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Appends a field that is a message which `fill` writes. Its length is set when it is known: most messages are short,
/// so one byte is kept for it, and longer ones are moved.
pub(super) fn message<E>(
    out: &mut Vec<u8>,
    number: u32,
    fill: impl FnOnce(&mut Vec<u8>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    varint(out, u64::from(number) << 3 | 2);
    let at = out.len();
    out.push(0);
    fill(out)?;
    let length = out.len() - at - 1;
    if length < 0x80 {
        out[at] = length.to_le_bytes()[0];
    } else {
        let mut head = Vec::with_capacity(5);
        varint(&mut head, length as u64);
        out.splice(at..=at, head);
    }
    Ok(())
}
