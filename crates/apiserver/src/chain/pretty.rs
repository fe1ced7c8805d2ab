//! JSON with line breaks, for people: bytes in, bytes out, piece by piece; nothing is parsed.

/// Where the printing stands.
#[derive(Default)]
pub(super) struct Pretty {
    depth: usize,
    /// Within a string.
    quoted: bool,
    /// After a backslash in it.
    escaped: bool,
    /// An opening bracket whose first member has not come.
    opened: bool,
}

impl Pretty {
    /// The next piece of the text, laid out as Go's `MarshalIndent` does with two spaces.
    pub(super) fn piece(&mut self, json: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(json.len() * 2);
        for &byte in json {
            self.byte(byte, &mut out);
        }
        out
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.quoted {
            out.push(byte);
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.quoted = false,
                _ => {}
            }
            return;
        }
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => return,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if !std::mem::take(&mut self.opened) {
                    self.line(out);
                }
                out.push(byte);
                return;
            }
            _ => {}
        }
        if std::mem::take(&mut self.opened) {
            self.line(out);
        }
        out.push(byte);
        match byte {
            b'{' | b'[' => {
                self.depth += 1;
                self.opened = true;
            }
            b',' => self.line(out),
            b':' => out.push(b' '),
            b'"' => self.quoted = true,
            _ => {}
        }
    }

    fn line(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        out.resize(out.len() + 2 * self.depth, b' ');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_what_serde_prints_however_it_is_cut() {
        let value =
            json!({ "a": [], "b": {}, "c": [1, { "d": "x\"{,:\\" }, null], "e": { "f": [[]] }, "": -1.5 });
        let (text, expected) = (value.to_string(), serde_json::to_string_pretty(&value).unwrap());
        for cut in 0..text.len() {
            let mut pretty = Pretty::default();
            let (before, after) = text.as_bytes().split_at(cut);
            let printed = [pretty.piece(before), pretty.piece(after)].concat();
            assert_eq!(String::from_utf8(printed).unwrap(), expected);
        }
    }
}
