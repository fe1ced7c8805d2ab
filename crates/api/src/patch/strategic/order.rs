//! The order of merged lists: what the patch names in its order, what only the server knows near where it was.

use serde_json::{Map, Value};

use super::list::{self, name, places};
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
        if name(place, key).is_some_and(|named| Some(named) == name(item, key)) {
            left.next();
        }
    }
    Ok(())
}

/// `merged`, the items found in `wanted` in its order; the others keep their order in `before` and are put in front of
/// the first wanted item that stood behind them there.
pub(super) fn arrange(
    merged: Vec<Value>,
    wanted: &[Value],
    before: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let (wanted, before) = (places(wanted, key), places(before, key));
    // Each with its place in what is wanted, and before.
    let placed = merged.into_iter().map(|item| {
        let name = name(&item, key);
        (wanted.get(&name).copied(), before.get(&name).copied(), item)
    });
    let (mut ours, mut theirs): (Vec<_>, Vec<_>) = placed.partition(|(wanted, ..)| wanted.is_some());
    ours.sort_by_key(|(wanted, ..)| *wanted);
    theirs.sort_by_key(|(_, before, _)| before.unwrap_or(usize::MAX));
    let mut arranged = Vec::with_capacity(ours.len() + theirs.len());
    let (mut ours, mut theirs) = (ours.into_iter().peekable(), theirs.into_iter().peekable());
    while let (Some((_, our, _)), Some((_, their, _))) = (ours.peek(), theirs.peek()) {
        let theirs_first = matches!((their, our), (Some(their), Some(our)) if their < our);
        arranged.extend(if theirs_first { theirs.next() } else { ours.next() });
    }
    arranged.into_iter().chain(ours).chain(theirs).map(|(.., item)| item).collect()
}
