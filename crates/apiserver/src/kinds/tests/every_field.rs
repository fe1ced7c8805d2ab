//! Objects with every field set that their schemas have. The schemas are k8s-openapi's, which know nothing of our tables.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::kinds::Row;

/// How often a definition may stand within itself.
const NESTED: usize = 2;

struct Maker {
    definitions: Map<String, Value>,
    /// Which fields of which messages are left out.
    without: fn(&str, &str) -> bool,
    /// Which of the alternatives int-or-string fields and JSON fields have.
    turn: bool,
}

impl Maker {
    /// An instance of a schema with everything in it.
    fn make(&self, schema: &Value, within: &[&str]) -> Option<Value> {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap();
            if within.iter().filter(|own| **own == name).count() >= NESTED {
                return None;
            }
            let (full, _) = self.definitions.get_key_value(name).unwrap_or_else(|| panic!("{name}"));
            let within = [within, &[full.as_str()]].concat();
            return self.defined(name, &self.definitions[name], &within);
        }
        if let Some(one) = schema["allOf"][0].as_object() {
            return self.make(&one.clone().into(), within);
        }
        let kind = match &schema["type"] {
            Value::Array(types) => types.iter().find(|kind| *kind != "null")?.as_str()?,
            kind => kind.as_str()?,
        };
        Some(match kind {
            "string" if schema["format"] == "byte" => "AP8=".into(),
            "string" => "text".into(),
            "integer" => 7.into(),
            "number" => 1.5.into(),
            "boolean" => true.into(),
            "array" => Value::Array(vec![self.make(&schema["items"], within)?]),
            _ if schema["additionalProperties"].is_object() => {
                json!({ "key.io/one": self.make(&schema["additionalProperties"], within)? })
            }
            _ => self.object(schema, None, within),
        })
    }

    fn defined(&self, name: &str, schema: &Value, within: &[&str]) -> Option<Value> {
        let last = name.rsplit('.').next().unwrap_or_default();
        Some(match last {
            "Time" => "2026-11-26T10:00:00Z".into(),
            "MicroTime" => "2026-11-26T10:00:00.123456Z".into(),
            "Quantity" => "1500m".into(),
            "IntOrString" if self.turn => 7.into(),
            "IntOrString" => "50%".into(),
            "RawExtension" | "JSON" | "FieldsV1" => json!({ "f:a": { "b": [1, "x", null] } }),
            "JSONSchemaPropsOrBool" if self.turn => true.into(),
            "JSONSchemaPropsOrStringArray" if self.turn => json!(["a", "b"]),
            "JSONSchemaPropsOrArray" if self.turn => json!([{ "type": "string" }, { "type": "number" }]),
            "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray" | "JSONSchemaPropsOrArray" => {
                json!({ "type": "string" })
            }
            _ if schema["properties"].is_object() => self.object(schema, Some(name), within),
            _ => return self.make(schema, within),
        })
    }

    fn object(&self, schema: &Value, name: Option<&str>, within: &[&str]) -> Value {
        let message = name.unwrap_or_default();
        let message = message
            .trim_start_matches("io.k8s.")
            .trim_start_matches("apiextensions-apiserver.pkg.apis.")
            .trim_start_matches("kube-aggregator.pkg.apis.")
            .trim_start_matches("apimachinery.pkg.apis.")
            .trim_start_matches("api.");
        let mut object = Map::new();
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            if (self.without)(message, field) {
                continue;
            }
            // What an object is stands in the envelope; one within another has lost it, as upstream's.
            if ["apiVersion", "kind"].contains(&field.as_str())
                && schema["properties"]["metadata"].is_object()
            {
                continue;
            }
            if let Some(value) = self.make(property, within) {
                object.insert(field.clone(), value);
            }
        }
        object.into()
    }
}

/// Two objects of each of these kinds, with all their fields but for those that `without` names by message and field.
pub(super) fn full(rows: &[&Row], without: fn(&str, &str) -> bool) -> Vec<(String, Value)> {
    [false, true].into_iter().flat_map(|turn| of_turn(rows, turn, without)).collect()
}

fn of_turn(rows: &[&Row], turn: bool, without: fn(&str, &str) -> bool) -> Vec<(String, Value)> {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let roots: Vec<_> = rows.iter().map(|row| row.ops.schema(&mut generator).to_value()).collect();
    let maker = Maker { definitions: generator.take_definitions(true), without, turn };
    rows.iter()
        .zip(roots)
        .map(|(row, root)| {
            let mut object = maker.make(&root, &[]).unwrap();
            object["apiVersion"] = row.resource().api_version().into();
            object["kind"] = row.kind.into();
            (format!("{}/{}", row.group, row.kind), object)
        })
        .collect()
}

/// What differs, by path.
pub(super) fn differences(before: &Value, after: &Value, path: &str, found: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for name in before.keys().chain(after.keys().filter(|name| !before.contains_key(*name))) {
                let at = |map: &Map<String, Value>| map.get(name).cloned().unwrap_or_default();
                differences(&at(before), &at(after), &format!("{path}.{name}"), found);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (at, (before, after)) in before.iter().zip(after).enumerate() {
                differences(before, after, &format!("{path}[{at}]"), found);
            }
        }
        _ if before == after => {}
        _ => found.push(format!("{path}: {before} became {after}")),
    }
}
