//! A structural schema, compiled: the shape of values and what may be in them, with patterns and rules made ready.
//!
//! The definition's validation has judged the schema before; what is not structural here is left out, not refused.
//! Operators bring hundreds of definitions with hundreds of places each: what most places do not have takes no room.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::Value;

use super::rules::Rule;

/// How the items of a list belong together (`x-kubernetes-list-type`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListType {
    /// One value.
    #[default]
    Atomic,
    /// Scalars, each once.
    Set,
    /// Objects, told apart by these fields.
    Map(Vec<String>),
}

/// One place of a schema.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// `object`; empty if the schema says none.
    pub(crate) kind: &'static str,
    pub(crate) properties: Fields,
    /// What every other field is, in a map.
    pub(crate) additional: Option<Box<Node>>,
    /// Whether other fields are allowed without a schema (`additionalProperties: true`).
    pub(crate) open: bool,
    pub(crate) items: Option<Box<Node>>,
    pub(crate) nullable: bool,
    /// Whether unknown fields are kept.
    pub(crate) preserve: bool,
    /// Whether the value is an object with metadata of its own.
    pub(crate) embedded: bool,
    pub(crate) int_or_string: bool,
    pub(crate) list_type: ListType,
    pub(crate) default: Option<Box<Value>>,
    checks: Option<Box<Checks>>,
    pub(crate) rules: Box<[Rule]>,
}

/// The declared fields of an object.
#[derive(Debug, Default)]
pub(crate) struct Fields(Box<[(Box<str>, Node)]>);

impl Fields {
    fn of(schema: &JSONSchemaProps) -> Self {
        // A map of the standard library is sorted by its keys.
        Self(
            schema
                .properties
                .iter()
                .flatten()
                .map(|(name, of)| (name.as_str().into(), Node::of(of)))
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        let place = self.0.binary_search_by(|(own, _)| (**own).cmp(name)).ok()?;
        Some(&self.0[place].1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(name, node)| (&**name, node))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The types that there are.
const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// A type by its name; empty for one that there is not.
pub(super) fn type_named(name: Option<&str>) -> &'static str {
    TYPES.into_iter().find(|known| Some(*known) == name).unwrap_or_default()
}

/// What may be in a value.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) format: String,
    pub(crate) allowed: Vec<Value>,
    pub(crate) pattern: Option<(String, Regex)>,
    /// The bound, and whether it is excluded itself.
    pub(crate) maximum: Option<(f64, bool)>,
    pub(crate) minimum: Option<(f64, bool)>,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) length: (Option<i64>, Option<i64>),
    pub(crate) items: (Option<i64>, Option<i64>),
    pub(crate) properties: (Option<i64>, Option<i64>),
    pub(crate) required: Vec<String>,
    pub(crate) all_of: Vec<Node>,
    pub(crate) any_of: Vec<Node>,
    pub(crate) one_of: Vec<Node>,
    pub(crate) not: Option<Box<Node>>,
}

impl Node {
    /// Compiles the schema of a whole object.
    pub(crate) fn root(schema: &JSONSchemaProps) -> Self {
        let mut root = Self::of(schema);
        if root.kind.is_empty() {
            root.kind = "object";
        }
        root
    }

    /// An object of which nothing is known (`x-kubernetes-preserve-unknown-fields: true` at the root).
    pub(crate) fn anything() -> Self {
        Self { kind: "object", preserve: true, ..Self::default() }
    }

    fn of(schema: &JSONSchemaProps) -> Self {
        let flag = |flag: Option<bool>| flag.unwrap_or(false);
        let (additional, open) = match &schema.additional_properties {
            Some(JSONSchemaPropsOrBool::Schema(schema)) => (Some(Box::new(Self::of(schema))), false),
            Some(JSONSchemaPropsOrBool::Bool(open)) => (None, *open),
            None => (None, false),
        };
        let items = match &schema.items {
            Some(JSONSchemaPropsOrArray::Schema(schema)) => Some(Box::new(Self::of(schema))),
            _ => None,
        };
        let list_type = match schema.x_kubernetes_list_type.as_deref() {
            Some("set") => ListType::Set,
            Some("map") => ListType::Map(schema.x_kubernetes_list_map_keys.clone().unwrap_or_default()),
            _ => ListType::Atomic,
        };
        Self {
            kind: type_named(schema.type_.as_deref()),
            properties: Fields::of(schema),
            additional,
            open,
            items,
            nullable: flag(schema.nullable),
            preserve: flag(schema.x_kubernetes_preserve_unknown_fields),
            embedded: flag(schema.x_kubernetes_embedded_resource),
            int_or_string: flag(schema.x_kubernetes_int_or_string),
            list_type,
            default: schema.default.as_ref().map(|default| Box::new(default.0.clone())),
            checks: Checks::of(schema),
            rules: Rule::all(schema).into(),
        }
    }

    /// The node of a field, declared or of the map.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(self.additional.as_deref())
    }

    /// What may be in it.
    pub(crate) fn checks(&self) -> &Checks {
        static NONE: LazyLock<Checks> = LazyLock::new(Checks::default);
        self.checks.as_deref().unwrap_or(&NONE)
    }

    /// True if some rule, here or below, compares with the old value.
    pub(crate) fn looks_back(&self) -> bool {
        self.rules.iter().any(Rule::looks_back)
            || self.properties.iter().any(|(_, node)| node.looks_back())
            || self.additional.as_ref().is_some_and(|node| node.looks_back())
            || self.items.as_ref().is_some_and(|node| node.looks_back())
    }
}

impl Checks {
    /// Nothing where the schema checks nothing.
    fn of(schema: &JSONSchemaProps) -> Option<Box<Self>> {
        let bounds = [schema.maximum, schema.minimum, schema.multiple_of].iter().any(Option::is_some);
        let counts = [
            schema.min_length,
            schema.max_length,
            schema.min_items,
            schema.max_items,
            schema.min_properties,
            schema.max_properties,
        ];
        let words = [&schema.format, &schema.pattern].into_iter().any(Option::is_some);
        let junctions = [&schema.all_of, &schema.any_of, &schema.one_of].into_iter().any(Option::is_some);
        let said = bounds || words || junctions || counts.iter().any(Option::is_some);
        if !said && schema.enum_.is_none() && schema.required.is_none() && schema.not.is_none() {
            return None;
        }
        let bound = |value: Option<f64>, excluded: Option<bool>| {
            value.map(|value| (value, excluded.unwrap_or(false)))
        };
        let nodes = |list: &Option<Vec<JSONSchemaProps>>| -> Vec<Node> {
            list.iter().flatten().map(Node::of).collect()
        };
        let pattern = schema.pattern.as_ref().filter(|pattern| !pattern.is_empty());
        Some(Box::new(Self {
            format: schema.format.clone().unwrap_or_default(),
            allowed: schema.enum_.iter().flatten().map(|value| value.0.clone()).collect(),
            pattern: pattern.and_then(|text| Some((text.clone(), Regex::new(text).ok()?))),
            maximum: bound(schema.maximum, schema.exclusive_maximum),
            minimum: bound(schema.minimum, schema.exclusive_minimum),
            multiple_of: schema.multiple_of,
            length: (schema.min_length, schema.max_length),
            items: (schema.min_items, schema.max_items),
            properties: (schema.min_properties, schema.max_properties),
            required: schema.required.clone().unwrap_or_default(),
            all_of: nodes(&schema.all_of),
            any_of: nodes(&schema.any_of),
            one_of: nodes(&schema.one_of),
            not: schema.not.as_ref().map(|schema| Box::new(Node::of(schema))),
        }))
    }
}
