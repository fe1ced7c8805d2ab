//! The built-in functions, and what Go makes of values: truth, text, members.

use std::cmp::Ordering;

use serde_json::Value;

use super::Wrong;
use super::printf::printf;

const KNOWN: &[&str] = &[
    "and", "or", "not", "len", "index", "print", "printf", "println", "html", "js", "urlquery", "eq", "ne",
    "lt", "le", "gt", "ge", "exists",
];

/// Whether there is such a function.
pub(super) fn known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// Calls a function.
pub(super) fn call(name: &str, args: &[Value]) -> Result<Value, Wrong> {
    let wrong = |why: &str| Wrong::Run(format!("error calling {name}: {why}"));
    let first = || args.first().ok_or_else(|| wrong("missing argument"));
    let rest = || args.get(1..).unwrap_or_default();
    let joined = || args.iter().map(text).collect::<String>();
    Ok(match name {
        "and" => args.iter().find(|arg| !truth(arg)).or(args.last()).cloned().unwrap_or_default(),
        "or" => args.iter().find(|arg| truth(arg)).or(args.last()).cloned().unwrap_or_default(),
        "not" => Value::Bool(!truth(first()?)),
        "len" => match first()? {
            Value::String(text) => Value::from(text.len()),
            Value::Array(items) => Value::from(items.len()),
            Value::Object(members) => Value::from(members.len()),
            Value::Null => return Err(wrong("len of untyped nil")),
            other => return Err(wrong(&format!("len of {}", text(other)))),
        },
        "index" => rest().iter().try_fold(first()?.clone(), |value, key| index(&value, key))?,
        // kubectl's addition, which kubecfg's templates came to use.
        "exists" => Value::Bool(exists(args)),
        "print" => Value::String(print(args)),
        "println" => Value::String(args.iter().map(text).collect::<Vec<_>>().join(" ") + "\n"),
        "printf" => Value::String(printf(&text(first()?), rest())),
        "html" => Value::String(escaped(&joined(), html)),
        "js" => Value::String(escaped(&joined(), js)),
        "urlquery" => Value::String(form_urlencoded::byte_serialize(joined().as_bytes()).collect()),
        "eq" => {
            let first = first()?;
            Value::Bool(rest().iter().any(|arg| order(first, arg) == Some(Ordering::Equal)))
        }
        "ne" => Value::Bool(compared(name, args)? != Some(Ordering::Equal)),
        "lt" => Value::Bool(compared(name, args)? == Some(Ordering::Less)),
        "le" => Value::Bool(matches!(compared(name, args)?, Some(Ordering::Less | Ordering::Equal))),
        "gt" => Value::Bool(compared(name, args)? == Some(Ordering::Greater)),
        "ge" => Value::Bool(matches!(compared(name, args)?, Some(Ordering::Greater | Ordering::Equal))),
        _ => return Err(Wrong::Function(name.to_owned())),
    })
}

fn compared(name: &str, args: &[Value]) -> Result<Option<Ordering>, Wrong> {
    match args {
        [a, b] => Ok(order(a, b)),
        _ => Err(Wrong::Run(format!("error calling {name}: wrong number of arguments"))),
    }
}

fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (a, b) if a == b => Some(Ordering::Equal),
        _ => None,
    }
}

/// A member by its name as it is spelled, else in any case; what is not there is nothing.
pub(super) fn member(value: &Value, name: &str) -> Value {
    let Value::Object(members) = value else { return Value::Null };
    if let Some(found) = members.get(name) {
        return found.clone();
    }
    let found = members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

fn index(value: &Value, key: &Value) -> Result<Value, Wrong> {
    match (value, key) {
        (Value::Array(items), Value::Number(number)) => {
            let at = number.as_u64().and_then(|at| usize::try_from(at).ok());
            at.and_then(|at| items.get(at).cloned())
                .ok_or_else(|| Wrong::Run(format!("error calling index: index out of range: {number}")))
        }
        (Value::Object(_), Value::String(name)) => Ok(member(value, name)),
        (Value::Null, _) => Err(Wrong::Run("error calling index: index of nil".to_owned())),
        _ => Err(Wrong::Run(format!("error calling index: can't index {} with {}", text(value), text(key)))),
    }
}

fn exists(args: &[Value]) -> bool {
    let Some((first, keys)) = args.split_first() else { return false };
    let mut value = first.clone();
    for key in keys {
        match index(&value, key) {
            Ok(next) => value = next,
            Err(_) => return false,
        }
    }
    !value.is_null()
}

/// What Go takes for true: anything that is not empty.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// A value as Go prints it.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(" ")),
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(key, value)| format!("{key}:{}", text(value))).collect();
            format!("map[{}]", members.join(" "))
        }
        other => other.to_string(),
    }
}

/// Go's Sprint: a blank between two operands if neither is text.
fn print(args: &[Value]) -> String {
    let mut out = String::new();
    for (place, arg) in args.iter().enumerate() {
        if place > 0 && !arg.is_string() && !args[place - 1].is_string() {
            out.push(' ');
        }
        out.push_str(&text(arg));
    }
    out
}

fn escaped(text: &str, escape: fn(char) -> Option<&'static str>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match escape(c) {
            Some(escape) => out.push_str(escape),
            None => out.push(c),
        }
    }
    out
}

fn html(c: char) -> Option<&'static str> {
    Some(match c {
        '"' => "&#34;",
        '\'' => "&#39;",
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        _ => return None,
    })
}

fn js(c: char) -> Option<&'static str> {
    Some(match c {
        '\\' => "\\\\",
        '\'' => "\\'",
        '"' => "\\\"",
        '<' => "\\x3C",
        '>' => "\\x3E",
        '\n' => "\\u000A",
        _ => return None,
    })
}
