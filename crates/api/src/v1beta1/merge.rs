//! The three-way merge of a PUT: what the client changed of what it saw, applied to what is stored.
//!
//! Lists whose items have a name of their own are merged item by item; all other lists are values.

use serde_json::{Map, Value};

/// Where a member is a list of named items: the item's identifying members.
fn identity(member: &str) -> Option<&'static [&'static str]> {
    match member {
        "containers" | "volumes" | "env" => Some(&["name"]),
        "volumeMounts" => Some(&["mountPath"]),
        "ports" => Some(&["containerPort", "port", "protocol"]),
        _ => None,
    }
}

/// Applies to `stored` whatever differs between `shown` and `sent`. Equal trees leave `stored` as it is.
pub fn three_way(stored: Value, shown: &Value, sent: &Value) -> Value {
    member("", stored, Some(shown), Some(sent)).unwrap_or(Value::Null)
}

fn member(name: &str, stored: Value, shown: Option<&Value>, sent: Option<&Value>) -> Option<Value> {
    if shown == sent {
        return Some(stored);
    }
    let sent = sent?;
    match (stored, sent) {
        (Value::Object(stored), Value::Object(sent)) => {
            let nothing = Map::new();
            let shown = shown.and_then(Value::as_object).unwrap_or(&nothing);
            Some(Value::Object(object(stored, shown, sent)))
        }
        (Value::Array(stored), Value::Array(sent)) => {
            let shown = shown.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            Some(Value::Array(match identity(name) {
                Some(keys) => items(stored, shown, sent, keys),
                None => sent.clone(),
            }))
        }
        _ => Some(sent.clone()),
    }
}

fn object(
    mut stored: Map<String, Value>,
    shown: &Map<String, Value>,
    sent: &Map<String, Value>,
) -> Map<String, Value> {
    for gone in shown.keys().filter(|key| !sent.contains_key(*key)) {
        stored.remove(gone);
    }
    for (key, value) in sent {
        let merged = match stored.remove(key) {
            Some(old) => member(key, old, shown.get(key), Some(value)),
            // Shown as it is sent now, and yet not stored: a default of the conversion, not the client's word.
            None if shown.get(key) == Some(value) => None,
            None => Some(value.clone()),
        };
        if let Some(merged) = merged {
            stored.insert(key.clone(), merged);
        }
    }
    stored
}

/// The items sent, in their order, each merged with its stored one; then what the client could not see.
fn items(mut stored: Vec<Value>, shown: &[Value], sent: &[Value], keys: &[&str]) -> Vec<Value> {
    let same = |a: &Value, b: &Value| keys.iter().all(|key| a.get(key) == b.get(key));
    // Where nothing was added or removed the place in the list is identity enough, so that a port can change its
    // number and keep what v1 knows about it.
    let by_place = shown.len() == sent.len() && stored.len() == sent.len() && keys.len() > 1;
    let mut merged = Vec::with_capacity(sent.len());
    if by_place {
        for ((old, shown), sent) in stored.into_iter().zip(shown).zip(sent) {
            merged.extend(member("", old, Some(shown), Some(sent)));
        }
        return merged;
    }
    for item in sent {
        let before = shown.iter().find(|other| same(other, item));
        let old = stored.iter().position(|other| same(other, item)).map(|place| stored.remove(place));
        merged.extend(match old {
            Some(old) => member("", old, before, Some(item)),
            None => Some(item.clone()),
        });
    }
    merged.extend(stored.into_iter().filter(|old| !shown.iter().any(|other| same(other, old))));
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(stored: Value, shown: Value, sent: Value, expected: Value) {
        assert_eq!(three_way(stored, &shown, &sent), expected);
    }

    #[test]
    fn what_was_not_shown_survives_and_what_was_removed_goes() {
        check(
            json!({"a": 1, "hidden": 2, "b": 3}),
            json!({"a": 1, "b": 3}),
            json!({"a": 5, "c": 6}),
            json!({"a": 5, "hidden": 2, "c": 6}),
        );
    }

    #[test]
    fn named_items_are_merged_one_by_one() {
        check(
            json!({"containers": [{"name": "a", "image": "x", "tty": true}, {"name": "b"}]}),
            json!({"containers": [{"name": "a", "image": "x"}, {"name": "b"}]}),
            json!({"containers": [{"name": "a", "image": "y"}, {"name": "c"}]}),
            json!({"containers": [{"name": "a", "image": "y", "tty": true}, {"name": "c"}]}),
        );
    }

    #[test]
    fn items_that_were_not_shown_stay_behind_the_others() {
        check(
            json!({"volumes": [{"name": "token", "projected": {}}, {"name": "a"}]}),
            json!({"volumes": [{"name": "a"}]}),
            json!({"volumes": [{"name": "a"}, {"name": "b"}]}),
            json!({"volumes": [{"name": "a"}, {"name": "b"}, {"name": "token", "projected": {}}]}),
        );
    }

    #[test]
    fn a_port_changes_its_number_and_keeps_its_node_port() {
        check(
            json!({"ports": [{"port": 1, "protocol": "TCP", "nodePort": 30001}]}),
            json!({"ports": [{"port": 1, "protocol": "TCP"}]}),
            json!({"ports": [{"port": 2, "protocol": "TCP"}]}),
            json!({"ports": [{"port": 2, "protocol": "TCP", "nodePort": 30001}]}),
        );
    }

    #[test]
    fn an_amount_in_other_words_is_not_a_change() {
        check(
            json!({"limits": {"memory": "128Mi"}}),
            json!({"limits": {"memory": "134217728"}}),
            json!({"limits": {"memory": "134217728"}}),
            json!({"limits": {"memory": "128Mi"}}),
        );
    }
}
