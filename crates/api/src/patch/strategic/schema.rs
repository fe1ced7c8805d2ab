//! Which definition each field of a kind has, so that the table of facts can be asked at every depth.
//!
//! The graph comes from the generated JSON schema of the Rust type; nothing is written by hand for a kind.

use std::collections::HashMap;

use k8s_openapi::schemars::JsonSchema;
use k8s_openapi::schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::patch::facts::{self, Fact};

/// What strategic merge has to know of one kind.
#[derive(Debug)]
pub struct Schema {
    root: String,
    fields: HashMap<String, HashMap<String, String>>,
}

/// One definition within a schema, or a place below which nothing is known (all maps merge, all lists replace).
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    schema: &'a Schema,
    definition: Option<&'a str>,
}

/// A field below a [`Node`].
#[derive(Clone, Copy, Debug)]
pub struct Child<'a> {
    /// How it merges.
    pub fact: Fact,
    /// What it (or each item of it) is.
    pub node: Node<'a>,
}

impl Schema {
    /// The schema of a Rust type. It takes milliseconds: keep it.
    pub fn of<K: JsonSchema>() -> Self {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        let top = generator.subschema_for::<K>();
        let root = reference(top.as_value()).unwrap_or_default().to_owned();
        let mut fields = HashMap::new();
        for (definition, schema) in generator.take_definitions(true) {
            let children: HashMap<String, String> = schema["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(field, schema)| Some((field.clone(), reference(schema)?.to_owned())))
                .collect();
            fields.insert(definition, children);
        }
        Self { root, fields }
    }

    /// The kind itself.
    pub fn root(&self) -> Node<'_> {
        Node { schema: self, definition: Some(&self.root) }
    }
}

/// The definition that a schema refers to: itself, the items of a list, or the values of a map.
fn reference(schema: &Value) -> Option<&str> {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        return target.rsplit('/').next();
    }
    let combined =
        ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    let nested = ["items", "additionalProperties"].into_iter().filter_map(|key| schema.get(key));
    combined.chain(nested).find_map(reference)
}

impl<'a> Node<'a> {
    /// A field of this definition.
    pub fn field(self, name: &str) -> Child<'a> {
        let Some(definition) = self.definition else { return Child { fact: Fact::default(), node: self } };
        let child = self.schema.fields.get(definition).and_then(|fields| fields.get(name));
        let node = Node { schema: self.schema, definition: child.map(String::as_str) };
        Child { fact: facts::of(definition, name), node }
    }
}
