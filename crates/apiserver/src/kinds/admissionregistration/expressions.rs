//! The expressions of webhooks and policies: what they may refer to, and what is wrong with them.

use k8s_openapi::api::admissionregistration::v1::{MatchCondition, Variable};
use skiff_api::cel::{Env, Kind, Program};
use skiff_api::{Errors, names};

use crate::kinds::check;

/// What every expression sees.
const ALWAYS: &[&str] = &["object", "oldObject", "request", "namespaceObject"];
/// Upstream's limit on match conditions.
const MOST_CONDITIONS: usize = 64;

/// The names that expressions may use; grows by one with each composed variable.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    variables: Vec<String>,
    objects: bool,
}

impl Names {
    /// With `params` if the policy has parameters.
    pub(crate) fn new(params: bool) -> Self {
        let params = params.then_some("params");
        Self { variables: ALWAYS.iter().copied().chain(params).map(str::to_owned).collect(), objects: false }
    }

    /// The same, with `Object{}` and `JSONPatch{}`.
    pub(crate) fn with_objects(mut self) -> Self {
        self.objects = true;
        self
    }

    /// Adds `variables.name`.
    pub(crate) fn add(&mut self, name: &str) {
        self.variables.push(format!("variables.{name}"));
    }

    /// Compiles an expression.
    ///
    /// # Errors
    /// Upstream's text.
    pub(crate) fn compile(&self, source: &str) -> Result<Program, String> {
        self.compile_with(source, true)
    }

    fn compile_with(&self, source: &str, authorizer: bool) -> Result<Program, String> {
        let variables: Vec<&str> = self.variables.iter().map(String::as_str).collect();
        let env = Env { variables: &variables, objects: self.objects, authorizer };
        Program::compile(source, &env).map_err(|why| format!("compilation failed: {why}"))
    }

    /// Checks an expression that must give one of `kinds` (any if none are named).
    pub(crate) fn check(&self, errors: &mut Errors, field: &str, source: &str, kinds: &[Kind]) {
        self.check_with(errors, field, source, kinds, true);
    }

    fn check_with(&self, errors: &mut Errors, field: &str, source: &str, kinds: &[Kind], authorizer: bool) {
        match self.compile_with(source, authorizer) {
            Err(why) => errors.invalid(field, source, why),
            Ok(program) => {
                if program.kind().is_some_and(|kind| !kinds.is_empty() && !kinds.contains(&kind)) {
                    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                    let why = match names.as_slice() {
                        [one] => format!("must evaluate to {one}"),
                        several => format!("must evaluate to one of [{}]", several.join(" ")),
                    };
                    errors.invalid(field, source, why);
                }
            }
        }
    }

    /// Checks the expression of a message, which may not ask the authorizer.
    pub(crate) fn check_message(&self, errors: &mut Errors, field: &str, source: &str) {
        self.check_with(errors, field, source, &[Kind::String], false);
    }
}

/// Checks match conditions.
pub(super) fn match_conditions(errors: &mut Errors, conditions: Option<&[MatchCondition]>, names: &Names) {
    let conditions = conditions.unwrap_or_default();
    if conditions.len() > MOST_CONDITIONS {
        errors.too_many("matchConditions", conditions.len(), MOST_CONDITIONS);
    }
    for (index, condition) in conditions.iter().enumerate() {
        errors.item("matchConditions", index, |errors| {
            match condition.expression.trim() {
                "" => errors.required("expression", ""),
                source => names.check(errors, "expression", source, &[Kind::Bool]),
            }
            let name = condition.name.as_str();
            if name.is_empty() {
                errors.required("name", "");
            } else {
                check::named(errors, "name", name, skiff_api::names::qualified_name(name));
                if conditions[..index].iter().any(|other| other.name == name) {
                    errors.duplicate("name", name);
                }
            }
        });
    }
}

/// Checks composed variables, and lets what follows see them.
pub(super) fn variables(errors: &mut Errors, variables: Option<&[Variable]>, seen: &mut Names) {
    for (index, variable) in variables.unwrap_or_default().iter().enumerate() {
        errors.item("variables", index, |errors| {
            let name = variable.name.as_str();
            if name.trim().is_empty() {
                errors.required("name", "name is not specified");
            } else if !identifier(name) {
                errors.invalid("name", name, "name is not a valid CEL identifier");
            }
            if variable.expression.trim().is_empty() {
                errors.required("expression", "expression is not specified");
            } else {
                seen.check(errors, "expression", &variable.expression, &[]);
            }
        });
        seen.add(&variable.name);
    }
}

fn identifier(name: &str) -> bool {
    let escaped = skiff_api::cel::escape(name);
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    plain && escaped.is_some_and(|escaped| !escaped.starts_with("__") || name.starts_with("__"))
}

/// What is wrong with the key of an audit annotation of the policy `policy`.
pub(super) fn audit_key(policy: &str, key: &str) -> Vec<String> {
    names::qualified_name(&format!("{policy}/{key}"))
}
