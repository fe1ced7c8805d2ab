//! Header blocks: name/value pairs, deflated with one zlib stream per direction and a dictionary both sides know.
//!
//! The compression contexts live as long as the connection, so every block must pass through them, also those of streams that
//! are refused. The inflated size is bounded: a kilobyte of zlib can hold a megabyte of zeros.

use std::sync::LazyLock;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::SpdyError;

/// Names and values of one frame, names in lower case.
pub(crate) type Headers = Vec<(String, String)>;

/// Far more than any client sends; upstream's largest is a handful of short headers.
const MOST_INFLATED: usize = 64 * 1024;

/// Words that come with their length in front, in the order of the draft.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host if-match \
    if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";

/// What follows the words, without lengths.
const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized\
    403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
    Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
    chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,\
    text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// The dictionary of the SPDY/3 draft; its Adler-32 is e3c6a7c2.
pub(super) static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut dictionary = Vec::with_capacity(1423);
    for word in WORDS.split_ascii_whitespace() {
        // The one entry with a space in it is written with an underscore above.
        let word = word.replace('_', " ");
        push_length(&mut dictionary, word.len());
        dictionary.extend_from_slice(word.as_bytes());
    }
    dictionary.extend_from_slice(TAIL.as_bytes());
    dictionary
});

fn push_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

/// Deflates the blocks of one direction.
pub(super) struct Deflater(Compress);

impl Deflater {
    pub(super) fn new() -> Self {
        let mut zlib = Compress::new(Compression::fast(), true);
        // Only a stream that has begun refuses a dictionary.
        let _checksum = zlib.set_dictionary(&DICTIONARY);
        Self(zlib)
    }

    /// Appends the deflated block to `out`.
    pub(super) fn block(&mut self, headers: &Headers, out: &mut Vec<u8>) -> Result<(), SpdyError> {
        let mut plain = Vec::new();
        push_length(&mut plain, headers.len());
        for (name, value) in headers {
            push_length(&mut plain, name.len());
            plain.extend(name.bytes().map(|byte| byte.to_ascii_lowercase()));
            push_length(&mut plain, value.len());
            plain.extend_from_slice(value.as_bytes());
        }
        let mut rest = plain.as_slice();
        loop {
            out.reserve(plain.len() + 64);
            let before = self.0.total_in();
            self.0
                .compress_vec(rest, out, FlushCompress::Sync)
                .map_err(|_| SpdyError::Headers("cannot deflate"))?;
            let taken = usize::try_from(self.0.total_in() - before).unwrap_or(rest.len());
            rest = &rest[taken..];
            // A flush is complete when there was room left in the output.
            if rest.is_empty() && out.len() < out.capacity() {
                return Ok(());
            }
        }
    }
}

/// Inflates the blocks of one direction.
pub(super) struct Inflater(Decompress);

impl Inflater {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub(super) fn block(&mut self, mut deflated: &[u8]) -> Result<Headers, SpdyError> {
        let mut plain = Vec::with_capacity(1024);
        loop {
            let (before_in, before_out) = (self.0.total_in(), self.0.total_out());
            let outcome = self.0.decompress_vec(deflated, &mut plain, FlushDecompress::Sync);
            let taken = usize::try_from(self.0.total_in() - before_in).unwrap_or(deflated.len());
            deflated = &deflated[taken..];
            match outcome {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0
                        .set_dictionary(&DICTIONARY)
                        .map_err(|_| SpdyError::Headers("unknown dictionary"))?;
                    continue;
                }
                Err(_) => return Err(SpdyError::Headers("cannot inflate")),
                Ok(Status::StreamEnd) => break,
                Ok(_) => {}
            }
            if plain.len() == plain.capacity() {
                if plain.len() >= MOST_INFLATED {
                    return Err(SpdyError::Headers("too long"));
                }
                plain.reserve(plain.len());
            } else if deflated.is_empty() || (taken == 0 && self.0.total_out() == before_out) {
                break;
            }
        }
        parse(&plain)
    }
}

fn parse(plain: &[u8]) -> Result<Headers, SpdyError> {
    let mut rest = plain;
    let count = take_length(&mut rest)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = take_text(&mut rest)?;
        let value = take_text(&mut rest)?;
        headers.push((name.to_ascii_lowercase(), value));
    }
    Ok(headers)
}

fn take_length(rest: &mut &[u8]) -> Result<usize, SpdyError> {
    let (length, tail) = rest.split_first_chunk::<4>().ok_or(SpdyError::Headers("cut short"))?;
    *rest = tail;
    Ok(u32::from_be_bytes(*length) as usize)
}

fn take_text(rest: &mut &[u8]) -> Result<String, SpdyError> {
    let length = take_length(rest)?;
    let (text, tail) = rest.split_at_checked(length).ok_or(SpdyError::Headers("cut short"))?;
    *rest = tail;
    Ok(String::from_utf8_lossy(text).into_owned())
}
