//! JSON patch: a list of operations, all or none of which take effect.
//!
//! The operations come from the json-patch crate. Four things differ in the library that upstream uses, and are done
//! here before: array indexes may be negative (counted from the end), a member that is not there passes for `null` when it
//! is tested, too long patches are refused, and so are those that copy too much (a few copies of copies fill any memory).

use json_patch::{Patch, PatchErrorKind};
use serde_json::Value;

use super::PatchError;

/// Upstream's limit on operations in one patch.
const MAX_OPERATIONS: usize = 10_000;
/// Upstream's limit on what all copies of one patch may add, in bytes.
const MAX_COPIED: usize = 3 << 20;

/// Applies `patch` (a JSON list of operations) to `object`; `object` is unchanged if it fails.
///
/// # Errors
/// [`PatchError::Malformed`] if the patch is not one, [`PatchError::Rejected`] if it does not fit.
pub fn apply(object: &mut Value, mut patch: Value) -> Result<(), PatchError> {
    let Some(operations) = patch.as_array() else {
        return Err(PatchError::Malformed(
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch".to_owned(),
        ));
    };
    if operations.len() > MAX_OPERATIONS {
        let why = format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        );
        return Err(PatchError::Malformed(why));
    }
    let one_by_one_only = |operation: &Value| tests_for_null(operation) || operation["op"] == "copy";
    if operations.iter().any(one_by_one_only) || has_negative_index(&patch) {
        return one_by_one(object, patch.take());
    }
    at_once(object, patch)
}

fn tests_for_null(operation: &Value) -> bool {
    operation["op"] == "test" && operation.get("value").is_some_and(Value::is_null)
}

/// True if `path` names a member that an object of `within` does not have.
fn is_absent(within: &Value, path: &str) -> bool {
    let Some((parent, name)) = path.rsplit_once('/') else { return false };
    let name = name.replace("~1", "/").replace("~0", "~");
    within.pointer(parent).and_then(Value::as_object).is_some_and(|map| !map.contains_key(&name))
}

/// Applies operations whose indexes are as the crate reads them.
fn at_once(object: &mut Value, patch: Value) -> Result<(), PatchError> {
    let patch: Patch =
        serde_json::from_value(patch).map_err(|error| PatchError::Malformed(error.to_string()))?;
    json_patch::patch(object, &patch).map_err(|error| {
        let path = error.path.to_string();
        let operation = patch.0.get(error.operation);
        PatchError::Rejected(text(&error.kind, operation_name(operation), &path))
    })
}

fn has_negative_index(patch: &Value) -> bool {
    let negative = |path: Option<&Value>| {
        path.and_then(Value::as_str).is_some_and(|path| {
            path.split('/').any(|part| part.strip_prefix('-').is_some_and(|n| n.parse::<usize>().is_ok()))
        })
    };
    patch.as_array().into_iter().flatten().any(|op| negative(op.get("path")) || negative(op.get("from")))
}

/// Resolves what depends on the state that each operation meets.
fn one_by_one(object: &mut Value, patch: Value) -> Result<(), PatchError> {
    let (mut changed, mut copied) = (object.clone(), 0);
    let Value::Array(operations) = patch else { return Ok(()) };
    for mut operation in operations {
        for field in ["path", "from"] {
            if let Some(Value::String(path)) = operation.get_mut(field) {
                *path = resolve(&changed, path);
            }
        }
        let path = operation["path"].as_str().unwrap_or_default();
        if tests_for_null(&operation) && is_absent(&changed, path) {
            continue;
        }
        if operation["op"] == "copy" {
            copied += operation["from"].as_str().and_then(|from| changed.pointer(from)).map_or(0, size);
            if copied > MAX_COPIED {
                return Err(PatchError::TooLarge(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit \
                     {MAX_COPIED}"
                )));
            }
        }
        // An index that is still negative has no item: it is refused like any other that is not there.
        at_once(&mut changed, Value::Array(vec![operation]))?;
    }
    *object = changed;
    Ok(())
}

/// How long the JSON of a value is.
fn size(value: &Value) -> usize {
    value.to_string().len()
}

fn resolve(object: &Value, path: &str) -> String {
    let mut resolved = String::new();
    for part in path.split('/').skip(1) {
        let parent = object.pointer(&resolved);
        let back = part.strip_prefix('-').and_then(|n| n.parse::<usize>().ok());
        let index = match (parent, back) {
            (Some(Value::Array(list)), Some(back)) => list.len().checked_sub(back),
            _ => None,
        };
        resolved.push('/');
        match index {
            Some(index) => resolved.push_str(&index.to_string()),
            None => resolved.push_str(part),
        }
    }
    resolved
}

