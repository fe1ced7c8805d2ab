//! Fields that the schema does not know go; follows upstream's `apiserver/schema/pruning/algorithm.go`.

use serde_json::Value;

use super::schema::Node;

/// Fields that every object has, at the root and in embedded ones.
const OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Takes unknown fields out of an object and adds their paths to `gone`.
pub(super) fn prune(node: &Node, value: &mut Value, gone: &mut Vec<String>) {
    object(Some(node), value, true, &mut String::new(), gone);
}

/// As [`prune`], for a value within an object.
pub(super) fn below(node: &Node, value: &mut Value, gone: &mut Vec<String>) {
    object(Some(node), value, node.embedded, &mut String::new(), gone);
}

fn object(node: Option<&Node>, value: &mut Value, whole: bool, path: &mut String, gone: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let keeps = node.is_some_and(|node| node.preserve || node.open);
            map.retain(|name, value| {
                if whole && OBJECT.contains(&name.as_str()) {
                    return true;
                }
                let before = path.len();
                if before > 0 {
                    path.push('.');
                }
                path.push_str(name);
                let known = node.and_then(|node| node.field(name));
                match known {
                    Some(field) => object(Some(field), value, field.embedded, path, gone),
                    None if keeps => {}
                    None => gone.push(path.clone()),
                }
                path.truncate(before);
                known.is_some() || keeps
            });
        }
        Value::Array(items) => {
            let node = node.and_then(|node| node.items.as_deref());
            let Some(node) = node else { return };
            for (index, item) in items.iter_mut().enumerate() {
                let before = path.len();
                path.push_str(&format!("[{index}]"));
                object(Some(node), item, node.embedded, path, gone);
                path.truncate(before);
            }
        }
        _ => {}
    }
}
