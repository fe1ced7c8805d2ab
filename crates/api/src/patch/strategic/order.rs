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
        let (before, named) = (taken(current, &field)?, taken(patch, &field)?);
        check(named.as_deref().unwrap_or_default(), &order, key)?;
        let known = before.clone().unwrap_or_default();
        let merged = match (before, named) {
            (None, None) => continue,
            (before, named) if before.iter().chain(&named).all(Vec::is_empty) => {
                return Err(PatchError::Rejected("no elements in any of the given slices".to_owned()));
            }
            (Some(before), None) => before,
            (None, Some(named)) => named.into_iter().filter_map(fresh).collect(),
            (Some(before), Some(named)) if child.fact.merge => list::merge(before, named, child)?,
            (Some(_), Some(named)) => named,
        };
        current.insert(field, Value::Array(arrange(merged, &order, &known, key)));
    }
    Ok(())
}

/// The list under `field`, taken out.
fn taken(map: &mut Map<String, Value>, field: &str) -> Result<Option<Vec<Value>>, PatchError> {
    match map.remove(field) {
        None => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(_) => Err(malformed(format!("{field} has an order and is no list"))),
    }
}

/// The patch's items must stand in the declared order. Items that are being deleted need not be in it; other directives
/// are passed over as long as the order goes on.
fn check(named: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    let deletes = |item: &Value| key.is_some() && item.get(super::PATCH).is_some_and(|own| own == "delete");
    let mut left = named.iter().filter(|item| !deletes(item)).peekable();
    let mut places = order.iter();
    if named.is_empty() || order.is_empty() {
        return Ok(());
    }
    while let Some(item) = left.peek() {
        if places.len() > 0 && item.get(super::PATCH).is_some() {
            left.next();
            continue;
        }
        let Some(place) = places.next() else {
            let (named, order) = (Value::Array(named.to_vec()), Value::Array(order.to_vec()));
            return Err(malformed(format!(
                "The order in patch list:\n{named}\n doesn't match $setElementOrder list:\n{order}\n"
            )));
        };
        if alike(place, item, key) {
            left.next();
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
