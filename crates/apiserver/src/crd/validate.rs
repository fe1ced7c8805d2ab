//! Values under a schema, in the words of upstream's validator (`kube-openapi/pkg/validation`).
//!
//! What an update leaves as it was is not judged anew (upstream's ratcheting): a schema may become stricter without
//! locking up what is stored.

use serde_json::Value;
use skiff_api::Errors;
use skiff_api::errors::Fault;

use super::formats;
use super::lists;
use super::schema::{ListType, Node};

/// What is wrong with a value that was `old` before.
pub(super) fn check(node: &Node, value: &Value, old: Option<&Value>, errors: &mut Errors) {
    if old == Some(value) {
        return;
    }
    kind(node, value, errors);
    if value.is_null() {
        return;
    }
    if !errors.is_empty() && !fits(node, value) {
        return;
    }
    scalar(node, value, errors);
    junctions(node, value, errors);
    match value {
        Value::Object(map) => {
            let (least, most) = node.checks().properties;
            let count = map.len();
            let path = errors.path("");
            if let Some(least) = least.filter(|least| (count as i64) < *least) {
                let why = format!("{path} in body should have at least {least} properties");
                errors.push(Fault::Invalid, "", shown(value), why);
            }
            if let Some(most) = most.filter(|most| count as i64 > *most) {
                errors.too_many("", count, usize::try_from(most).unwrap_or(0));
            }
            for name in &node.checks().required {
                if !map.contains_key(name) {
                    errors.required(name, "");
                }
            }
            for (name, value) in map {
                let Some(field) = node.field(name) else { continue };
                let before = old.and_then(|old| old.get(name));
                errors.at(name, |errors| check(field, value, before, errors));
            }
            if node.embedded {
                for name in ["apiVersion", "kind"] {
                    match map.get(name).map(|value| value.as_str().unwrap_or_default()) {
                        None => errors.required(name, "must not be empty"),
                        Some("") => errors.invalid(name, "", "must not be empty"),
                        Some(_) => {}
                    }
                }
            }
        }
        Value::Array(items) => {
            let (least, most) = node.checks().items;
            let path = errors.path("");
            if let Some(least) = least.filter(|least| (items.len() as i64) < *least) {
                let why = format!("{path} in body should have at least {least} items");
                errors.push(Fault::Invalid, "", items.len().to_string(), why);
            }
            if let Some(most) = most.filter(|most| items.len() as i64 > *most) {
                errors.too_many("", items.len(), usize::try_from(most).unwrap_or(0));
            }
            lists::unique(&node.list_type, items, errors);
            let Some(node_of_item) = node.items.as_deref() else { return };
            let before = old.and_then(Value::as_array);
            for (index, item) in items.iter().enumerate() {
                let before = before.and_then(|before| match &node.list_type {
                    ListType::Map(keys) => lists::same_key(keys, item, before),
                    ListType::Set | ListType::Atomic => None,
                });
                errors.index(index, |errors| check(node_of_item, item, before, errors));
            }
        }
        _ => {}
    }
}

/// The type's name as messages have it.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if is_whole(number) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_whole(number: &serde_json::Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn fits(node: &Node, value: &Value) -> bool {
    let found = type_of(value);
    if found == "null" {
        return node.nullable || (node.kind.is_empty() && !node.int_or_string);
    }
    if node.int_or_string {
        return matches!(found, "integer" | "string");
    }
    node.kind.is_empty() || node.kind == found || (node.kind == "number" && found == "integer")
}

fn kind(node: &Node, value: &Value, errors: &mut Errors) {
    if fits(node, value) {
        return;
    }
    let wanted = if node.int_or_string { "integer,string" } else { node.kind };
    let found = type_of(value);
    let why = format!("{} in body must be of type {wanted}: {found:?}", errors.path(""));
    errors.push(Fault::TypeInvalid, "", format!("{found:?}"), why);
}

