//! A decoding error in the words that users of Kubernetes know.
//!
//! Upstream's texts come from Go's JSON decoder; serde's say the same with other nouns. The numbers of list items are
//! left out of the path, as there.

/// The text for an error of decoding a `kind` that struck at `path`, such as `spec.containers[0].name`.
pub(super) fn of(kind: &str, path: &str, error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = text.rfind(" at line ").map_or("", |at| &text[at..]);
    let fault = text.strip_suffix(place).unwrap_or(&text);
    let Some((found, expected)) = fault
        .strip_prefix("invalid type: ")
        .or_else(|| fault.strip_prefix("invalid value: "))
        .and_then(|f| f.split_once(", expected "))
    else {
        return if error.is_data() && !path.is_empty() { format!("{path}: {fault}") } else { text };
    };
    let fields: String = path
        .split('.')
        .map(|part| part.split('[').next().unwrap_or_default())
        .filter(|part| !part.is_empty())
        .map(|part| format!(".{part}"))
        .collect();
    let found = match found.split([' ', '`']).next().unwrap_or_default() {
        "string" => "string",
        "boolean" => "bool",
        "integer" | "floating" => "number",
        "map" => "object",
        "sequence" => "array",
        _ => "null",
    };
    let expected = match expected {
        "i32" => "int32",
        "i64" => "int64",
        "a string" => "string",
        "a boolean" => "bool",
        "a sequence" => "array",
        "a map" => "map[string]string",
        "f64" => "float64",
        other => other.strip_prefix("struct ").unwrap_or(other),
    };
    if fields.is_empty() {
        return format!("json: cannot unmarshal {found} into Go value of type {kind}");
    }
    format!("json: cannot unmarshal {found} into Go struct field {kind}{fields} of type {expected}")
}
