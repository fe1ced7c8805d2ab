//! Rules of a schema (`x-kubernetes-validations`), compiled with it and run on values.
//!
//! Follows upstream's `apiserver/schema/cel/{compilation,validation}.go`: a rule sees its value as `self`, typed by the
//! schema (formats become timestamps, durations and bytes; field names are escaped), and the value before as `oldSelf`
//! where the two can be told to be the same.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, ValidationRule};
use serde_json::Value;
use skiff_api::Errors;
use skiff_api::cel::{self, Env, Program, Scope};

use super::lists;
use super::schema::{ListType, Node};

const ENV: Env<'static> = Env { variables: &["self", "oldSelf"], objects: false, authorizer: false };

/// The longest message that an expression may make (upstream's `MaxEvaluatedMessageExpressionSizeBytes`).
const LONGEST_MESSAGE: usize = 5 * 1024;

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(super) source: ValidationRule,
    program: Result<Program, String>,
    message: Option<Result<Program, String>>,
}

impl Rule {
    /// The rules of one place of a schema.
    pub(super) fn all(schema: &JSONSchemaProps) -> Vec<Self> {
        schema.x_kubernetes_validations.iter().flatten().map(Self::of).collect()
    }

    fn of(source: &ValidationRule) -> Self {
        let message = source.message_expression.as_deref().filter(|text| !text.is_empty());
        Self {
            program: Program::compile(&source.rule, &ENV),
            message: message.map(|text| Program::compile(text, &ENV)),
            source: source.clone(),
        }
    }

    /// True if the rule compares with the old value.
    pub(super) fn looks_back(&self) -> bool {
        self.program.as_ref().is_ok_and(|program| program.mentions("oldSelf"))
    }

    /// What is wrong with the rule itself: field and words.
    pub(super) fn faults(&self) -> Vec<(&'static str, String)> {
        let rule = self.program.as_ref().err().map(|why| ("rule", why.clone()));
        let message = self.message.as_ref().and_then(|message| message.as_ref().err());
        rule.into_iter().chain(message.map(|why| ("messageExpression", why.clone()))).collect()
    }

    fn said(&self, scope: &Scope, budget: &mut u64) -> String {
        let made = self.message.as_ref().and_then(|message| message.as_ref().ok()).and_then(|program| {
            let text = program.evaluate(scope, budget).ok()?.as_str()?.trim().to_owned();
            (!text.is_empty() && text.len() <= LONGEST_MESSAGE && !text.contains('\n')).then_some(text)
        });
        made.or_else(|| self.source.message.clone().filter(|text| !text.is_empty()))
            .unwrap_or_else(|| format!("failed rule: {}", self.source.rule.trim()))
    }

    fn run(
        &self,
        node: &Node,
        scope: &mut Scope,
        old: Option<&cel::Value>,
        errors: &mut Errors,
        budget: &mut u64,
    ) {
        let Ok(program) = &self.program else {
            let why = self.program.as_ref().err().cloned().unwrap_or_default();
            errors.invalid("", kind(node), format!("rule compile error: {why}"));
            return;
        };
        let optional = self.source.optional_old_self.unwrap_or(false);
        match (old, optional) {
            (Some(old), false) => scope.set("oldSelf", old.clone()),
            (None, false) if program.mentions("oldSelf") => return,
            (None, false) => scope.unset("oldSelf"),
            (old, true) => scope.set("oldSelf", maybe(old)),
        }
        match program.holds(scope, budget) {
            Ok(true) => {}
            Ok(false) => {
                let said = self.said(scope, budget);
                let path = self.source.field_path.as_deref().unwrap_or_default().trim_start_matches('.');
                let field = |errors: &mut Errors| match self.source.reason.as_deref() {
                    Some("FieldValueForbidden") => errors.forbidden("", said),
                    Some("FieldValueRequired") => errors.required("", said),
                    Some("FieldValueDuplicate") => errors.duplicate("", kind(node)),
                    _ => errors.invalid("", kind(node), said),
                };
                if path.is_empty() { field(errors) } else { errors.at(path, field) }
            }
            Err(cel::Fault::Cost) => {
                let why = "validation failed due to running out of cost budget, no further validation rules will be run";
                errors.invalid("", kind(node), why);
                *budget = 0;
            }
            Err(fault) => {
                let rule = self.source.rule.trim();
                let why = match fault {
                    cel::Fault::NoSuchOverload => format!(
                        "'no such overload': call arguments did not match a supported operator, function or macro signature for rule: {rule}"
                    ),
                    fault => format!("{fault} evaluating rule: {rule}"),
                };
                errors.invalid("", kind(node), why);
            }
        }
    }
}

fn kind(node: &Node) -> &str {
    node.kind
}

