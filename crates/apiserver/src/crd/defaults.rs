//! Defaults of a schema, filled in; follows upstream's `apiserver/schema/defaulting/algorithm.go`.

use serde_json::Value;

use super::schema::Node;

/// Fills in what is missing. A null where none is allowed counts as missing, and goes if there is no default.
pub(super) fn fill(node: &Node, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, value| !value.is_null() || node.field(name).is_none_or(|field| field.nullable));
            for (name, field) in node.properties.iter() {
                let Some(default) = &field.default else { continue };
                if !map.contains_key(name) {
                    map.insert(name.to_owned(), Value::clone(default));
                }
            }
            for (name, value) in map.iter_mut() {
                if let Some(field) = node.field(name) {
                    fill(field, value);
                }
            }
        }
        Value::Array(items) => {
            let Some(node) = &node.items else { return };
            for item in items {
                let default = node.default.as_ref().filter(|_| item.is_null() && !node.nullable);
                if let Some(default) = default {
                    *item = Value::clone(default);
                }
                fill(node, item);
            }
        }
        _ => {}
    }
}
