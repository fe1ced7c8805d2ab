//! Validating policies: what must hold, what is said if it does not, and what is done then.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use serde_json::json;
use skiff_api::ApiError;

use super::{Binding, Common, Compiled, Said, params};
use crate::admission::attributes::Attributes;
use crate::admission::evaluation::Evaluation;
use crate::admission::matching::Meant;
use crate::kinds::check;

/// Upstream's limit on what an expression gives as a message.
const LONGEST_MESSAGE: usize = 5 * 1024;
/// Upstream's limit on what one gives as an annotation.
const LONGEST_ANNOTATION: usize = 10 * 1024;

/// A compiled policy.
pub(super) struct Policy {
    pub(super) common: Common,
    validations: Vec<Validation>,
    /// Key and value.
    annotations: Vec<(String, Compiled)>,
}

struct Validation {
    rule: Compiled,
    message: Option<String>,
    message_expression: Option<Compiled>,
    reason: String,
}

/// What is wrong with a call.
struct Fault {
    message: String,
    reason: String,
    /// Which validation; nothing for what could not be evaluated at all.
    index: usize,
}

impl Policy {
    pub(super) fn new(policy: &ValidatingAdmissionPolicy) -> Arc<Self> {
        let spec = policy.spec.clone().unwrap_or_default();
        let (common, names) = Common::new(
            &Said {
                name: policy.metadata.name.as_ref(),
                resources: spec.match_constraints.as_ref(),
                conditions: spec.match_conditions.as_deref(),
                failure: spec.failure_policy.as_deref(),
                params: spec.param_kind.as_ref(),
                variables: spec.variables.as_deref(),
            },
            false,
        );
        let compile = |source: &str| (source.to_owned(), names.compile(source));
        let validations = spec.validations.iter().flatten().map(|own| Validation {
            rule: compile(&own.expression),
            message: check::given(own.message.as_ref()).map(|text| text.trim().to_owned()),
            message_expression: check::given(own.message_expression.as_ref()).map(compile),
            reason: check::given(own.reason.as_ref()).unwrap_or("Invalid").to_owned(),
        });
        let annotations = spec
            .audit_annotations
            .iter()
            .flatten()
            .map(|own| (own.key.clone(), compile(own.value_expression.trim())));
        Arc::new(Self { validations: validations.collect(), annotations: annotations.collect(), common })
    }

    /// All that is wrong, for one set of parameters.
    fn faults(
        &self,
        evaluation: &mut Evaluation,
        published: &mut BTreeMap<String, Vec<String>>,
    ) -> Vec<Fault> {
        let failed = |message: String, index: usize| {
            // Upstream's default reason for what has none.
            (!self.common.ignore).then(|| Fault { message, reason: "Invalid".to_owned(), index })
        };
        match self.common.conditions.hold(evaluation) {
            Ok(true) => {}
            Ok(false) => return Vec::new(),
            Err(why) => return failed(why, 0).into_iter().collect(),
        }
        self.common.compose(evaluation);
        let mut faults = Vec::new();
        for (index, validation) in self.validations.iter().enumerate() {
            match evaluation.holds(&validation.rule.0, &validation.rule.1) {
                Ok(true) => {}
                Ok(false) => faults.push(Fault {
                    message: validation.words(evaluation),
                    reason: validation.reason.clone(),
                    index,
                }),
                Err(why) => faults.extend(failed(why, index)),
            }
        }
        for (key, (source, program)) in &self.annotations {
            match evaluation.value(source, program) {
                Err(why) => faults.extend(failed(why, 0)),
                Ok(value) => {
                    if let Some(text) = value.as_str().map(str::trim).filter(|text| !text.is_empty()) {
                        let text: String = text.chars().take(LONGEST_ANNOTATION).collect();
                        let values = published.entry(format!("{}/{key}", self.common.name)).or_default();
                        // Each value once, whichever bindings and parameters give it.
                        if !values.contains(&text) {
                            values.push(text);
                        }
                    }
                }
            }
        }
        faults
    }
}

