//! Selection by fields: `spec.nodeName=minion-1,status.phase!=Failed`.
//!
//! Only equality is known. A kind says which fields it offers (`Kind::fields`); [`FieldSelector::check`] refuses others.

use std::fmt;

use super::SelectorError;

/// One condition on one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    /// `status.phase`.
    pub field: Box<str>,
    /// False for `!=`.
    pub equal: bool,
    /// What it is compared with, unescaped.
    pub value: Box<str>,
}

/// A conjunction of terms; empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<FieldTerm>,
}

impl FieldSelector {
    /// Selects everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Parses what stands in `?fieldSelector=`.
    ///
    /// # Errors
    /// If it is not a selector; in upstream's words.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for part in split_terms(text) {
            if part.is_empty() {
                continue;
            }
            let Some((field, operator, value)) = split_term(part) else {
                return Err(SelectorError(format!("invalid selector: '{text}'; can't understand '{part}'")));
            };
            let value = unescape(value)?;
            terms.push(FieldTerm { field: field.into(), equal: operator != "!=", value: value.into() });
        }
        // Upstream sorts the terms' source texts; sorting by field comes to the same for matching.
        terms.sort_by(|a, b| a.field.cmp(&b.field));
        Ok(Self { terms })
    }

    /// The single term `field=value`.
    pub fn equals(field: &str, value: &str) -> Self {
        Self { terms: vec![FieldTerm { field: field.into(), equal: true, value: value.into() }] }
    }

    /// The terms, sorted by field.
    pub fn terms(&self) -> &[FieldTerm] {
        &self.terms
    }

    /// True if it selects everything.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// True if no other fields than these are looked at.
    pub fn only_names(&self, names: &[&str]) -> bool {
        self.terms.iter().all(|term| names.contains(&&*term.field))
    }

    /// The one value `field` must have, if a term says so: lets a list narrow to one object or one namespace.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && &*term.field == field).map(|term| &*term.value)
    }

    /// Whether an object with these fields is selected; a field that is not listed counts as empty.
    pub fn matches<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms
            .iter()
            .all(|term| (value_of(&term.field).unwrap_or_default() == &*term.value) == term.equal)
    }

    /// As [`FieldSelector::matches`], over a list of pairs.
    pub fn matches_pairs<N: AsRef<str>, V: AsRef<str>>(&self, fields: &[(N, V)]) -> bool {
        self.matches(|name| fields.iter().find(|(n, _)| n.as_ref() == name).map(|(_, v)| v.as_ref()))
    }

    /// Refuses fields that the kind does not offer.
    ///
    /// # Errors
    /// Naming the first unknown field.
    pub fn check(&self, known: impl Fn(&str) -> bool) -> Result<(), SelectorError> {
        match self.terms.iter().find(|term| !known(&term.field)) {
            None => Ok(()),
            Some(term) => Err(SelectorError(format!("field label not supported: {}", term.field))),
        }
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let operator = if term.equal { "=" } else { "!=" };
            write!(f, "{comma}{}{operator}{}", term.field, escape(&term.value))?;
        }
        Ok(())
    }
}

/// Splits at commas that are not escaped.
fn split_terms(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Splits at the first operator.
fn split_term(term: &str) -> Option<(&str, &str, &str)> {
    (0..term.len()).filter(|index| term.is_char_boundary(*index)).find_map(|index| {
        let rest = &term[index..];
        let operator = ["!=", "==", "="].into_iter().find(|operator| rest.starts_with(operator))?;
        Some((&term[..index], operator, &rest[operator.len()..]))
    })
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut plain = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(c) = letters.next() {
        match c {
            '\\' => match letters.next() {
                Some(c @ ('\\' | ',' | '=')) => plain.push(c),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    let why = format!("invalid field selector: invalid escape sequence: {sequence}");
                    return Err(SelectorError(why));
                }
            },
            ',' | '=' => {
                let why = format!("invalid field selector: unescaped character in value: {c}");
                return Err(SelectorError(why));
            }
            c => plain.push(c),
        }
    }
    Ok(plain)
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}