/// `optional.of(old)`, or `optional.none()`.
fn maybe(old: Option<&cel::Value>) -> cel::Value {
    static SOME: LazyLock<Option<Program>> = LazyLock::new(|| {
        Program::compile("optional.of(self)", &Env { variables: &["self"], ..Env::default() }).ok()
    });
    static NONE: LazyLock<Option<Program>> =
        LazyLock::new(|| Program::compile("optional.none()", &Env::default()).ok());
    let mut scope = Scope::new();
    let program = match old {
        Some(old) => {
            scope.set("self", old.clone());
            &*SOME
        }
        None => &*NONE,
    };
    let value = program.as_ref().and_then(|program| program.evaluate(&scope, &mut 1000).ok());
    value.unwrap_or_else(cel::Value::null)
}

/// Runs every rule on `value`, which was `old` before. What is as it was is not judged anew, except by rules that compare.
pub(super) fn run(
    node: &Node,
    value: &Value,
    old: Option<&Value>,
    whole: bool,
    errors: &mut Errors,
    budget: &mut u64,
) {
    if value.is_null() || *budget == 0 {
        return;
    }
    let unchanged = old == Some(value);
    if unchanged && !node.looks_back() {
        return;
    }
    let due: Vec<&Rule> = node.rules.iter().filter(|rule| !unchanged || rule.looks_back()).collect();
    if !due.is_empty() {
        let mut scope = Scope::new();
        scope.set("self", typed(node, value, whole));
        let old = old.filter(|old| !old.is_null()).map(|old| typed(node, old, whole));
        for rule in due {
            rule.run(node, &mut scope, old.as_ref(), errors, budget);
        }
    }
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let Some(field) = node.field(name) else { continue };
                let before = old.and_then(|old| old.get(name));
                let declared = node.properties.get(name).is_some();
                let walk = |errors: &mut Errors| run(field, value, before, field.embedded, errors, budget);
                if declared { errors.at(name, walk) } else { errors.key(name, walk) }
            }
        }
        Value::Array(items) => {
            let Some(item_node) = node.items.as_deref() else { return };
            let before = old.and_then(Value::as_array);
            for (index, item) in items.iter().enumerate() {
                let before = before.and_then(|before| match &node.list_type {
                    ListType::Map(keys) => lists::same_key(keys, item, before),
                    ListType::Set | ListType::Atomic => None,
                });
                errors
                    .index(index, |errors| run(item_node, item, before, item_node.embedded, errors, budget));
            }
        }
        _ => {}
    }
}

/// A value as expressions see it.
fn typed(node: &Node, value: &Value, whole: bool) -> cel::Value {
    match value {
        Value::Object(map) if node.additional.is_some() || node.open => {
            let entry = |(name, value): (&String, &Value)| {
                let value = match &node.additional {
                    Some(node) => typed(node, value, node.embedded),
                    None => cel::Value::json(value),
                };
                (name.clone(), value)
            };
            cel::Value::map(map.iter().map(entry))
        }
        Value::Object(map) if node.properties.is_empty() && node.preserve && !whole => {
            cel::Value::json(&Value::Object(map.clone()))
        }
        Value::Object(map) => {
            let field = |(name, value): (&String, &Value)| {
                if whole && node.properties.get(name).is_none() {
                    return match name.as_str() {
                        "apiVersion" | "kind" => Some((name.clone(), cel::Value::json(value))),
                        "metadata" => Some((name.clone(), metadata(value))),
                        _ => None,
                    };
                }
                if whole && name == "metadata" {
                    return Some((name.clone(), metadata(value)));
                }
                let field = node.properties.get(name)?;
                Some((cel::escape(name)?, typed(field, value, field.embedded)))
            };
            cel::Value::map(map.iter().filter_map(field))
        }
        Value::Array(items) => {
            let item = |item: &Value| match &node.items {
                Some(node) => typed(node, item, node.embedded),
                None => cel::Value::json(item),
            };
            cel::Value::list(items.iter().map(item))
        }
        Value::String(text) => {
            let special = match node.checks().format.as_str() {
                "date" => cel::Value::timestamp(&format!("{text}T00:00:00Z")),
                "date-time" | "datetime" => cel::Value::timestamp(text),
                "duration" => cel::Value::duration(text),
                "byte" => cel::Value::bytes(text),
                _ => None,
            };
            special.unwrap_or_else(|| cel::Value::string(text))
        }
        Value::Number(number) if node.kind == "number" => {
            let double = number.as_f64().and_then(serde_json::Number::from_f64);
            cel::Value::json(&double.map_or_else(|| value.clone(), Value::Number))
        }
        // Clients of other languages may write whole numbers with a point.
        Value::Number(number) if node.kind == "integer" && number.is_f64() => {
            #[expect(clippy::cast_possible_truncation, reason = "validation has found it to be whole")]
            let whole = number.as_f64().unwrap_or_default() as i64;
            cel::Value::json(&whole.into())
        }
        other => cel::Value::json(other),
    }
}

/// The names are all that rules see of metadata.
fn metadata(value: &Value) -> cel::Value {
    let names = ["name", "generateName"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), cel::Value::json(value.get(name)?))));
    cel::Value::map(names)
}