impl Validation {
    /// What the client is told.
    fn words(&self, evaluation: &mut Evaluation) -> String {
        let computed = self.message_expression.as_ref().and_then(|(source, program)| {
            let value = evaluation.value(source, program).ok()?;
            let text = value.as_str()?.trim().to_owned();
            (!text.is_empty() && text.len() <= LONGEST_MESSAGE && !text.contains('\n')).then_some(text)
        });
        computed
            .or_else(|| self.message.clone())
            .unwrap_or_else(|| format!("failed expression: {}", self.rule.0.trim()))
    }
}

/// What has been found so far.
#[derive(Default)]
pub(super) struct Judge {
    /// The first refusal: its words and reason.
    denied: Option<(String, String)>,
}

impl Judge {
    /// Asks a policy, for each of its bindings and their parameters.
    ///
    /// # Errors
    /// 404 if the namespace is not there, 500 if the object cannot be seen as the policy wants it.
    pub(super) async fn ask(
        &mut self,
        call: &mut Attributes<'_>,
        policy: &Policy,
        bindings: &[Arc<Binding>],
    ) -> Result<(), ApiError> {
        if bindings.is_empty() {
            return Ok(());
        }
        let other = match policy.common.matcher.meant(call)? {
            Meant::No => return Ok(()),
            Meant::AsAsked => None,
            Meant::As(entry) => Some(call.seen_as(&entry).await?),
        };
        let mut evaluation = Evaluation::new(other.as_ref().unwrap_or(call));
        let mut published: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for binding in bindings {
            if matches!(binding.matcher.meant(call)?, Meant::No) {
                continue;
            }
            let name = &policy.common.name;
            let params = match params::collect(call, policy.common.params.as_ref(), binding.params.as_ref()) {
                Ok(params) => params,
                Err(_) if policy.common.ignore => continue,
                Err(why) => {
                    self.deny(name, binding, &format!("failed to configure binding: {why}"), "Invalid");
                    continue;
                }
            };
            for params in params {
                evaluation.params(params.as_ref());
                for fault in policy.faults(&mut evaluation, &mut published) {
                    self.act(call, name, binding, &fault);
                }
            }
        }
        call.annotations.extend(published.into_iter().map(|(key, values)| (key, values.join(", "))));
        Ok(())
    }

    fn act(&mut self, call: &mut Attributes<'_>, policy: &str, binding: &Binding, fault: &Fault) {
        for action in &binding.actions {
            let done = match action.as_str() {
                "Deny" => {
                    self.deny(policy, binding, &fault.message, &fault.reason);
                    "deny"
                }
                "Warn" => {
                    call.warnings.push(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{}': {}",
                        binding.name, fault.message
                    ));
                    "warn"
                }
                _ => {
                    let failure = json!([{
                        "message": fault.message, "policy": policy, "binding": binding.name,
                        "expressionIndex": fault.index, "validationActions": binding.actions,
                    }]);
                    let key = "validation.policy.admission.k8s.io/validation_failure".to_owned();
                    call.annotations.push((key, failure.to_string()));
                    "audit"
                }
            };
            call.api.admission.check(policy, &binding.name, done);
        }
    }

    fn deny(&mut self, policy: &str, binding: &Binding, why: &str, reason: &str) {
        if self.denied.is_none() {
            let binding = &binding.name;
            let words = format!(
                "ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {why}"
            );
            self.denied = Some((words, reason.to_owned()));
        }
    }

    /// The refusal, if there is one.
    ///
    /// # Errors
    /// That refusal.
    pub(super) fn verdict(self, call: &Attributes<'_>) -> Result<(), ApiError> {
        let Some((words, reason)) = self.denied else { return Ok(()) };
        let code = match reason.as_str() {
            "Forbidden" => 403,
            "Unauthorized" => 401,
            "RequestEntityTooLarge" => 413,
            _ => 422,
        };
        let mut error = call.forbidden(&words).cause("", words, "");
        error.status.code = Some(code);
        error.status.reason = Some(reason);
        Err(error)
    }
}
