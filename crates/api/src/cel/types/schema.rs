//! Types from the OpenAPI schemas that kinds publish.
//!
//! Follows upstream's `SchemaDeclType` (`apiserver/pkg/cel/common/schemas.go`) and how it fills in references
//! (`cel/openapi/resolver/refs.go`). What a schema gives no type for is anything here: upstream leaves such fields out
//! and warns of each use, though they are there when the expression runs.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Type;
use crate::cel::escape;

/// Where schemas of one document lie.
const PLACE: &str = "#/components/schemas/";

struct Reader<'a> {
    schemas: &'a Map<String, Value>,
    /// The references on the way here.
    within: Vec<&'a str>,
}

impl Type {
    /// The type of objects of a kind; nothing if the document (OpenAPI v3) has no such kind.
    pub fn of_kind(document: &Value, group: &str, version: &str, kind: &str) -> Option<Self> {
        let schemas = document["components"]["schemas"].as_object()?;
        let is_kind = |schema: &Value| {
            schema["x-kubernetes-group-version-kind"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|own| own["group"] == group && own["version"] == version && own["kind"] == kind)
        };
        let (name, schema) = schemas.iter().find(|(_, schema)| is_kind(schema))?;
        Some(Reader { schemas, within: vec![name] }.read(schema, kind, true))
    }
}

impl<'a> Reader<'a> {
    /// The type that a schema declares; an object of it is called `name`.
    fn read(&mut self, schema: &'a Value, name: &str, root: bool) -> Type {
        let Some(target) = reference(schema) else { return self.plain(schema, name, root) };
        match self.schemas.get(target) {
            // A schema within itself is an object of which nothing is known.
            Some(_) if self.within.contains(&target) => Type::object(name, []),
            Some(referred) => {
                self.within.push(target);
                let read = self.read(referred, name, root);
                self.within.pop();
                read
            }
            None => Type::Dyn,
        }
    }

    fn plain(&mut self, schema: &'a Value, name: &str, root: bool) -> Type {
        let format = schema["format"].as_str().unwrap_or_default();
        if format == "int-or-string" || schema["x-kubernetes-int-or-string"] == true {
            return Type::Dyn;
        }
        match schema["type"].as_str().unwrap_or_default() {
            "array" => match schema.get("items") {
                Some(items) => Type::list(self.read(items, &format!("{name}.@idx"), is_root(items))),
                None => Type::Dyn,
            },
            "object" => match schema.get("additionalProperties").filter(|more| more.is_object()) {
                Some(more) => Type::map(self.read(more, &format!("{name}.@elem"), is_root(more))),
                None => self.object(schema, name, root),
            },
            "string" => match format {
                "byte" => Type::Bytes,
                "duration" => Type::Duration,
                "date" | "date-time" => Type::Timestamp,
                _ => Type::String,
            },
            "boolean" => Type::Bool,
            "number" => Type::Double,
            "integer" => Type::Int,
            // The definition of a custom resource need not tell its root's type.
            _ if root && schema.get("properties").is_some() => self.object(schema, name, root),
            _ => Type::Dyn,
        }
    }

    fn object(&mut self, schema: &'a Value, name: &str, root: bool) -> Type {
        let mut fields = Vec::new();
        for (property, schema) in schema["properties"].as_object().into_iter().flatten() {
            let Some(escaped) = escape(property) else { continue };
            let read = self.read(schema, &format!("{name}.{escaped}"), is_root(schema));
            fields.push((escaped, read));
        }
        if root {
            let missing = |fields: &[(String, Type)], wanted: &str| {
                fields.iter().all(|(name, declared)| name != wanted || declared.is_unknown())
            };
            for text in ["apiVersion", "kind"] {
                if missing(&fields, text) {
                    fields.push((text.to_owned(), Type::String));
                }
            }
            let named =
                |declared: &Type| matches!(declared, Type::Object(own) if own.fields.contains_key("name"));
            if !fields.iter().any(|(name, declared)| name == "metadata" && named(declared)) {
                let own = ["name", "generateName"].map(|field| (field.to_owned(), Type::String));
                fields.push(("metadata".to_owned(), Type::object(&format!("{name}.metadata"), own)));
            }
        }
        Type::Object(Arc::new(super::Structure {
            name: name.to_owned(),
            fields: fields.into_iter().collect(),
        }))
    }
}

fn is_root(schema: &Value) -> bool {
    schema["x-kubernetes-embedded-resource"] == true
}

/// What a schema refers to, also where `allOf` wraps the reference to keep a description beside it.
fn reference(schema: &Value) -> Option<&str> {
    let direct = schema["$ref"].as_str().and_then(|text| text.strip_prefix(PLACE));
    direct.or_else(|| schema["allOf"].as_array()?.iter().find_map(reference))
}
