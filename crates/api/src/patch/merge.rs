//! JSON merge patch: maps merge, `null` removes, everything else replaces.

use serde_json::Value;

use super::PatchError;

/// Applies `patch` to `object`.
///
/// # Errors
/// [`PatchError::Malformed`] if the patch is not a JSON object, since no API object could come of it.
pub fn apply(object: &mut Value, patch: &Value) -> Result<(), PatchError> {
    if !patch.is_object() {
        return Err(PatchError::Malformed("Invalid JSON Patch".to_owned()));
    }
    json_patch::merge(object, patch);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_removes_and_lists_are_replaced() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
        apply(&mut object, &json!({"a": {"b": null}, "l": [3], "n": {"x": null, "y": 1}})).unwrap();
        assert_eq!(object, json!({"a": {"c": 2}, "l": [3], "n": {"y": 1}}));
        assert!(apply(&mut object, &json!([1])).is_err());
    }
}
