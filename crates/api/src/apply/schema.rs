//! What apply must know of a kind: which maps and lists are merged, which are one value, and by which keys items are told
//! apart.
//!
//! Built from JSON schemas: those of the Rust types, completed by the table of facts, or a custom resource's own, which
//! carries its `x-kubernetes-*` extensions with it. Many kinds share one set of types, since they share most of them.
//! Where a schema says nothing, the value decides: maps are merged, lists are one value.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::schemars::JsonSchema;
use k8s_openapi::schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::patch::facts::{self, Fact};

/// The schema of one kind.
#[derive(Clone, Debug)]
pub struct Schema {
    types: Arc<[Type]>,
    root: Ref,
}

/// A type as a field uses it: a field may say of a map whether it is atomic, whatever the map's own type says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ref {
    id: usize,
    atomic: Option<bool>,
}

/// What is known of a value.
#[derive(Debug)]
pub(super) enum Type {
    /// Nothing: the value decides.
    Deduced,
    Scalar(Scalar),
    Map(Members),
    List(Items),
}

/// What a scalar must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Text,
    Number,
    Boolean,
    /// Quantities, and what is an integer or a string.
    Any,
}

/// A struct, a map, or both.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) fields: HashMap<Box<str>, Field>,
    /// What members without a field of their own are; nothing if there may be none.
    pub(super) others: Option<Ref>,
    pub(super) atomic: bool,
}

/// A named member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) at: Ref,
    /// Whether upstream's Go struct always has it, so that nobody brings it into being.
    pub(super) always: bool,
}

/// A list.
#[derive(Debug)]
pub(super) struct Items {
    pub(super) item: Ref,
    pub(super) way: Way,
}

/// How a list merges.
#[derive(Debug)]
pub(super) enum Way {
    Atomic,
    Set,
    Keyed(Box<[Key]>),
}

/// A member by which items are told apart.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: Box<str>,
    pub(super) default: Option<Value>,
    pub(super) required: bool,
}

/// A type with what its field says of it.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) kind: &'a Type,
    atomic: Option<bool>,
}

impl Seen<'_> {
    pub(super) fn atomic(self) -> bool {
        match self.kind {
            Type::Map(members) => self.atomic.unwrap_or(members.atomic),
            Type::List(items) => matches!(items.way, Way::Atomic),
            Type::Deduced | Type::Scalar(_) => false,
        }
    }
}

impl Schema {
    pub(super) fn root(&self) -> Ref {
        self.root
    }

    pub(super) fn see(&self, at: Ref) -> Seen<'_> {
        let kind = self.types.get(at.id).unwrap_or(&Type::Deduced);
        Seen { kind, atomic: at.atomic }
    }
}

/// What is not known is merged as far as it is made of maps.
pub(super) const DEDUCED: Ref = Ref { id: 0, atomic: None };

/// Fields that upstream's Go structs hold by value, so that they are there even when empty.
const BY_VALUE: &[&str] = &[
    "daemonEndpoints",
    "jobTemplate",
    "kubeletEndpoint",
    "lastState",
    "loadBalancer",
    "metadata",
    "nodeInfo",
    "resources",
    "spec",
    "state",
    "status",
    "strategy",
    "template",
    "updateStrategy",
];

/// Makes schemas that share their types.
pub struct Builder<'a> {
    definitions: &'a Map<String, Value>,
    known: HashMap<&'a str, usize>,
    types: Vec<Type>,
}

impl<'a> Builder<'a> {
    /// A builder that resolves references among `definitions`, by the last part of their path.
    pub fn new(definitions: &'a Map<String, Value>) -> Self {
        Self { definitions, known: HashMap::new(), types: vec![Type::Deduced] }
    }

    /// Adds a kind by its definition's name, such as `io.k8s.api.core.v1.Pod`.
    pub fn definition(&mut self, name: &'a str) -> Root {
        Root(self.named(name))
    }

    /// Adds a kind by its schema.
    pub fn schema(&mut self, schema: &'a Value) -> Root {
        Root(self.at("", schema, Fact::default()))
    }

    /// The schemas of `roots`, in their order.
    pub fn finish(self, roots: &[Root]) -> Vec<Schema> {
        let types: Arc<[Type]> = self.types.into();
        roots.iter().map(|root| Schema { types: Arc::clone(&types), root: root.0 }).collect()
    }

    fn named(&mut self, name: &'a str) -> Ref {
        if let Some(id) = self.known.get(name) {
            return Ref { id: *id, atomic: None };
        }
        let Some(schema) = self.definitions.get(name) else { return DEDUCED };
        // Types may contain themselves, so the place is taken before it is filled.
        let id = self.types.len();
        self.types.push(Type::Deduced);
        self.known.insert(name, id);
        self.types[id] = self.kind(name, schema, Fact::default());
        Ref { id, atomic: None }
    }

