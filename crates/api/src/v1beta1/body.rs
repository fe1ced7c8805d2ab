//! Reading what a client of 2014 sends: YAML as a superset of JSON, nulls as absence, unknown members dropped.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fault::Fault;
use super::lenient::Lenient;

/// Reads a body as a tree. `null` members are left out everywhere, as Go's decoder ignored them.
///
/// JSON is tried first: it may be indented with tabs, which YAML forbids.
///
/// # Errors
/// [`Fault::Empty`] and [`Fault::Syntax`].
pub fn tree(body: &[u8]) -> Result<Value, Fault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Fault::Empty);
    }
    let mut value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(_) => yaml(body)?,
    };
    drop_nulls(&mut value);
    Ok(value)
}

fn yaml(body: &[u8]) -> Result<Value, Fault> {
    let text = std::str::from_utf8(body).map_err(|error| Fault::Syntax(error.to_string()))?;
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| Fault::Syntax(first_line(&error.to_string())))?;
    documents.into_iter().find(|document| !document.is_null()).ok_or(Fault::Empty)
}

/// The parser's errors carry a drawing of the place; one line is what an error message can hold.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Reads a tree as `T`; the error names the member.
///
/// # Errors
/// [`Fault::Member`].
pub fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(Lenient(value)).map_err(|error| {
        let path = error.path().to_string();
        let why = error.into_inner();
        Fault::Member(if path == "." { why.to_string() } else { format!("{path}: {why}") })
    })
}

/// The `kind` and `apiVersion` that a tree claims; empty where it claims none.
///
/// # Errors
/// [`Fault::NotAnObject`].
pub fn claims(value: &Value) -> Result<(&str, &str), Fault> {
    let members = value.as_object().ok_or(Fault::NotAnObject)?;
    let word = |key: &str| members.get(key).and_then(Value::as_str).unwrap_or_default();
    Ok((word("kind"), word("apiVersion")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        tree(text.as_bytes()).unwrap()
    }

    #[test]
    fn json_yaml_and_json_with_trailing_commas_mean_the_same() {
        let json = read(r#"{"id": "a", "labels": {"x": "web"}}"#);
        assert_eq!(read("{\"id\": \"a\", \"labels\": {\"x\": \"web\",},}"), json);
        assert_eq!(read("id: a\nlabels:\n  x: web\n"), json);
        assert_eq!(read("{\n\t\"id\": \"a\",\n\t\"labels\": {\"x\": \"web\"}\n}"), json);
    }

    #[test]
    fn nulls_are_absent() {
        assert_eq!(read(r#"{"volumes": null, "a": [{"b": null}]}"#), serde_json::json!({"a": [{}]}));
    }

    #[test]
    fn nothing_is_an_error() {
        assert!(matches!(tree(b" \n"), Err(Fault::Empty)));
        assert!(matches!(tree(b"{\"a\": ["), Err(Fault::Syntax(_))));
    }
}