fn operation_name(operation: Option<&json_patch::PatchOperation>) -> &'static str {
    use json_patch::PatchOperation as Op;
    match operation {
        Some(Op::Add(_)) => "add",
        Some(Op::Remove(_)) => "remove",
        Some(Op::Replace(_)) => "replace",
        Some(Op::Move(_)) => "move",
        Some(Op::Copy(_)) => "copy",
        Some(Op::Test(_)) | None => "test",
    }
}

fn text(kind: &PatchErrorKind, operation: &str, path: &str) -> String {
    match kind {
        PatchErrorKind::TestFailed => format!("testing value {path} failed: test failed"),
        PatchErrorKind::InvalidPointer | PatchErrorKind::InvalidFromPointer => match operation {
            "replace" => {
                format!("replace operation does not apply: doc is missing key: {path}: missing value")
            }
            operation => {
                format!("{operation} operation does not apply: doc is missing path: {path:?}: missing value")
            }
        },
        other => format!("{operation} operation does not apply: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_apply_in_order_and_count_from_the_end() {
        let mut object = json!({"a": [1, 2, 3], "b": {"c": "d"}});
        let patch = json!([
            {"op": "add", "path": "/a/-", "value": 4},
            {"op": "remove", "path": "/a/-1"},
            {"op": "replace", "path": "/b/c", "value": "e"},
            {"op": "test", "path": "/a/2", "value": 3},
        ]);
        apply(&mut object, patch).unwrap();
        assert_eq!(object, json!({"a": [1, 2, 3], "b": {"c": "e"}}));
    }

    #[test]
    fn a_failed_operation_undoes_the_others() {
        let before = json!({"a": 1});
        let mut object = before.clone();
        let patch =
            json!([{"op": "add", "path": "/b", "value": 2}, {"op": "test", "path": "/a", "value": 9}]);
        let error = apply(&mut object, patch).unwrap_err();
        assert_eq!(error, PatchError::Rejected("testing value /a failed: test failed".to_owned()));
        assert_eq!(object, before);
        let status = ApiError::from(error);
        assert_eq!((status.code(), status.reason()), (422, "Invalid"));
        let missing = apply(&mut object, json!([{"op": "remove", "path": "/x/y"}])).unwrap_err();
        assert!(
            missing.to_string().contains("remove operation does not apply: doc is missing path: \"/x/y\"")
        );
        assert!(matches!(apply(&mut object, json!({})), Err(PatchError::Malformed(_))));
        assert!(matches!(apply(&mut object, json!([{"op": "jump"}])), Err(PatchError::Malformed(_))));
    }

    #[test]
    fn copies_of_copies_come_to_an_end() {
        let before = json!({"a": {"text": "x".repeat(1000)}});
        let mut object = before.clone();
        apply(&mut object, json!([{"op": "copy", "from": "/a", "path": "/b"}])).unwrap();
        assert_eq!(object["b"], before["a"]);
        let twice = |n: usize| json!({"op": "copy", "from": "/a", "path": format!("/a/{n}")});
        let error = apply(&mut object, (0..40).map(twice).collect()).unwrap_err();
        let status = ApiError::from(error);
        assert_eq!((status.code(), status.reason()), (413, "RequestEntityTooLarge"));
        assert!(object["a"].get("0").is_none(), "nothing of it was done");
    }

    #[test]
    fn what_is_not_there_passes_for_null() {
        let mut object = json!({"metadata": {}, "list": [1]});
        let patch = json!([
            {"op": "test", "path": "/metadata/finalizers", "value": null},
            {"op": "add", "path": "/metadata/finalizers", "value": ["a"]},
        ]);
        apply(&mut object, patch.clone()).unwrap();
        assert_eq!(object["metadata"], json!({"finalizers": ["a"]}));
        let again = apply(&mut object, patch).unwrap_err();
        assert!(again.to_string().ends_with("testing value /metadata/finalizers failed: test failed"));
        for path in ["/nothing/at/all", "/list/1"] {
            assert!(
                apply(&mut object, json!([{"op": "test", "path": path, "value": null}])).is_err(),
                "{path}"
            );
        }
    }

    use crate::status::ApiError;
}
