//! The selector grammar of 2014: comma-separated `k=v`, `k==v`, `k!=v`, and nothing else.

/// One term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) key: String,
    pub(super) value: String,
    /// True for `!=`, which also matches what lacks the key.
    pub(super) not: bool,
}

impl Term {
    /// Whether a value (empty where there is none) satisfies the term.
    pub(super) fn accepts(&self, value: &str) -> bool {
        (value == self.value) != self.not
    }

    /// In the words of v1's selectors.
    pub(super) fn to_v1(&self, key: &str) -> String {
        format!("{key}{}{}", if self.not { "!=" } else { "=" }, self.value)
    }
}

/// A selector that is not one; the text is what 2014 printed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid selector: '{0}'; can't understand '{1}'")]
pub(super) struct BadSelector(String, String);

/// Reads a selector; the empty one has no terms.
pub(super) fn parse(text: &str) -> Result<Vec<Term>, BadSelector> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let term = |part: &str| {
        let split = |by: &str, not: bool| {
            let (key, value) = part.split_once(by)?;
            Some(Term { key: key.trim().to_owned(), value: value.trim().to_owned(), not })
        };
        split("!=", true)
            .or_else(|| split("==", false))
            .or_else(|| split("=", false))
            .filter(|term| !term.key.is_empty())
            .ok_or_else(|| BadSelector(text.to_owned(), part.to_owned()))
    };
    text.split(',').map(term).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_operators_are_all_there_is() {
        let terms = parse("a=b,c==d,e!=f,g=").unwrap();
        let shown: Vec<_> = terms.iter().map(|term| term.to_v1(&term.key)).collect();
        assert_eq!(shown, ["a=b", "c=d", "e!=f", "g="]);
        assert_eq!(parse(""), Ok(Vec::new()));
        for bad in ["a", "a in (b)", "a=b,", "=b"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unequal_also_accepts_what_has_no_value() {
        let term = &parse("a!=b").unwrap()[0];
        assert!(term.accepts("") && term.accepts("c") && !term.accepts("b"));
    }
}
