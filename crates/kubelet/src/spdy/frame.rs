//! Frames: bytes in and out, no IO, no state but the two zlib contexts.
//!
//! Data frames are handed on in the pieces in which they arrive, so a 16 MiB frame needs no 16 MiB of memory; control frames are
//! whole and small.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::SpdyError;
use super::headers::{Deflater, Headers, Inflater};

const VERSION: u16 = 3;
const FIN: u8 = 0x01;
const UNIDIRECTIONAL: u8 = 0x02;
/// Control frames above this are refused; a header block of ours is below one kilobyte.
const MOST_CONTROL: usize = 64 * 1024;
/// The identifier of the initial window in SETTINGS.
pub(super) const SETTING_INITIAL_WINDOW: u32 = 7;

/// RST_STREAM's code for breaking the protocol.
pub(super) const PROTOCOL_ERROR: u32 = 1;
/// RST_STREAM's code for a stream one does not want.
pub(super) const CANCEL: u32 = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    SynStream {
        id: u32,
        fin: bool,
        unidirectional: bool,
        headers: Headers,
    },
    SynReply {
        id: u32,
        fin: bool,
        headers: Headers,
    },
    Reset {
        id: u32,
        status: u32,
    },
    Settings(Vec<(u32, u32)>),
    Ping(u32),
    GoAway {
        last: u32,
        status: u32,
    },
    Headers {
        id: u32,
        fin: bool,
        headers: Headers,
    },
    WindowUpdate {
        id: u32,
        delta: u32,
    },
    Data {
        id: u32,
        fin: bool,
        bytes: Bytes,
    },
    /// A type we do not know, skipped as the draft asks.
    Unknown(u16),
}

/// Bytes to frames.
pub(super) struct Decoder {
    inflater: Inflater,
    /// The data frame whose bytes are still arriving.
    open: Option<OpenData>,
}

struct OpenData {
    id: u32,
    fin: bool,
    left: usize,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { inflater: Inflater::new(), open: None }
    }

    /// The next frame of `input`, or none if more bytes are needed.
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, SpdyError> {
        if let Some(open) = self.open.take() {
            return Ok(self.data(open, input));
        }
        if input.len() < 8 {
            return Ok(None);
        }
        let flags = input[4];
        let length = usize::from(input[5]) << 16 | usize::from(input[6]) << 8 | usize::from(input[7]);
        let first = u32::from_be_bytes([input[0], input[1], input[2], input[3]]);
        if first & 0x8000_0000 == 0 {
            input.advance(8);
            return Ok(self.data(OpenData { id: first, fin: flags & FIN != 0, left: length }, input));
        }
        if length > MOST_CONTROL {
            return Err(SpdyError::Protocol("control frame too long"));
        }
        if input.len() < 8 + length {
            return Ok(None);
        }
        input.advance(8);
        let body = input.split_to(length).freeze();
        let kind = (first & 0xffff) as u16;
        if (first >> 16) & 0x7fff != u32::from(VERSION) {
            return Err(SpdyError::Protocol("unsupported version"));
        }
        self.control(kind, flags, body).map(Some)
    }

    /// What has arrived of a data frame; its end is told with the last piece only.
    fn data(&mut self, open: OpenData, input: &mut BytesMut) -> Option<Frame> {
        let here = input.len().min(open.left);
        if here == 0 && open.left > 0 {
            self.open = Some(open);
            return None;
        }
        let bytes = input.split_to(here).freeze();
        let left = open.left - here;
        let frame = Frame::Data { id: open.id, fin: open.fin && left == 0, bytes };
        if left > 0 {
            self.open = Some(OpenData { left, ..open });
        }
        Some(frame)
    }

    fn control(&mut self, kind: u16, flags: u8, mut body: Bytes) -> Result<Frame, SpdyError> {
        let fin = flags & FIN != 0;
        let needs = |body: &Bytes, length: usize| {
            if body.len() < length { Err(SpdyError::Protocol("control frame too short")) } else { Ok(()) }
        };
        Ok(match kind {
            1 => {
                needs(&body, 10)?;
                let id = body.get_u32() & 0x7fff_ffff;
                // The stream it is associated with, priority and slot have no meaning to us.
                body.advance(6);
                let headers = self.inflater.block(&body)?;
                Frame::SynStream { id, fin, unidirectional: flags & UNIDIRECTIONAL != 0, headers }
            }
            2 => {
                needs(&body, 4)?;
                let id = body.get_u32() & 0x7fff_ffff;
                Frame::SynReply { id, fin, headers: self.inflater.block(&body)? }
            }
            3 => {
                needs(&body, 8)?;
                Frame::Reset { id: body.get_u32() & 0x7fff_ffff, status: body.get_u32() }
            }
            4 => {
                needs(&body, 4)?;
                let count = body.get_u32() as usize;
                if body.len() / 8 < count {
                    return Err(SpdyError::Protocol("settings cut short"));
                }
                Frame::Settings((0..count).map(|_| (body.get_u32() & 0x00ff_ffff, body.get_u32())).collect())
            }
            6 => {
                needs(&body, 4)?;
                Frame::Ping(body.get_u32())
            }
            7 => {
                needs(&body, 8)?;
                Frame::GoAway { last: body.get_u32() & 0x7fff_ffff, status: body.get_u32() }
            }
            8 => {
                needs(&body, 4)?;
                let id = body.get_u32() & 0x7fff_ffff;
                Frame::Headers { id, fin, headers: self.inflater.block(&body)? }
            }
            9 => {
                needs(&body, 8)?;
                Frame::WindowUpdate { id: body.get_u32() & 0x7fff_ffff, delta: body.get_u32() & 0x7fff_ffff }
            }
            other => Frame::Unknown(other),
        })
    }
}

