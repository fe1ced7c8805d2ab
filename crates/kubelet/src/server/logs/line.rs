//! One line of a CRI log, `time stream tags content`, and its way to the reader. Pure.

use bytes::{BufMut, BytesMut};
use jiff::Timestamp;

use super::options::{LogOptions, Streams};

/// A line of the file, without its newline.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) time: &'a [u8],
    pub(super) stderr: bool,
    /// The container's line goes on in the next line of the file.
    pub(super) partial: bool,
    pub(super) content: &'a [u8],
}

impl<'a> Line<'a> {
    pub(super) fn parse(raw: &'a [u8]) -> Option<Self> {
        let mut fields = raw.splitn(4, |byte| *byte == b' ');
        let time = fields.next().filter(|time| time.len() >= 20)?;
        let stderr = match fields.next()? {
            b"stdout" => false,
            b"stderr" => true,
            _ => return None,
        };
        // Tags are separated by colons and only the first has a meaning.
        let tag = fields.next()?.split(|byte| *byte == b':').next()?;
        let content = fields.next().unwrap_or_default();
        Some(Self { time, stderr, partial: tag == b"P", content })
    }

    fn at(&self) -> Option<Timestamp> {
        std::str::from_utf8(self.time).ok()?.parse().ok()
    }
}

/// What the container said in the last `lines` lines of a piece of its log.
pub(crate) fn plain(raw: &[u8], lines: usize) -> Vec<u8> {
    let found: Vec<Line<'_>> = raw.split(|byte| *byte == b'\n').filter_map(Line::parse).collect();
    let mut out = Vec::new();
    for line in &found[found.len().saturating_sub(lines)..] {
        out.extend_from_slice(line.content);
        if !line.partial {
            out.push(b'\n');
        }
    }
    out
}

/// Turns pieces of a log file into what the reader asked for.
pub(super) struct Show {
    since: Option<Timestamp>,
    timestamps: bool,
    streams: Streams,
    left: Option<u64>,
    /// How many of the last lines are still to be shown, if nothing is followed: what is written meanwhile is left out.
    lines: Option<u64>,
    /// The beginning of a line whose end has not been read.
    rest: Vec<u8>,
    /// Whether the next content begins a line of the container's, for each stream.
    fresh: [bool; 2],
}

impl Show {
    pub(super) fn new(options: &LogOptions) -> Self {
        Self {
            since: options.since,
            timestamps: options.timestamps,
            streams: options.streams,
            left: options.limit_bytes,
            lines: options.tail_lines.filter(|_| !options.follow),
            rest: Vec::new(),
            fresh: [true; 2],
        }
    }

    /// Whether the reader's limit is reached.
    pub(super) fn is_full(&self) -> bool {
        self.left == Some(0) || self.lines == Some(0)
    }

    /// The file was replaced by a new one.
    pub(super) fn new_file(&mut self) {
        self.rest.clear();
    }

    /// Shows the lines that end in `raw`.
    pub(super) fn push(&mut self, raw: &[u8], out: &mut BytesMut) {
        let mut raw = raw;
        while !self.is_full()
            && let Some(end) = raw.iter().position(|byte| *byte == b'\n')
        {
            let (line, tail) = raw.split_at(end);
            raw = &tail[1..];
            if self.rest.is_empty() {
                self.line(line, out);
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.line(&whole, out);
            }
        }
        self.rest.extend_from_slice(raw);
    }

    fn line(&mut self, raw: &[u8], out: &mut BytesMut) {
        let Some(line) = Line::parse(raw) else {
            if !raw.is_empty() {
                tracing::warn!(line = %String::from_utf8_lossy(raw), "line of a container's log cannot be read");
            }
            return;
        };
        if let Some(lines) = &mut self.lines {
            *lines = lines.saturating_sub(u64::from(!line.partial));
        }
        let wanted = match self.streams {
            Streams::All => true,
            Streams::Stdout => !line.stderr,
            Streams::Stderr => line.stderr,
        };
        if !wanted || self.since.is_some_and(|since| line.at().is_some_and(|at| at < since)) {
            return;
        }
        let fresh = std::mem::replace(&mut self.fresh[usize::from(line.stderr)], !line.partial);
        let before = out.len();
        if self.timestamps && fresh {
            put_time(line.time, out);
            out.put_u8(b' ');
        }
        out.extend_from_slice(line.content);
        if !line.partial {
            out.put_u8(b'\n');
        }
        if let Some(left) = &mut self.left {
            let shown = (out.len() - before) as u64;
            if shown > *left {
                out.truncate(before + usize::try_from(*left).unwrap_or_default());
            }
            *left = left.saturating_sub(shown);
        }
    }
}

/// Nanoseconds in full width, as upstream shows them; runtimes trim zeros.
fn put_time(time: &[u8], out: &mut BytesMut) {
    let zone = time
        .iter()
        .skip(19)
        .position(|byte| !byte.is_ascii_digit() && *byte != b'.')
        .map_or(time.len(), |at| at + 19);
    let fraction = time.get(20..zone).unwrap_or_default();
    out.extend_from_slice(&time[..19.min(time.len())]);
    out.put_u8(b'.');
    out.extend_from_slice(&fraction[..fraction.len().min(9)]);
    out.put_bytes(b'0', 9 - fraction.len().min(9));
    out.extend_from_slice(&time[zone..]);
}