    /// The type of a schema as it stands in a field of which `fact` is known.
    fn at(&mut self, definition: &'a str, schema: &'a Value, fact: Fact) -> Ref {
        let own = schema.get("x-kubernetes-map-type").and_then(Value::as_str);
        let atomic = match fact.topology.or(own) {
            Some("atomic") => Some(true),
            Some("granular") => Some(false),
            _ => None,
        };
        if let Some(target) = reference(schema) {
            return Ref { atomic, ..self.named(target) };
        }
        let kind = self.kind(definition, schema, fact);
        match kind {
            Type::Deduced => DEDUCED,
            kind => {
                self.types.push(kind);
                Ref { id: self.types.len() - 1, atomic }
            }
        }
    }

    fn kind(&mut self, definition: &'a str, schema: &'a Value, fact: Fact) -> Type {
        if flag(schema, "x-kubernetes-int-or-string") || schema.get("format") == Some(&"int-or-string".into())
        {
            return Type::Scalar(Scalar::Any);
        }
        if definition.ends_with(".Quantity") || definition.ends_with(".IntOrString") {
            return Type::Scalar(Scalar::Any);
        }
        match schema.get("type").map(word) {
            Some("string") => Type::Scalar(Scalar::Text),
            Some("integer" | "number") => Type::Scalar(Scalar::Number),
            Some("boolean") => Type::Scalar(Scalar::Boolean),
            Some("array") => self.list(schema, fact),
            _ if schema.get("properties").is_some() || schema.get("additionalProperties").is_some() => {
                self.map(definition, schema)
            }
            _ => Type::Deduced,
        }
    }

    fn map(&mut self, definition: &'a str, schema: &'a Value) -> Type {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut fields = HashMap::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let fact = facts::of(definition, name);
            let always = !definition.is_empty()
                && (required.contains(&name.as_str()) || BY_VALUE.contains(&name.as_str()));
            let at = self.at("", property, fact);
            fields.insert(name.as_str().into(), Field { at, always });
        }
        let open = flag(schema, "x-kubernetes-preserve-unknown-fields")
            || flag(schema, "x-kubernetes-embedded-resource");
        let others = match schema.get("additionalProperties") {
            Some(item @ Value::Object(_)) => Some(self.at("", item, Fact::default())),
            Some(Value::Bool(true)) => Some(DEDUCED),
            _ => open.then_some(DEDUCED),
        };
        let own = schema.get("x-kubernetes-map-type").and_then(Value::as_str);
        let atomic = facts::of(definition, ".").topology.or(own) == Some("atomic");
        Type::Map(Members { fields, others, atomic })
    }

    fn list(&mut self, schema: &'a Value, fact: Fact) -> Type {
        let Some(items) = schema.get("items") else { return Type::Deduced };
        let own = schema.get("x-kubernetes-list-type").and_then(Value::as_str);
        let way = match fact.topology.or(own) {
            Some("set") => Way::Set,
            Some("map") => {
                let own = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
                let mut names: Vec<&str> = fact.map_keys().collect();
                names.extend(own.filter_map(Value::as_str));
                Way::Keyed(names.into_iter().map(|name| self.key(items, name)).collect())
            }
            _ => Way::Atomic,
        };
        Type::List(Items { item: self.at("", items, Fact::default()), way })
    }

    fn key(&self, items: &Value, name: &str) -> Key {
        let definition = reference(items);
        let schema = definition.and_then(|name| self.definitions.get(name)).unwrap_or(items);
        let own = schema["properties"][name].get("default").cloned();
        let known = definition.and_then(|definition| facts::default_of(definition, name)).map(Value::from);
        let required = schema["required"].as_array().is_some_and(|list| list.iter().any(|own| own == name));
        Key { name: name.into(), default: known.or(own), required }
    }
}

/// A kind added to a [`Builder`].
#[derive(Clone, Copy)]
pub struct Root(Ref);

fn reference(schema: &Value) -> Option<&str> {
    let target = match schema.get("$ref").and_then(Value::as_str) {
        Some(target) => target,
        None => schema.get("allOf")?.as_array()?.iter().find_map(|part| part.get("$ref")?.as_str())?,
    };
    target.rsplit('/').next()
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

/// `string` of `string` and of `[string, null]`.
fn word(kind: &Value) -> &str {
    match kind {
        Value::Array(kinds) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or_default()
        }
        kind => kind.as_str().unwrap_or_default(),
    }
}

/// The schema of a custom resource, from its structural schema; without one the values decide.
pub fn custom(schema: &Value) -> Schema {
    static META: LazyLock<Map<String, Value>> = LazyLock::new(|| {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        generator.subschema_for::<ObjectMeta>();
        generator.take_definitions(true).into_iter().collect()
    });
    let mut schema = schema.clone();
    if !schema.is_object() {
        schema = json!({"x-kubernetes-preserve-unknown-fields": true});
    }
    for (field, of) in [
        ("apiVersion", json!({"type": "string"})),
        ("kind", json!({"type": "string"})),
        ("metadata", json!({"$ref": format!("#/definitions/{}", ObjectMeta::schema_name())})),
    ] {
        schema["properties"][field] = of;
    }
    let mut builder = Builder::new(&META);
    let root = builder.schema(&schema);
    builder.finish(&[root]).remove(0)
}
