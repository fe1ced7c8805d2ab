//! Policies: expressions of the cluster's users that judge or change what is written, with bindings that say where.
//!
//! Follows upstream's `plugin/policy/{validating,mutating}`.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MatchResources, MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ParamKind,
    ParamRef, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, Variable,
};
use skiff_api::cel::Program;
use skiff_api::{ApiError, Object};

use super::attributes::Attributes;
use super::evaluation::Evaluation;
use super::kept::Kept;
use super::matching::{Conditions, Matcher};
use crate::api::Api;
use crate::kinds::admissionregistration::expressions::Names;

mod change;
mod judge;
mod params;

/// A compiled expression and its text.
type Compiled = (String, Result<Program, String>);

/// What both kinds of policy have in common.
struct Common {
    name: String,
    matcher: Matcher,
    conditions: Conditions,
    /// Whether a policy that cannot be evaluated is skipped.
    ignore: bool,
    params: Option<ParamKind>,
    variables: Vec<(String, Compiled)>,
}

/// Where a policy applies.
struct Binding {
    name: String,
    policy: String,
    matcher: Matcher,
    params: Option<ParamRef>,
    /// `Deny`, `Warn`, `Audit`; none for mutating policies.
    actions: Vec<String>,
}

/// All configured policies.
pub(super) struct Policies {
    validating: Kept<Arc<judge::Policy>>,
    validating_bindings: Kept<Arc<Binding>>,
    mutating: Kept<Arc<change::Policy>>,
    mutating_bindings: Kept<Arc<Binding>>,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            validating: Kept::new("admissionregistration.k8s.io/validatingadmissionpolicies", |object| {
                object
                    .decode::<ValidatingAdmissionPolicy>()
                    .map(|policy| judge::Policy::new(&policy))
                    .into_iter()
                    .collect()
            }),
            validating_bindings: Kept::new(
                "admissionregistration.k8s.io/validatingadmissionpolicybindings",
                validating_binding,
            ),
            mutating: Kept::new("admissionregistration.k8s.io/mutatingadmissionpolicies", |object| {
                object
                    .decode::<MutatingAdmissionPolicy>()
                    .map(|policy| change::Policy::new(&policy))
                    .into_iter()
                    .collect()
            }),
            mutating_bindings: Kept::new(
                "admissionregistration.k8s.io/mutatingadmissionpolicybindings",
                mutating_binding,
            ),
        }
    }
}

fn validating_binding(object: &Object) -> Vec<Arc<Binding>> {
    let Ok(binding) = object.decode::<ValidatingAdmissionPolicyBinding>() else { return Vec::new() };
    let spec = binding.spec.clone();
    vec![Arc::new(Binding {
        name: object.meta().name.to_string(),
        policy: spec.policy_name,
        matcher: Matcher::of_resources(spec.match_resources.as_ref(), true),
        params: spec.param_ref,
        actions: spec.validation_actions,
    })]
}

fn mutating_binding(object: &Object) -> Vec<Arc<Binding>> {
    let Ok(binding) = object.decode::<MutatingAdmissionPolicyBinding>() else { return Vec::new() };
    let spec = binding.spec.clone().unwrap_or_default();
    vec![Arc::new(Binding {
        name: object.meta().name.to_string(),
        policy: spec.policy_name.unwrap_or_default(),
        matcher: Matcher::of_resources(spec.match_resources.as_ref(), true),
        params: spec.param_ref,
        actions: Vec::new(),
    })]
}

/// What a policy's specification says, borrowed for compiling.
struct Said<'a> {
    name: Option<&'a String>,
    resources: Option<&'a MatchResources>,
    conditions: Option<&'a [MatchCondition]>,
    failure: Option<&'a str>,
    params: Option<&'a ParamKind>,
    variables: Option<&'a [Variable]>,
}

impl Common {
    /// Compiles; also gives the names that the policy's own expressions may use.
    fn new(said: &Said<'_>, objects: bool) -> (Self, Names) {
        let mut names = Names::new(said.params.is_some());
        if objects {
            names = names.with_objects();
        }
        let conditions = Conditions::new(said.conditions, &names);
        let mut variables = Vec::new();
        for variable in said.variables.unwrap_or_default() {
            let compiled = names.compile(&variable.expression);
            variables.push((variable.name.clone(), (variable.expression.clone(), compiled)));
            names.add(&variable.name);
        }
        let common = Self {
            name: said.name.cloned().unwrap_or_default(),
            matcher: Matcher::of_resources(said.resources, false),
            conditions,
            ignore: said.failure == Some("Ignore"),
            params: said.params.cloned(),
            variables,
        };
        (common, names)
    }

    /// Computes the composed variables.
    fn compose(&self, evaluation: &mut Evaluation) {
        for (name, (source, program)) in &self.variables {
            evaluation.variable(name, source, program);
        }
    }
}

/// Where a policy applies.
fn of(bindings: &[Arc<Binding>], policy: &Common) -> Vec<Arc<Binding>> {
    bindings.iter().filter(|binding| binding.policy == policy.name).cloned().collect()
}

impl Policies {
    /// True if nobody may change anything.
    pub(super) fn no_mutating(&self, api: &Api) -> bool {
        self.mutating_bindings.is_idle(api)
    }

    /// True if nobody may refuse anything.
    pub(super) fn no_validating(&self, api: &Api) -> bool {
        self.validating_bindings.is_idle(api)
    }

    /// Judges a call.
    ///
    /// # Errors
    /// The first refusal.
    pub(super) async fn validate(&self, call: &mut Attributes<'_>) -> Result<(), ApiError> {
        if self.no_validating(call.api) {
            return Ok(());
        }
        let (policies, bindings) = (self.validating.get(call.api), self.validating_bindings.get(call.api));
        let mut judge = judge::Judge::default();
        for policy in policies.iter() {
            judge.ask(call, policy, &of(&bindings, &policy.common)).await?;
        }
        judge.verdict(call)
    }

    /// Changes the object of a call; true if something did. The second time (`again`) only those who asked for it.
    ///
    /// # Errors
    /// The refusal of a policy that cannot be evaluated and must be.
    pub(super) async fn mutate(&self, call: &mut Attributes<'_>, again: bool) -> Result<bool, ApiError> {
        if self.no_mutating(call.api) || call.object.is_null() || call.operation == "CONNECT" {
            return Ok(false);
        }
        let (policies, bindings) = (self.mutating.get(call.api), self.mutating_bindings.get(call.api));
        let mut changed = false;
        for policy in policies.iter() {
            if again && !policy.if_needed {
                continue;
            }
            for binding in of(&bindings, &policy.common) {
                changed |= policy.apply(call, &binding).await?;
            }
        }
        Ok(changed)
    }
}