/// Frames to bytes.
pub(super) struct Encoder {
    deflater: Deflater,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { deflater: Deflater::new() }
    }

    /// Appends a frame to `out`.
    pub(super) fn encode(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), SpdyError> {
        let mut body = Vec::new();
        match frame {
            Frame::Data { id, fin, bytes } => {
                out.put_u32(*id & 0x7fff_ffff);
                put_flags_and_length(out, if *fin { FIN } else { 0 }, bytes.len())?;
                out.extend_from_slice(bytes);
                Ok(())
            }
            Frame::SynStream { id, fin, unidirectional, headers } => {
                body.put_u32(*id);
                body.put_slice(&[0; 6]);
                self.deflater.block(headers, &mut body)?;
                let flags = if *fin { FIN } else { 0 } | if *unidirectional { UNIDIRECTIONAL } else { 0 };
                control(out, 1, flags, &body)
            }
            Frame::SynReply { id, fin, headers } => {
                body.put_u32(*id);
                self.deflater.block(headers, &mut body)?;
                control(out, 2, if *fin { FIN } else { 0 }, &body)
            }
            Frame::Reset { id, status } => {
                body.put_u32(*id);
                body.put_u32(*status);
                control(out, 3, 0, &body)
            }
            Frame::Settings(entries) => {
                body.put_u32(u32::try_from(entries.len()).unwrap_or(u32::MAX));
                for (id, value) in entries {
                    body.put_u32(*id & 0x00ff_ffff);
                    body.put_u32(*value);
                }
                control(out, 4, 0, &body)
            }
            Frame::Ping(id) => control(out, 6, 0, &id.to_be_bytes()),
            Frame::GoAway { last, status } => {
                body.put_u32(*last);
                body.put_u32(*status);
                control(out, 7, 0, &body)
            }
            Frame::Headers { id, fin, headers } => {
                body.put_u32(*id);
                self.deflater.block(headers, &mut body)?;
                control(out, 8, if *fin { FIN } else { 0 }, &body)
            }
            Frame::WindowUpdate { id, delta } => {
                body.put_u32(*id);
                body.put_u32(*delta);
                control(out, 9, 0, &body)
            }
            Frame::Unknown(kind) => control(out, *kind, 0, &[]),
        }
    }
}

fn control(out: &mut BytesMut, kind: u16, flags: u8, body: &[u8]) -> Result<(), SpdyError> {
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    put_flags_and_length(out, flags, body.len())?;
    out.extend_from_slice(body);
    Ok(())
}

fn put_flags_and_length(out: &mut BytesMut, flags: u8, length: usize) -> Result<(), SpdyError> {
    match u32::try_from(length) {
        Ok(length) if length < 1 << 24 => {
            out.put_u32(u32::from(flags) << 24 | length);
            Ok(())
        }
        _ => Err(SpdyError::Protocol("frame too long")),
    }
}
