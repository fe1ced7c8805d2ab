//! Whether a configuration fits its kind's schema: the first thing apply does, since what it does not understand it
//! could not own.
//!
//! Follows structured-merge-diff's `typed/validate.go`; the texts are upstream's, Go's way of printing values included.

use std::collections::HashSet;
use std::fmt::Write;

use serde_json::Value;

use super::schema::{Ref, Scalar, Schema, Type, Way};
use super::walk::step;

/// What is wrong with `config`; nothing if it fits.
pub fn check(schema: &Schema, config: &Value) -> Option<String> {
    let mut faults = Vec::new();
    check_at(schema, schema.root(), config, "", &mut faults);
    match faults.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(many.iter().fold("errors:".to_owned(), |text, fault| text + "\n  " + fault)),
    }
}

fn check_at(schema: &Schema, at: Ref, value: &Value, path: &str, faults: &mut Vec<String>) {
    let mut fault = |at: &str, why: String| {
        faults.push(if at.is_empty() { why } else { format!("{at}: {why}") });
    };
    match (schema.see(at).kind, value) {
        (Type::Deduced, _) | (_, Value::Null) => {}
        (Type::Scalar(scalar), value) => {
            if let Some(why) = scalar_fault(*scalar, value) {
                fault(path, why);
            }
        }
        (Type::Map(members), Value::Object(map)) => {
            for (name, value) in map {
                let below = format!("{path}.{name}");
                match members.fields.get(name.as_str()).map(|field| field.at).or(members.others) {
                    Some(at) => check_at(schema, at, value, &below, faults),
                    None => faults.push(format!("{below}: field not declared in schema")),
                }
            }
        }
        (Type::Map(_), other) => fault(path, format!("expected map, got &{{{}}}", go(other))),
        (Type::List(items), Value::Array(list)) => {
            let mut seen = HashSet::new();
            for (index, value) in list.iter().enumerate() {
                let below = match (&items.way, step(items, value)) {
                    (Way::Atomic, _) => format!("{path}[{index}]"),
                    (_, Err(why)) => {
                        faults.push(format!("{path}: element {index}: {why}"));
                        continue;
                    }
                    (_, Ok(element)) => {
                        let below = format!("{path}{element}");
                        if !seen.insert(element.clone()) {
                            faults.push(format!("{path}: duplicate entries for key {element}"));
                        }
                        below
                    }
                };
                check_at(schema, items.item, value, &below, faults);
            }
        }
        (Type::List(_), other) => fault(path, format!("expected list, got &{{{}}}", go(other))),
    }
}

fn scalar_fault(scalar: Scalar, value: &Value) -> Option<String> {
    match (scalar, value) {
        (Scalar::Text, Value::String(_))
        | (Scalar::Number, Value::Number(_))
        | (Scalar::Boolean, Value::Bool(_))
        | (Scalar::Any, Value::String(_) | Value::Number(_) | Value::Bool(_)) => None,
        (Scalar::Text, other) => {
            Some(format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_source(other)))
        }
        (Scalar::Number, other) => Some(format!("expected numeric (int or float), got {}", go_type(other))),
        (Scalar::Boolean, other) => Some(format!("expected boolean, got &{{{}}}", go(other))),
        (Scalar::Any, other) => Some(format!("expected any scalar, got &{{{}}}", go(other))),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// As Go's `%v` prints it.
fn go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(go).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let members: Vec<String> =
                map.iter().map(|(name, value)| format!("{name}:{}", go(value))).collect();
            format!("map[{}]", members.join(" "))
        }
        plain => plain.to_string(),
    }
}

/// As Go's `%#v` prints it.
fn go_source(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Null => text.push_str("interface {}(nil)"),
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(go_source).collect();
            let _ = write!(text, "[]interface {{}}{{{}}}", items.join(", "));
        }
        Value::Object(map) => {
            let member = |(name, value): (&String, &Value)| format!("{name:?}:{}", go_source(value));
            let members: Vec<String> = map.iter().map(member).collect();
            let _ = write!(text, "map[string]interface {{}}{{{}}}", members.join(", "));
        }
        plain => text = plain.to_string(),
    }
    text
}
