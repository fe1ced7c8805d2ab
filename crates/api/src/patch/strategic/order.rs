//! The order of merged lists: what the patch names in its order, what only the server knows near where it was.

use serde_json::{Map, Value};

use super::list::{self, same};
use super::schema::Node;
use super::{SET_ORDER, fresh, malformed};
use crate::patch::PatchError;

/// Obeys every `$setElementOrder/FIELD` in `patch`: merges those lists now and takes them out of the patch.
pub(super) fn set(
    current: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    node: Node<'_>,
) -> Result<(), PatchError> {
    let directives: Vec<String> = patch.keys().filter(|key| key.starts_with(SET_ORDER)).cloned().collect();
    for directive in directives {
        let field = directive[SET_ORDER.len()..].to_owned();
        let Some(Value::Array(order)) = patch.remove(&directive) else {
            return Err(malformed("invalid patch format of setElementOrder list"));
        };
        let child = node.field(&field);
        let key = child.fact.merge_key;
        let named = match patch.remove(&field) {
            Some(Value::Array(named)) => Some(named),
            Some(other) => {
                patch.insert(field, other);
                continue;
            }
            None => None,
        };
        if let Some(named) = &named {
            check(named, &order, key)?;
        }
        let deleted = format!("{}{field}", super::DELETE_FROM);
        let before = match current.remove(&field) {
            Some(Value::Array(before)) => Some(before),
            Some(_) | None => None,
        };
        let merged = match (before.clone(), named) {
            (Some(before), Some(named)) if child.fact.merge => list::merge(before, named, child)?,
            (Some(before), None) => before,
            (_, Some(named)) => match fresh(Value::Array(named)) {
                Value::Array(named) => named,
                _ => Vec::new(),
            },
            (None, None) => continue,
        };
        let merged = match patch.remove(&deleted) {
            Some(Value::Array(gone)) => merged.into_iter().filter(|item| !gone.contains(item)).collect(),
            _ => merged,
        };
        let arranged = arrange(merged, &order, &before.unwrap_or_default(), key);
        current.insert(field, Value::Array(arranged));
    }
    Ok(())
}

/// The patch's items must stand in the declared order; items that are being deleted need not be in it.
fn check(named: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    let mut places = order.iter();
    for item in named {
        if item.get(super::PATCH).is_some() {
            continue;
        }
        if !places.any(|place| alike(place, item, key)) {
            let list = Value::Array(order.to_vec());
            let why = "The order in patch list:\n";
            let named = Value::Array(named.to_vec());
            return Err(malformed(format!("{why}{named}\n doesn't match $setElementOrder list:\n{list}\n")));
        }
    }
    Ok(())
}

fn alike(a: &Value, b: &Value, key: Option<&str>) -> bool {
    match key {
        None => a == b,
        Some(key) => match (a.get(key), b.get(key)) {
            (Some(a), Some(b)) => same(a, b),
            _ => false,
        },
    }
}

/// `merged`, the items found in `wanted` in its order; the others keep their order in `before` and are put in front of
/// the first wanted item that stood behind them there.
pub(super) fn arrange(
    merged: Vec<Value>,
    wanted: &[Value],
    before: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let place = |list: &[Value], item: &Value| list.iter().position(|other| alike(other, item, key));
    let (mut ours, mut theirs): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place(wanted, item).is_some());
    ours.sort_by_key(|item| place(wanted, item));
    theirs.sort_by_key(|item| place(before, item).unwrap_or(usize::MAX));
    let mut arranged = Vec::with_capacity(ours.len() + theirs.len());
    let (mut ours, mut theirs) = (ours.into_iter().peekable(), theirs.into_iter().peekable());
    while let (Some(our), Some(their)) = (ours.peek(), theirs.peek()) {
        let theirs_first = matches!((place(before, their), place(before, our)), (Some(a), Some(b)) if a < b);
        arranged.extend(if theirs_first { theirs.next() } else { ours.next() });
    }
    arranged.extend(ours);
    arranged.extend(theirs);
    arranged
}
