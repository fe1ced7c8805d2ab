//! The published schemas of one group-version, and a strict check of an object against them.
//!
//! Strict: besides what the schema forbids, a field that it does not declare is a fault, since that is what clients that
//! decode strictly would call it.

use serde_json::{Map, Value};

use crate::given::Client;

/// The schemas of a v3 document.
pub(crate) struct Schemas(Map<String, Value>);

impl Schemas {
    /// Those of `api/v1`, `apis/apps/v1`, as the server publishes them.
    pub(crate) async fn published(client: &Client, root: &str) -> Self {
        let document = client.get(&format!("/openapi/v3/{root}")).await.code(200).body;
        Self(document["components"]["schemas"].as_object().unwrap().clone())
    }

    /// The name of the definition of a kind.
    pub(crate) fn kind(&self, group: &str, version: &str, kind: &str) -> &str {
        let named = serde_json::json!({ "group": group, "version": version, "kind": kind });
        let is = |schema: &Value| {
            schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|kinds| kinds.contains(&named))
        };
        self.0.iter().find(|(_, schema)| is(schema)).unwrap_or_else(|| panic!("{kind} is not published")).0
    }

    /// A definition.
    pub(crate) fn named(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or_else(|| panic!("{name} is not published"))
    }

    /// What a schema refers to: the definition's name, if it has one, and the definition.
    pub(crate) fn resolved<'a>(&'a self, schema: &'a Value) -> (Option<&'a str>, &'a Value) {
        let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
        let name = reference.map(|reference| reference.trim_start_matches("#/components/schemas/"));
        match name {
            Some(name) => (Some(name), self.named(name)),
            None => (None, schema),
        }
    }

    /// What is wrong with `value`, by path.
    pub(crate) fn faults(&self, definition: &str, value: &Value) -> Vec<String> {
        let mut found = Vec::new();
        self.check(self.named(definition), value, "", &mut found);
        found
    }

    fn check(&self, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
        let (_, schema) = self.resolved(schema);
        if let Some(choices) = schema["oneOf"].as_array() {
            if !choices.iter().any(|choice| fits(choice["type"].as_str(), value)) {
                found.push(format!("{path}: {value} is none of {choices:?}"));
            }
            return;
        }
        let kind = schema["type"].as_str();
        if !fits(kind, value) {
            found.push(format!("{path}: {value} is no {}", kind.unwrap_or_default()));
            return;
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            found.push(format!("{path}: {value} is none of {allowed:?}"));
        }
        match value {
            Value::Object(map) => self.members(schema, map, path, found),
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.check(&schema["items"], item, &format!("{path}[{at}]"), found);
                }
            }
            _ => {}
        }
    }

    fn members(&self, schema: &Value, map: &Map<String, Value>, path: &str, found: &mut Vec<String>) {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !map.contains_key(name) {
                found.push(format!("{path}.{name}: is missing"));
            }
        }
        let (properties, others) = (&schema["properties"], &schema["additionalProperties"]);
        for (name, value) in map {
            let path = format!("{path}.{name}");
            match (properties.get(name), others) {
                (Some(property), _) => self.check(property, value, &path, found),
                (None, Value::Object(_)) => self.check(others, value, &path, found),
                // An object about which nothing is said may hold anything.
                (None, _) if properties.is_object() => found.push(format!("{path}: is not declared")),
                (None, _) => {}
            }
        }
    }
}

fn fits(kind: Option<&str>, value: &Value) -> bool {
    match kind {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    }
}
