//! Mutating policies: expressions that give what is to be merged into an object, or a JSON patch.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicy;
use serde_json::Value;
use skiff_api::ApiError;
use skiff_api::patch::{json as json_patch, merge, strategic};

use super::{Binding, Common, Compiled, Said, params};
use crate::admission::attributes::Attributes;
use crate::admission::evaluation::Evaluation;
use crate::admission::matching::Meant;
use crate::api::Api;

/// A compiled policy.
pub(super) struct Policy {
    pub(super) common: Common,
    /// Whether it wants to run again after others have changed the object.
    pub(super) if_needed: bool,
    mutations: Vec<Mutation>,
}

enum Mutation {
    Apply(Compiled),
    Patch(Compiled),
}

impl Policy {
    pub(super) fn new(policy: &MutatingAdmissionPolicy) -> Arc<Self> {
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
            true,
        );
        let compile = |source: Option<&String>| {
            let source = source.map(String::as_str).unwrap_or_default();
            (source.to_owned(), names.compile(source))
        };
        let mutations = spec.mutations.iter().flatten().map(|own| match own.patch_type.as_str() {
            "JSONPatch" => {
                Mutation::Patch(compile(own.json_patch.as_ref().and_then(|patch| patch.expression.as_ref())))
            }
            _ => Mutation::Apply(compile(
                own.apply_configuration.as_ref().and_then(|apply| apply.expression.as_ref()),
            )),
        });
        Arc::new(Self {
            mutations: mutations.collect(),
            if_needed: spec.reinvocation_policy.as_deref() == Some("IfNeeded"),
            common,
        })
    }

    /// Changes the object for a binding; true if something did.
    ///
    /// # Errors
    /// 422 if the policy cannot be evaluated and must be.
    pub(super) async fn apply(&self, call: &mut Attributes<'_>, binding: &Binding) -> Result<bool, ApiError> {
        if matches!(binding.matcher.meant(call)?, Meant::No) {
            return Ok(false);
        }
        match self.common.matcher.meant(call)? {
            Meant::No => Ok(false),
            Meant::AsAsked => self.run(call, binding),
            Meant::As(entry) => {
                let mut seen = call.seen_as(&entry).await?;
                let changed = self.run(&mut seen, binding)?;
                call.take(&entry, seen, changed).await?;
                Ok(changed)
            }
        }
    }

    /// Changes the object as it is seen.
    fn run(&self, call: &mut Attributes<'_>, binding: &Binding) -> Result<bool, ApiError> {
        let refused = |call: &Attributes<'_>, why: String| {
            if self.common.ignore {
                tracing::warn!(policy = self.common.name, why, "failed evaluating policy, failing open");
                return Ok(());
            }
            let (policy, binding) = (&self.common.name, &binding.name);
            let words = format!("policy '{policy}' with binding '{binding}' denied request: {why}");
            let mut error = call.forbidden(&words).cause("", words, "");
            error.status.code = Some(422);
            error.status.reason = Some("Invalid".to_owned());
            Err(error)
        };
        let params = match params::collect(call, self.common.params.as_ref(), binding.params.as_ref()) {
            Ok(params) => params,
            Err(why) => {
                refused(call, format!("failed to configure binding: {why}"))?;
                return Ok(false);
            }
        };
        let before = call.object.clone();
        for params in params {
            let mut evaluation = Evaluation::new(call);
            evaluation.params(params.as_ref());
            match self.common.conditions.hold(&mut evaluation) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(why) => {
                    refused(call, why)?;
                    continue;
                }
            }
            for mutation in &self.mutations {
                // Composed variables speak of the object as it now is.
                self.common.compose(&mut evaluation);
                match mutation.of(call, &mut evaluation) {
                    Ok(object) => call.object = object,
                    Err(why) => {
                        refused(call, why)?;
                        break;
                    }
                }
                evaluation.object(&call.object);
            }
        }
        Ok(call.object != before)
    }
}

impl Mutation {
    /// The object, changed.
    fn of(&self, call: &Attributes<'_>, evaluation: &mut Evaluation) -> Result<Value, String> {
        let (Self::Apply((source, program)) | Self::Patch((source, program))) = self;
        let value = evaluation.value(source, program)?;
        let json = value.to_json().ok_or_else(|| {
            format!("expression '{source}' resulted in error: cannot convert {} to JSON", value.type_name())
        })?;
        let mut object = call.object.clone();
        match self {
            Self::Patch(_) => {
                json_patch::apply(&mut object, json).map_err(|error| format!("JSON Patch: {error}"))?;
                Ok(object)
            }
            Self::Apply(_) => merged(call.api, call, object, json),
        }
    }
}

/// Merges as an apply would: lists with keys by their keys, other lists as wholes.
fn merged(api: &Api, call: &Attributes<'_>, mut object: Value, change: Value) -> Result<Value, String> {
    for field in ["apiVersion", "kind"] {
        if change.get(field).is_some_and(|own| own != &object[field]) {
            return Err(format!("must not change {field}"));
        }
    }
    let resource = &call.resource;
    let entry = api.catalog.get(&resource.group, &resource.version, &resource.plural);
    match entry.filter(|entry| entry.built_in && call.kind.2 == *resource.kind) {
        Some(entry) => {
            strategic::apply(object, change, &entry.ops.patch_schema()).map_err(|error| error.to_string())
        }
        None => {
            merge::apply(&mut object, &change).map_err(|error| error.to_string())?;
            Ok(object)
        }
    }
}
