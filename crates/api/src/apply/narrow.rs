//! The members in which two states of an object differ, read from their texts.
//!
//! Most updates touch little: a label, the status. What has the same text on both sides means the same, so it is passed
//! over as text, without a tree. Comparing what is left gives what comparing the whole would give.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::walk::Part;

/// The member of metadata that tells of owners: long, and owned by nobody.
const OWNERS: &str = "managedFields";

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// The trees of `old` and `new` without what `part` cannot touch and what has the same text in both.
///
/// # Errors
/// If one of them is not a JSON object.
pub fn narrowed(old: &[u8], new: &[u8], part: Part) -> serde_json::Result<(Value, Value)> {
    let (mut old, mut new): (Members<'_>, Members<'_>) =
        (serde_json::from_slice(old)?, serde_json::from_slice(new)?);
    old.retain(|name, _| part.holds(name));
    new.retain(|name, _| part.holds(name));
    drop_same(&mut old, &mut new);
    let mut trees = (Map::new(), Map::new());
    for (name, before) in &old {
        let Some(after) = new.remove(name) else {
            trees.0.insert(name.clone(), tree(before)?);
            continue;
        };
        if let Some((before, after)) = member(before, after)? {
            trees.0.insert(name.clone(), before);
            trees.1.insert(name.clone(), after);
        }
    }
    for (name, after) in new {
        trees.1.insert(name, tree(after)?);
    }
    Ok((trees.0.into(), trees.1.into()))
}

/// A member that differs; if it is an object on both sides, without what is the same within. Nothing if only its owners
/// differ, whom nobody owns.
fn member(old: &RawValue, new: &RawValue) -> serde_json::Result<Option<(Value, Value)>> {
    let object = |text: &RawValue| text.get().starts_with('{');
    if !object(old) || !object(new) {
        return Ok(Some((tree(old)?, tree(new)?)));
    }
    let (mut before, mut after): (Members<'_>, Members<'_>) =
        (serde_json::from_str(old.get())?, serde_json::from_str(new.get())?);
    for side in [&mut before, &mut after] {
        side.remove(OWNERS);
    }
    let shared = drop_same(&mut before, &mut after);
    if before.is_empty() && after.is_empty() && shared.is_some() {
        return Ok(None);
    }
    // An empty object is something of its own, and must not come from here: then one shared member stays.
    if let Some((name, text)) = shared.filter(|_| before.is_empty() || after.is_empty()) {
        before.insert(name.clone(), text);
        after.insert(name, text);
    }
    Ok(Some((built(before)?, built(after)?)))
}

/// Drops the members with the same text on both sides; gives one of them.
fn drop_same<'a>(old: &mut Members<'a>, new: &mut Members<'a>) -> Option<(String, &'a RawValue)> {
    let mut one = None;
    old.retain(|name, before| {
        let same = new.get(name).is_some_and(|after| after.get() == before.get());
        if same {
            one = new.remove_entry(name);
        }
        !same
    });
    one
}

fn built(members: Members<'_>) -> serde_json::Result<Value> {
    let trees = members.into_iter().map(|(name, text)| Ok((name, tree(text)?)));
    trees.collect::<serde_json::Result<Map<_, _>>>().map(Value::from)
}

fn tree(text: &RawValue) -> serde_json::Result<Value> {
    serde_json::from_str(text.get())
}
