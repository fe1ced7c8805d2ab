//! Strategic merge patch: lists of maps merge item by item, by a key that each field declares.
//!
//! Follows upstream's `k8s.io/apimachinery/pkg/util/strategicpatch`. A patch may carry directives: `$patch: replace` or
//! `delete` in a map or a list item, `$retainKeys` in a map, `$deleteFromPrimitiveList/FIELD` and `$setElementOrder/FIELD`
//! beside a list. They are obeyed where there is something to act on. An item that is new to a list is taken as it is,
//! directives within it included: they are then fields that the kind does not have. `$patch: merge` is documented, and
//! refused by upstream.

use serde_json::{Map, Value};

use super::PatchError;

mod list;
mod order;
mod schema;

pub use schema::{Node, Schema};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// `current` with `patch` applied; `schema` is that of the object's kind.
///
/// # Errors
/// [`PatchError::Malformed`] if a directive is misused or a merge key is missing, [`PatchError::Rejected`] if patch
/// and object cannot be merged.
pub fn apply(current: Value, patch: Value, schema: &Schema) -> Result<Value, PatchError> {
    let (Value::Object(current), Value::Object(patch)) = (current, patch) else {
        return Err(malformed("invalid JSON document"));
    };
    merge_map(current, patch, schema.root()).map(Value::Object)
}

fn malformed(text: impl Into<String>) -> PatchError {
    PatchError::Malformed(text.into())
}

/// Merges two maps; `node` says how the fields merge.
fn merge_map(
    mut current: Map<String, Value>,
    mut patch: Map<String, Value>,
    node: Node<'_>,
) -> Result<Map<String, Value>, PatchError> {
    if let Some(directive) = patch.remove(PATCH) {
        match directive.as_str() {
            Some("replace") => return Ok(patch),
            Some("delete") => return Ok(Map::new()),
            _ => {
                let shown = directive.as_str().map_or_else(|| directive.to_string(), ToOwned::to_owned);
                let map = Value::Object(patch);
                return Err(malformed(format!("unknown patch type: {shown} in map: {map}")));
            }
        }
    }
    retain_keys(&mut current, &mut patch)?;
    order::set(&mut current, &mut patch, node)?;
    for (key, value) in patch {
        let (field, deletion) = match key.strip_prefix(DELETE_FROM) {
            Some(field) => (field.to_owned(), true),
            None => (key, false),
        };
        if value.is_null() {
            current.remove(&field);
            continue;
        }
        let Some(before) = current.get_mut(&field) else {
            current.extend(fresh(value).filter(|_| !deletion).map(|value| (field, value)));
            continue;
        };
        let child = node.field(&field);
        let after = match (before.take(), value) {
            (Value::Object(before), Value::Object(mut value)) if child.fact.replace => {
                drop(before);
                value.remove(PATCH);
                Value::Object(value)
            }
            (Value::Object(before), Value::Object(value)) => {
                Value::Object(merge_map(before, value, child.node)?)
            }
            (Value::Array(before), Value::Array(value)) if deletion => {
                let gone = list::places(&value, None);
                let left = before.into_iter().filter(|item| !gone.contains_key(&list::name(item, None)));
                Value::Array(left.collect())
            }
            (Value::Array(before), Value::Array(value)) if child.fact.merge => {
                Value::Array(list::merge(before, value, child)?)
            }
            (before, _) if deletion => before,
            (_, value) => match fresh(value) {
                Some(value) => value,
                None => {
                    current.remove(&field);
                    continue;
                }
            },
        };
        current.insert(field, after);
    }
    Ok(current)
}

/// Obeys `$retainKeys`: members of the object that it does not list go.
fn retain_keys(current: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), PatchError> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else { return Err(malformed("invalid patch format of retainKeys")) };
    let listed = |key: &str| keys.iter().any(|listed| listed == key);
    let directive = |key: &str| key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !directive(key) && !listed(key)) {
        return Err(malformed("patch content doesn't match retainKeys list"));
    }
    current.retain(|key, _| listed(key));
    Ok(())
}

/// A patch's value where the object had none: without the `null`s and the maps with a directive that would only act on
/// what is there; nothing if it is such a map itself. Other directives within it act on nothing and stay, as upstream's.
fn fresh(value: Value) -> Option<Value> {
    Some(match value {
        Value::Object(map) if map.contains_key(PATCH) => return None,
        Value::Object(map) => {
            let known = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(known.filter_map(|(key, value)| Some((key, fresh(value)?))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().filter_map(fresh).collect()),
        plain => plain,
    })
}

#[cfg(test)]
mod tests;
