//! Lists whose items must differ: sets by value, maps by their keys; follows upstream's `schema/listtype/validation.go`.

use std::collections::HashSet;

use serde_json::{Map, Value};
use skiff_api::Errors;

use super::schema::ListType;

/// Records every item that is there twice.
pub(super) fn unique(list_type: &ListType, items: &[Value], errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let key = match list_type {
            ListType::Atomic => return,
            ListType::Set => item.clone(),
            ListType::Map(keys) => key_of(keys, item),
        };
        if !seen.insert(key.to_string()) {
            errors.index(index, |errors| errors.duplicate("", &key));
        }
    }
}

/// What tells an item of a map from others.
pub(super) fn key_of(keys: &[String], item: &Value) -> Value {
    let field = |key: &String| item.get(key).map(|value| (key.clone(), value.clone()));
    Value::Object(keys.iter().filter_map(field).collect::<Map<_, _>>())
}

/// The item of `list` with the same keys.
pub(super) fn same_key<'a>(keys: &[String], item: &Value, list: &'a [Value]) -> Option<&'a Value> {
    let key = key_of(keys, item);
    list.iter().find(|other| key_of(keys, other) == key)
}
