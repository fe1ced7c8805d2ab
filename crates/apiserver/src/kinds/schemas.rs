//! What apply must know of the built-in kinds: one set of types for all of them, made from the Rust types when a write
//! first needs it.

use std::collections::HashMap;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use skiff_api::apply::{Builder, Schema};

use super::ALL;

static MADE: LazyLock<HashMap<String, Schema>> = LazyLock::new(|| {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let target = |schema: schemars::Schema| {
        let target = schema.get("$ref").and_then(Value::as_str).unwrap_or_default();
        target.rsplit('/').next().unwrap_or_default().to_owned()
    };
    let names: Vec<String> = ALL.iter().map(|row| target(row.ops.schema(&mut generator))).collect();
    let definitions: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    let mut builder = Builder::new(&definitions);
    let roots: Vec<_> = names.iter().map(|name| builder.definition(name)).collect();
    let schemas = builder.finish(&roots);
    names.into_iter().zip(schemas).collect()
});

/// The schema of a built-in kind, by the name of its definition.
pub(super) fn of(definition: &str) -> Schema {
    MADE.get(definition).cloned().unwrap_or_else(|| skiff_api::apply::custom(&Value::Null))
}