fn shown(value: &Value) -> String {
    value.to_string()
}

fn scalar(node: &Node, value: &Value, errors: &mut Errors) {
    let checks = node.checks();
    let path = errors.path("");
    let invalid = |errors: &mut Errors, why: String| {
        errors.push(Fault::Invalid, "", shown(value), format!("{path} in body {why}"));
    };
    if !checks.allowed.is_empty() && !checks.allowed.contains(value) {
        let allowed: Vec<String> = checks
            .allowed
            .iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
        errors.not_supported("", value, &allowed);
    }
    if let Some(number) = value.as_f64() {
        if let Some((most, excluded)) = checks.maximum
            && (number > most || (excluded && number >= most))
        {
            let than = if excluded { "less than" } else { "less than or equal to" };
            invalid(errors, format!("should be {than} {most}"));
        }
        if let Some((least, excluded)) = checks.minimum
            && (number < least || (excluded && number <= least))
        {
            let than = if excluded { "greater than" } else { "greater than or equal to" };
            invalid(errors, format!("should be {than} {least}"));
        }
        if let Some(factor) =
            checks.multiple_of.filter(|factor| *factor != 0.0 && (number / factor).fract() != 0.0)
        {
            invalid(errors, format!("should be a multiple of {factor}"));
        }
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count();
        let (least, most) = checks.length;
        if let Some(most) = most.filter(|most| length as i64 > *most) {
            errors.too_long("", usize::try_from(most).unwrap_or(0));
        }
        if let Some(least) = least.filter(|least| (length as i64) < *least) {
            invalid(errors, format!("should be at least {least} chars long"));
        }
        if let Some((source, pattern)) = &checks.pattern
            && !pattern.is_match(text)
        {
            invalid(errors, format!("should match '{source}'"));
        }
        if !checks.format.is_empty() && !formats::fits(&checks.format, text) {
            let why = format!("{} in body must be of type {}: {text:?}", errors.path(""), checks.format);
            errors.push(Fault::TypeInvalid, "", shown(value), why);
        }
    }
}

/// `allOf`, `anyOf`, `oneOf` and `not`. Their own messages name no field, as upstream's.
fn junctions(node: &Node, value: &Value, errors: &mut Errors) {
    let checks = node.checks();
    let path = errors.path("");
    let tell = |errors: &mut Errors, why: String| errors.push_at("<nil>", Fault::Invalid, "\"\"", why);
    let attempt = |node: &Node| {
        let mut found = Errors::below(&path);
        check(node, value, None, &mut found);
        found
    };
    for node in &checks.all_of {
        errors.append(attempt(node));
    }
    if !checks.any_of.is_empty() {
        let outcomes: Vec<Errors> = checks.any_of.iter().map(attempt).collect();
        if outcomes.iter().all(|outcome| !outcome.is_empty()) {
            tell(errors, format!("{path:?} must validate at least one schema (anyOf)"));
            errors.append(best(outcomes));
        }
    }
    if !checks.one_of.is_empty() {
        let outcomes: Vec<Errors> = checks.one_of.iter().map(attempt).collect();
        let fitting = outcomes.iter().filter(|outcome| outcome.is_empty()).count();
        if fitting == 0 {
            tell(errors, format!("{path:?} must validate one and only one schema (oneOf). Found none valid"));
            errors.append(best(outcomes));
        } else if fitting > 1 {
            let why =
                format!("must validate one and only one schema (oneOf). Found {fitting} valid alternatives");
            tell(errors, format!("{path:?} {why}"));
        }
    }
    if let Some(not) = &checks.not
        && attempt(not).is_empty()
    {
        tell(errors, format!("{path:?} must not validate the schema (not)"));
    }
}

/// The faults of the alternative that came nearest.
fn best(outcomes: Vec<Errors>) -> Errors {
    outcomes.into_iter().min_by_key(Errors::len).unwrap_or_default()
}
