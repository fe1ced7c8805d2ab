//! Cuts a template into text and actions, and actions into tokens.

use serde_json::Value;

use super::Wrong;

/// Text, or the inside of `{{ }}`.
#[derive(Debug, PartialEq)]
pub(super) enum Part<'a> {
    Text(&'a str),
    Action(&'a str),
}

/// Cuts at the braces. `{{-` and `-}}` take the blanks of the text beside them along; comments vanish.
pub(super) fn parts(text: &str) -> Result<Vec<Part<'_>>, Wrong> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut trim = false;
    while let Some(open) = rest.find("{{") {
        let (before, after) = rest.split_at(open);
        let mut inside = &after[2..];
        let left = inside.starts_with("-") && inside[1..].starts_with(char::is_whitespace);
        if left {
            inside = &inside[1..];
        }
        let before = if trim { before.trim_start() } else { before };
        parts.push(Part::Text(if left { before.trim_end() } else { before }));
        let end = action_end(inside).ok_or_else(|| Wrong::Syntax("unclosed action".to_owned()))?;
        let mut action = &inside[..end];
        rest = &inside[end + 2..];
        trim = action.ends_with('-') && action[..action.len() - 1].ends_with(char::is_whitespace);
        if trim {
            action = &action[..action.len() - 1];
        }
        let action = action.trim();
        if !(action.starts_with("/*") && action.ends_with("*/")) {
            parts.push(Part::Action(action));
        }
    }
    parts.push(Part::Text(if trim { rest.trim_start() } else { rest }));
    parts.retain(|part| *part != Part::Text(""));
    Ok(parts)
}

/// Where the action's `}}` is; strings may hold braces.
fn action_end(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (Some('"' | '\''), '\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(open), c) if c == open && !escaped => quote = None,
            (None, '"' | '`' | '\'') => quote = Some(c),
            (None, '}') if text[index..].starts_with("}}") => return Some(index),
            _ => {}
        }
        escaped = false;
    }
    None
}

/// A token of an action.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Dot,
    /// `.a.b`; true if it stands right behind what comes before it.
    Fields(Vec<String>, bool),
    Variable(String),
    Word(String),
    Literal(Value),
    Pipe,
    Declare,
    Assign,
    Comma,
    Open,
    Close,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Cuts an action into tokens.
pub(super) fn tokens(action: &str) -> Result<Vec<Token>, Wrong> {
    let mut tokens = Vec::new();
    let mut rest = action;
    let mut adjacent = false;
    while let Some(c) = rest.chars().next() {
        if c.is_whitespace() {
            rest = rest.trim_start();
            adjacent = false;
            continue;
        }
        let (token, length) = match c {
            '|' => (Token::Pipe, 1),
            ',' => (Token::Comma, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ':' if rest.starts_with(":=") => (Token::Declare, 2),
            '=' => (Token::Assign, 1),
            '"' | '`' | '\'' => quoted(rest, c)?,
            '$' => {
                let name = word(&rest[1..]);
                (Token::Variable(name.to_owned()), 1 + name.len())
            }
            '.' => fields(rest, adjacent),
            c if c.is_ascii_digit() || ((c == '-' || c == '+') && rest.len() > 1) => number(rest)?,
            c if is_word(c) => {
                let name = word(rest);
                (named(name), name.len())
            }
            other => return Err(Wrong::Syntax(format!("unexpected {other:?} in {action:?}"))),
        };
        tokens.push(token);
        rest = &rest[length..];
        adjacent = true;
    }
    Ok(tokens)
}

fn word(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

fn named(name: &str) -> Token {
    match name {
        "true" => Token::Literal(Value::Bool(true)),
        "false" => Token::Literal(Value::Bool(false)),
        "nil" => Token::Literal(Value::Null),
        _ => Token::Word(name.to_owned()),
    }
}

fn fields(text: &str, adjacent: bool) -> (Token, usize) {
    let mut names = Vec::new();
    let mut length = 0;
    while text[length..].starts_with('.') {
        let name = word(&text[length + 1..]);
        if name.is_empty() {
            break;
        }
        names.push(name.to_owned());
        length += 1 + name.len();
    }
    if names.is_empty() { (Token::Dot, 1) } else { (Token::Fields(names, adjacent), length) }
}

fn number(text: &str) -> Result<(Token, usize), Wrong> {
    let end =
        text[1..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).map_or(text.len(), |at| at + 1);
    let digits = &text[..end];
    let whole = match digits.trim_start_matches(['-', '+']).strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => digits.trim_start_matches('+').parse::<i64>().ok(),
    };
    let value = match whole {
        Some(whole) => Value::from(whole),
        None => digits
            .parse::<f64>()
            .map(Value::from)
            .map_err(|_| Wrong::Syntax(format!("bad number syntax: {digits:?}")))?,
    };
    Ok((Token::Literal(value), end))
}

fn quoted(text: &str, quote: char) -> Result<(Token, usize), Wrong> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((index, c)) = chars.next() {
        if c == quote {
            let token = if quote == '\'' {
                Value::from(value.chars().next().map_or(0, u32::from))
            } else {
                Value::String(value)
            };
            return Ok((Token::Literal(token), index + 1));
        }
        if c != '\\' || quote == '`' {
            value.push(c);
            continue;
        }
        match chars.next().map(|(_, c)| c) {
            Some('n') => value.push('\n'),
            Some('t') => value.push('\t'),
            Some('r') => value.push('\r'),
            Some(c) => value.push(c),
            None => break,
        }
    }
    Err(Wrong::Syntax("unterminated quoted string".to_owned()))
}
