//! Where the last lines of a log begin, found by reading blocks from the end.

use std::io::{self, Read, Seek, SeekFrom};

use super::line::Line;

/// Large enough that the usual tail needs one read.
const BLOCK: u64 = 64 * 1024;

/// The offset at which the last `wanted` lines begin. Lines are the container's: pieces that the runtime split count once.
pub(super) fn start_of_last<F: Read + Seek>(file: &mut F, wanted: u64) -> io::Result<u64> {
    start_in_blocks(file, wanted, BLOCK)
}

pub(super) fn start_in_blocks<F: Read + Seek>(file: &mut F, wanted: u64, block: u64) -> io::Result<u64> {
    let size = file.seek(SeekFrom::End(0))?;
    if wanted == 0 {
        return Ok(size);
    }
    // What of the file from `position` on has not been looked at; it ends with the end of a line.
    let mut waiting: Vec<u8> = Vec::new();
    let mut position = size;
    let mut start = size;
    let mut seen = 0;
    while position > 0 {
        let length = block.min(position);
        position -= length;
        file.seek(SeekFrom::Start(position))?;
        let mut read = vec![0; usize::try_from(length).unwrap_or_default()];
        file.read_exact(&mut read)?;
        read.append(&mut waiting);
        waiting = read;
        loop {
            let before_last = waiting.len().saturating_sub(1);
            let begin = match waiting[..before_last].iter().rposition(|byte| *byte == b'\n') {
                Some(newline) => newline + 1,
                None if position == 0 && !waiting.is_empty() => 0,
                None => break,
            };
            let line = &waiting[begin..];
            let whole = line.ends_with(b"\n");
            let ends_a_line = Line::parse(line).is_some_and(|line| !line.partial);
            // A last line without a newline is still being written, and will belong to the reader anyway.
            if whole && ends_a_line {
                seen += 1;
                if seen > wanted {
                    return Ok(start);
                }
            }
            start = position + begin as u64;
            waiting.truncate(begin);
            if begin == 0 {
                break;
            }
        }
    }
    Ok(start)
}
