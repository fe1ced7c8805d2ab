//! Lists that merge: scalars as sets, maps by their merge key. Items are found by name, not by looking along the list: a
//! request may bring a hundred thousand.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::schema::Child;
use super::{PATCH, malformed, merge_map, order};
use crate::patch::PatchError;

/// Merges `patch` into `current`; items the patch names come in its order.
pub(super) fn merge(
    current: Vec<Value>,
    patch: Vec<Value>,
    child: Child<'_>,
) -> Result<Vec<Value>, PatchError> {
    if current.is_empty() && patch.is_empty() {
        return Ok(current);
    }
    if current.iter().chain(&patch).any(Value::is_array) {
        return Err(PatchError::Rejected("lists of lists are not supported".to_owned()));
    }
    let maps = current.iter().chain(&patch).filter(|item| item.is_object()).count();
    if maps == 0 {
        let mut seen = HashSet::new();
        let items = current.iter().chain(&patch).filter(|item| seen.insert(name(item, None)));
        let merged = items.cloned().collect();
        return Ok(order::arrange(merged, &patch, &current, None));
    }
    if maps < current.len() + patch.len() {
        let why = "list element types are not identical in patch and object";
        return Err(PatchError::Rejected(why.to_owned()));
    }
    let Some(key) = child.fact.merge_key else {
        return Err(PatchError::Rejected("cannot merge lists without merge key".to_owned()));
    };
    let before = current.clone();
    let (mut merged, patch) = obey_items(current, patch, key)?;
    let mut places = places(&merged, Some(key));
    for item in &patch {
        key_of(item, key)?;
        match places.get(&name(item, Some(key))) {
            Some(place) => {
                let old = &mut merged[*place];
                let (Value::Object(map), Value::Object(item)) = (old.take(), item.clone()) else { continue };
                *old = Value::Object(merge_map(map, item, child.node)?);
            }
            None => {
                places.insert(name(item, Some(key)), merged.len());
                merged.push(item.clone());
            }
        }
    }
    Ok(order::arrange(merged, &patch, &before, Some(key)))
}

/// Obeys `$patch` in list items: deletes matching items, or empties the list first.
fn obey_items(
    mut current: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut plain = Vec::with_capacity(patch.len());
    let (mut replace, mut gone) = (false, HashSet::new());
    for mut item in patch {
        let directive = item.as_object_mut().and_then(|map: &mut Map<String, Value>| map.remove(PATCH));
        match directive.as_ref().map(|d| d.as_str().unwrap_or_default()) {
            None => plain.push(item),
            Some("replace") => replace = true,
            Some("delete") => {
                key_of(&item, key)?;
                gone.insert(name(&item, Some(key)));
            }
            Some("merge") => {
                return Err(malformed("merging lists cannot yet be specified in the patch"));
            }
            Some(other) => return Err(malformed(format!("unknown patch type: {other} in map: {item}"))),
        }
    }
    current.retain(|old| old.get(key).is_none() || !gone.contains(&name(old, Some(key))));
    Ok(if replace { (plain, Vec::new()) } else { (current, plain) })
}

fn key_of<'a>(item: &'a Value, key: &str) -> Result<&'a Value, PatchError> {
    item.get(key).ok_or_else(|| malformed(format!("map: {item} does not contain declared merge key: {key}")))
}

/// What tells an item of a list apart: without a merge key all of it; nothing if it lacks the key. Upstream compares merge
/// keys by how they print, so that `80` and `"80"` are the same.
pub(super) fn name(item: &Value, key: Option<&str>) -> Option<String> {
    match key.map(|key| item.get(key)) {
        None => Some(item.to_string()),
        Some(value) => value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
    }
}

/// Where in a list the items of a name are first.
pub(super) fn places(list: &[Value], key: Option<&str>) -> HashMap<Option<String>, usize> {
    let mut places = HashMap::with_capacity(list.len());
    for (place, item) in
        list.iter().enumerate().filter(|(_, item)| key.is_none_or(|key| item.get(key).is_some()))
    {
        places.entry(name(item, key)).or_insert(place);
    }
    places
}
