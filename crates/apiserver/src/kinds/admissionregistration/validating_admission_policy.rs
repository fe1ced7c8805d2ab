//! ValidatingAdmissionPolicy: expressions that must hold before something is written.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicySpec, Validation,
};
use skiff_api::Errors;
use skiff_api::cel::Kind as Gives;

use super::expressions::{self, Names};
use super::rules;
use crate::kinds::{Column, Kind, Row, check, row};

/// The row of ValidatingAdmissionPolicy.
pub(crate) const KIND: Row =
    Row { categories: &["api-extensions"], status: true, ..row::<ValidatingAdmissionPolicy>() };

/// Upstream's limit on audit annotations.
const MOST_ANNOTATIONS: usize = 20;
/// Upstream's limit on the expression of one.
const LONGEST_ANNOTATION: usize = 5 * 1024;
/// The reasons of a refusal.
const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];

impl Kind for ValidatingAdmissionPolicy {
    fn set_defaults(&mut self) {
        let Some(spec) = &mut self.spec else { return };
        check::default_text(&mut spec.failure_policy, "Fail");
        if let Some(resources) = &mut spec.match_constraints {
            rules::default_resources(resources);
        }
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = None;
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.spec != old.spec
    }

    fn validate(&self, errors: &mut Errors) {
        let spec = self.spec.clone().unwrap_or_default();
        let name = self.metadata.name.as_deref().unwrap_or_default();
        errors.at("spec", |errors| validate(errors, name, &spec));
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::number("Validations", |policy, _| {
                let spec = policy.spec.as_ref();
                spec.and_then(|spec| spec.validations.as_ref()).map_or(0, Vec::len).into()
            }),
            Column::<Self>::text("ParamKind", |policy, _| {
                rules::shown_kind(policy.spec.as_ref().and_then(|spec| spec.param_kind.as_ref())).into()
            }),
            Column::age(),
        ]
    }
}

fn validate(errors: &mut Errors, name: &str, spec: &ValidatingAdmissionPolicySpec) {
    if let Some(policy) = check::given(spec.failure_policy.as_ref()) {
        check::one_of(errors, "failurePolicy", policy, rules::FAILURE_POLICIES);
    }
    if let Some(kind) = &spec.param_kind {
        errors.at("paramKind", |errors| rules::param_kind(errors, kind));
    }
    match &spec.match_constraints {
        None => errors.required("matchConstraints", ""),
        Some(resources) => errors.at("matchConstraints", |errors| {
            rules::match_resources(errors, resources);
            if resources.resource_rules.as_ref().is_none_or(Vec::is_empty) {
                errors.required("resourceRules", "");
            }
        }),
    }
    let mut names = Names::new(spec.param_kind.is_some());
    expressions::match_conditions(errors, spec.match_conditions.as_deref(), &names);
    expressions::variables(errors, spec.variables.as_deref(), &mut names);
    let validations = spec.validations.as_deref().unwrap_or_default();
    let annotations = spec.audit_annotations.as_deref().unwrap_or_default();
    if validations.is_empty() && annotations.is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        errors.required("validations", why);
        errors.required("auditAnnotations", why);
        return;
    }
    for (index, one) in validations.iter().enumerate() {
        errors.item("validations", index, |errors| validation(errors, one, &names));
    }
    if annotations.len() > MOST_ANNOTATIONS {
        errors.too_many("auditAnnotations", annotations.len(), MOST_ANNOTATIONS);
    }
    for (index, annotation) in annotations.iter().enumerate() {
        errors.item("auditAnnotations", index, |errors| {
            check::named(errors, "key", &annotation.key, expressions::audit_key(name, &annotation.key));
            if annotations[..index].iter().any(|other| other.key == annotation.key) {
                errors.duplicate("key", &annotation.key);
            }
            let source = annotation.value_expression.trim();
            if source.is_empty() {
                errors.required("valueExpression", "valueExpression is not specified");
            } else if source.len() > LONGEST_ANNOTATION {
                let why = format!("must not exceed {LONGEST_ANNOTATION} bytes in length");
                errors.required("valueExpression", why);
            } else {
                names.check(errors, "valueExpression", source, &[Gives::String, Gives::Null]);
            }
        });
    }
}

fn validation(errors: &mut Errors, one: &Validation, names: &Names) {
    if one.expression.trim().is_empty() {
        errors.required("expression", "expression is not specified");
    } else {
        names.check(errors, "expression", &one.expression, &[Gives::Bool]);
    }
    if let Some(source) = check::given(one.message_expression.as_ref()) {
        if source.trim().is_empty() {
            errors.invalid("messageExpression", source, "must be non-empty if specified");
        } else {
            names.check_message(errors, "messageExpression", source);
        }
    }
    if let Some(message) = check::given(one.message.as_ref()) {
        if message.trim().is_empty() {
            errors.invalid("message", message, "message must be non-empty if specified");
        } else if message.trim().contains(['\n', '\r']) {
            errors.invalid("message", message, "message must not contain line breaks");
        }
    }
    if let Some(reason) = check::given(one.reason.as_ref()) {
        check::one_of(errors, "reason", reason, REASONS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{created, faults, printed};

    const RULES: &str = "matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}]}";

    fn policy(rest: &str) -> String {
        format!("metadata: {{name: p}}\nspec:\n  {RULES}\n{rest}")
    }

    #[test]
    fn a_policy_that_says_enough_is_completed_and_shown() {
        let text = policy("  validations: [{expression: 'object.spec.replicas <= 5'}]");
        assert!(faults::<ValidatingAdmissionPolicy>(&text).is_empty());
        let made = created::<ValidatingAdmissionPolicy>(&text);
        let spec = made.spec.as_ref().unwrap();
        assert_eq!(spec.failure_policy.as_deref(), Some("Fail"));
        assert_eq!(spec.match_constraints.as_ref().unwrap().match_policy.as_deref(), Some("Equivalent"));
        let shown = printed(&made, "2026-11-22T10:00:00Z");
        assert_eq!(shown, "Validations=1 ParamKind=<unset> Age=<unknown>");
    }

    #[test]
    fn expressions_are_compiled_when_a_policy_is_created() {
        let found = faults::<ValidatingAdmissionPolicy>(&policy(
            "  variables:
  - {name: count, expression: 'object.spec.replicas'}
  - {name: m, expression: 'variables.later + 1'}
  - {name: '1x', expression: 'true'}
  validations:
  - {expression: 'variables.count > params.max'}
  - {expression: \"'text'\", messageExpression: '1', message: \"a\\nb\", reason: Nope}
  auditAnnotations:
  - {key: 'k', valueExpression: '1'}",
        ));
        let has =
            |text: &str| assert!(found.iter().any(|fault| fault.contains(text)), "{text} in {found:#?}");
        has(
            "spec.variables[1].expression: Invalid value: \"variables.later + 1\": compilation failed: ERROR: <input>:1:11: undefined field 'later'",
        );
        has("spec.variables[2].name: Invalid value: \"1x\": name is not a valid CEL identifier");
        has("undeclared reference to 'params' (in container '')");
        has("spec.validations[1].expression: Invalid value: \"'text'\": must evaluate to bool");
        has("spec.validations[1].messageExpression: Invalid value: \"1\": must evaluate to string");
        has("spec.validations[1].message: Invalid value: \"a\\nb\": message must not contain line breaks");
        has("spec.validations[1].reason: Unsupported value: \"Nope\"");
        has(
            "spec.auditAnnotations[0].valueExpression: Invalid value: \"1\": must evaluate to one of [string null_type]",
        );
    }
}
