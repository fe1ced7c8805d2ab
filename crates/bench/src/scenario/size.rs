//! The size of the binary, and whether it was stripped.

use anyhow::Context;
use futures::FutureExt;

use super::Row;
use crate::lab::Lab;
use crate::report::{Figure, mebibytes, row};

pub(crate) const SCENARIO: Row =
    Row { name: "size", about: "bytes of the program under test", run: |lab| run(lab).boxed_local() };

/// The ELF section type of a symbol table.
const SYMBOLS: u32 = 2;

async fn run(lab: &Lab) -> anyhow::Result<()> {
    let path = &lab.args.skiff;
    let file = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let symbols = match has_symbols(&file) {
        Some(false) => "stripped",
        Some(true) => "not stripped",
        None => "not a 64-bit ELF file",
    };
    let length = file.len() as u64;
    row(&Figure::new("binary").note(format!("{length} bytes, {}, {symbols}", mebibytes(length))));
    Ok(())
}

/// Whether a little-endian 64-bit ELF file still has its symbol table.
fn has_symbols(file: &[u8]) -> Option<bool> {
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = usize::try_from(u64::from_le_bytes(file.get(40..48)?.try_into().ok()?)).ok()?;
    let size = usize::from(u16::from_le_bytes(file.get(58..60)?.try_into().ok()?));
    let count = usize::from(u16::from_le_bytes(file.get(60..62)?.try_into().ok()?));
    for section in 0..count {
        let kind = table + section * size + 4;
        if u32::from_le_bytes(file.get(kind..kind + 4)?.try_into().ok()?) == SYMBOLS {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(kinds: &[u32]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[40] = 64;
        file[58] = 64;
        file[60] = u8::try_from(kinds.len()).unwrap();
        for kind in kinds {
            let mut section = [0; 64];
            section[4..8].copy_from_slice(&kind.to_le_bytes());
            file.extend(section);
        }
        file
    }

    #[test]
    fn a_symbol_table_is_seen() {
        assert_eq!(has_symbols(&elf(&[0, 1, 3])), Some(false));
        assert_eq!(has_symbols(&elf(&[0, 1, 2, 3])), Some(true));
        assert_eq!(has_symbols(b"#!/bin/sh"), None);
    }
}
