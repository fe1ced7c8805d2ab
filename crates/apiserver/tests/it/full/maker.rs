//! Objects with every field that their published schema has.
//!
//! A schema says nothing of what validation asks for besides types. That is in `rules.txt`, a line a fact:
//!
//!     PodSpec.restartPolicy = "Always"            the value of a field
//!     JobSpec>PodSpec.restartPolicy = "Never"     the same, within something else
//!     ObjectMeta.generateName -                   a field that is left out
//!     EnvVar ? value | valueFrom                  fields of which one is there; `x="a"` also says its value
//!
//! The last line that fits counts. Of alternatives each turn takes the next one, so that all turns together have them all.

use std::cell::Cell;

use serde_json::{Map, Value, json};

use super::schemas::Schemas;

/// How often a definition may stand within itself.
const NESTED: usize = 2;

/// What the schemas do not say.
pub(crate) struct Rules(Vec<Rule>);

struct Rule {
    within: Option<String>,
    definition: String,
    says: Says,
}

enum Says {
    Value(String, Value),
    Nothing(String),
    One(Vec<Vec<(String, Option<Value>)>>),
}

impl Rules {
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(lines.map(|line| Rule::parse(line).unwrap_or_else(|| panic!("{line}"))).collect())
    }

    fn of<'a>(&'a self, within: &'a [&'a str], definition: &'a str) -> impl Iterator<Item = &'a Says> {
        let is = |rule: &&Rule| {
            named(definition, &rule.definition)
                && rule.within.as_ref().is_none_or(|wanted| within.iter().any(|own| named(own, wanted)))
        };
        self.0.iter().rev().filter(is).map(|rule| &rule.says)
    }
}

impl Rule {
    fn parse(line: &str) -> Option<Self> {
        let (place, rest) = line.split_once(' ')?;
        let (within, place) = match place.split_once('>') {
            Some((within, place)) => (Some(within.to_owned()), place),
            None => (None, place),
        };
        let (sign, rest) = rest.trim().split_at(1);
        if sign == "?" {
            let field = |text: &str| match text.split_once('=') {
                Some((field, value)) => (field.to_owned(), Some(serde_json::from_str(value).unwrap())),
                None => (text.to_owned(), None),
            };
            let choice = |text: &str| text.split_whitespace().map(field).collect();
            let choices = rest.split('|').map(choice).collect();
            return Some(Self { within, definition: place.to_owned(), says: Says::One(choices) });
        }
        let (definition, field) = place.rsplit_once('.')?;
        let says = match sign {
            "=" => Says::Value(field.to_owned(), serde_json::from_str(rest).ok()?),
            "-" => Says::Nothing(field.to_owned()),
            _ => return None,
        };
        Some(Self { within, definition: definition.to_owned(), says })
    }
}

/// Whether a definition's whole name ends with `short`.
fn named(whole: &str, short: &str) -> bool {
    whole.strip_suffix(short).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Makes the objects of one turn.
pub(crate) struct Maker<'a> {
    pub(crate) schemas: &'a Schemas,
    pub(crate) rules: &'a Rules,
    pub(crate) turn: usize,
    /// How many turns there are to have seen every alternative of what was made.
    pub(crate) turns: Cell<usize>,
}

impl Maker<'_> {
    /// An object of a definition.
    pub(crate) fn make(&self, definition: &str) -> Value {
        self.object(self.schemas.named(definition), Some(definition), &[definition])
    }

    fn value(&self, schema: &Value, within: &[&str]) -> Option<Value> {
        let (name, schema) = self.schemas.resolved(schema);
        if let Some(name) = name {
            if within.iter().filter(|own| **own == name).count() >= NESTED {
                return None;
            }
            let within = [within, &[name]].concat();
            return match name.rsplit('.').next()? {
                "Time" => Some("2026-11-26T10:00:00Z".into()),
                "MicroTime" => Some("2026-11-26T10:00:00.123456Z".into()),
                "Quantity" => Some("2".into()),
                "IntOrString" => Some(7.into()),
                "RawExtension" | "JSON" => Some(json!({ "any": { "thing": [1, "x"] } })),
                "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray" | "JSONSchemaPropsOrArray" => {
                    Some(json!({ "type": "string" }))
                }
                _ if schema["properties"].is_object() => Some(self.object(schema, Some(name), &within)),
                _ => self.plain(schema, &within),
            };
        }
        self.plain(schema, within)
    }

    fn plain(&self, schema: &Value, within: &[&str]) -> Option<Value> {
        Some(match schema["type"].as_str()? {
            "string" if schema["format"] == "byte" => "AP8=".into(),
            "string" if schema["format"] == "date-time" => "2026-11-26T10:00:00Z".into(),
            "string" => "text".into(),
            "integer" => 7.into(),
            "number" => 1.5.into(),
            "boolean" => true.into(),
            "array" => Value::Array(vec![self.value(&schema["items"], within)?]),
            _ if schema["additionalProperties"].is_object() => {
                json!({ "key": self.value(&schema["additionalProperties"], within)? })
            }
            _ => self.object(schema, None, within),
        })
    }

    fn object(&self, schema: &Value, name: Option<&str>, within: &[&str]) -> Value {
        let rules: Vec<&Says> = name.map(|name| self.rules.of(within, name).collect()).unwrap_or_default();
        let mut object = Map::new();
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let value = match self.said(&rules, field) {
                Some(said) => said,
                None => self.value(property, within),
            };
            object.extend(value.map(|value| (field.clone(), value)));
        }
        object.into()
    }

    /// What the rules say of a field: nothing, that it is left out, or its value.
    fn said(&self, rules: &[&Says], field: &str) -> Option<Option<Value>> {
        for says in rules {
            match says {
                Says::Value(own, value) if own == field => return Some(Some(value.clone())),
                Says::Nothing(own) if own == field => return Some(None),
                Says::One(choices) if choices.iter().flatten().any(|(own, _)| own == field) => {
                    self.turns.set(self.turns.get().max(choices.len()));
                    match choices[self.turn % choices.len()].iter().find(|(own, _)| own == field) {
                        Some((_, None)) => return None,
                        Some((_, value)) => return Some(value.clone()),
                        None => return Some(None),
                    }
                }
                _ => {}
            }
        }
        None
    }
}
