//! The values that the expressions of one call see, and what they may cost together.

use serde_json::Value as Json;
use skiff_api::cel::{Fault, PER_OBJECT, Program, Question, Scope, Value};
use skiff_store::Key;

use super::attributes::Attributes;

/// What upstream says when the budget is used up.
const SPENT: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// Values and budget.
pub(super) struct Evaluation {
    scope: Scope,
    budget: u64,
    /// Composed variables that could not be computed, and why; only who uses one is told.
    failed: Vec<(String, String)>,
}

impl Evaluation {
    /// For a call; objects as they now are.
    pub(super) fn new(call: &Attributes<'_>) -> Self {
        let mut scope = Scope::new();
        scope.set("object", Value::json(&call.object));
        scope.set("oldObject", Value::json(&call.old));
        scope.set("request", Value::json(&call.request()));
        scope.set("namespaceObject", namespace(call));
        if let Some(authorizer) = call.api.dynamic.authorizer(call.user) {
            let resource = Question {
                group: call.asked().group.to_string(),
                resource: call.asked().plural.to_string(),
                subresource: call.subresource.to_owned(),
                namespace: call.namespace.clone(),
                name: call.name.clone(),
                ..Question::default()
            };
            scope.set_authorizer(&authorizer, resource);
        }
        Self { scope, budget: PER_OBJECT, failed: Vec::new() }
    }

    /// Starts anew with other parameters: budget and composed variables are theirs.
    pub(super) fn params(&mut self, params: Option<&Json>) {
        self.scope.set("params", params.map_or_else(Value::null, Value::json));
        self.budget = PER_OBJECT;
        self.failed.clear();
    }

    /// The object has changed.
    pub(super) fn object(&mut self, object: &Json) {
        self.scope.set("object", Value::json(object));
    }

    /// Computes `variables.name`. If it fails, whoever uses it fails.
    pub(super) fn variable(&mut self, name: &str, source: &str, program: &Result<Program, String>) {
        let full = format!("variables.{name}");
        match self.value(source, program) {
            Ok(value) => self.scope.set(&full, value),
            Err(why) => {
                self.scope.unset(&full);
                self.failed.push((full, format!("composited variable {name:?} fails to evaluate: {why}")));
            }
        }
    }

    /// Evaluates.
    ///
    /// # Errors
    /// Upstream's words.
    pub(super) fn value(&mut self, source: &str, program: &Result<Program, String>) -> Result<Value, String> {
        let program = program.as_ref().map_err(Clone::clone)?;
        match program.evaluate(&self.scope, &mut self.budget) {
            Ok(value) => Ok(value),
            Err(Fault::Cost) if self.budget == 0 => Err(SPENT.to_owned()),
            Err(Fault::Unbound(name)) => {
                let failed = self.failed.iter().find(|(own, _)| *own == name).map(|(_, why)| why.clone());
                let why = failed.unwrap_or_else(|| Fault::Unbound(name).to_string());
                Err(format!("expression '{source}' resulted in error: {why}"))
            }
            Err(fault) => Err(format!("expression '{source}' resulted in error: {fault}")),
        }
    }

    /// Evaluates what must give a truth value.
    ///
    /// # Errors
    /// Upstream's words.
    pub(super) fn holds(&mut self, source: &str, program: &Result<Program, String>) -> Result<bool, String> {
        Ok(self.value(source, program)?.as_bool().unwrap_or(false))
    }
}

/// The namespace in which the object lives.
fn namespace(call: &Attributes<'_>) -> Value {
    if !call.namespaced() {
        return Value::null();
    }
    let stored = call.api.store.get(&Key::new("namespaces", call.namespace.as_str()));
    let json = stored.and_then(|stored| stored.object().value().ok());
    json.as_ref().map_or_else(Value::null, Value::json)
}
