//! MutatingAdmissionPolicy: expressions that change an object before it is written.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicySpec, Mutation,
};
use skiff_api::Errors;
use skiff_api::cel::Kind as Gives;

use super::expressions::{self, Names};
use super::rules;
use crate::kinds::{Column, Kind, Row, check, row};

/// The row of MutatingAdmissionPolicy.
pub(crate) const KIND: Row = Row { categories: &["api-extensions"], ..row::<MutatingAdmissionPolicy>() };

impl Kind for MutatingAdmissionPolicy {
    fn set_defaults(&mut self) {
        let Some(spec) = &mut self.spec else { return };
        check::default_text(&mut spec.failure_policy, "Fail");
        check::default_text(&mut spec.reinvocation_policy, "Never");
        if let Some(resources) = &mut spec.match_constraints {
            rules::default_resources(resources);
        }
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.spec != old.spec
    }

    fn validate(&self, errors: &mut Errors) {
        let spec = self.spec.clone().unwrap_or_default();
        errors.at("spec", |errors| validate(errors, &spec));
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::number("Mutations", |policy, _| {
                policy.spec.as_ref().and_then(|spec| spec.mutations.as_ref()).map_or(0, Vec::len).into()
            }),
            Column::<Self>::text("ParamKind", |policy, _| {
                rules::shown_kind(policy.spec.as_ref().and_then(|spec| spec.param_kind.as_ref())).into()
            }),
            Column::age(),
        ]
    }
}

fn validate(errors: &mut Errors, spec: &MutatingAdmissionPolicySpec) {
    for (field, value, supported) in [
        ("failurePolicy", &spec.failure_policy, rules::FAILURE_POLICIES),
        ("reinvocationPolicy", &spec.reinvocation_policy, rules::REINVOCATION_POLICIES),
    ] {
        if let Some(value) = check::given(value.as_ref()) {
            check::one_of(errors, field, value, supported);
        }
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
            let connects = |operations: &[String]| operations.iter().any(|op| op == "CONNECT" || op == "*");
            for (index, rule) in resources.resource_rules.iter().flatten().enumerate() {
                if rule.operations.as_deref().is_some_and(connects) {
                    errors.item("resourceRules", index, |errors| {
                        let why = "must not be CONNECT or *: mutating policies do not see connections";
                        errors.forbidden("operations", why);
                    });
                }
            }
        }),
    }
    let mut names = Names::new(spec.param_kind.is_some()).with_objects();
    expressions::match_conditions(errors, spec.match_conditions.as_deref(), &names);
    expressions::variables(errors, spec.variables.as_deref(), &mut names);
    let mutations = spec.mutations.as_deref().unwrap_or_default();
    if mutations.is_empty() {
        errors.required("mutations", "mutations must contain at least one item");
    }
    for (index, one) in mutations.iter().enumerate() {
        errors.item("mutations", index, |errors| mutation(errors, one, &names));
    }
}

fn mutation(errors: &mut Errors, one: &Mutation, names: &Names) {
    let apply = one.apply_configuration.as_ref().map(|apply| apply.expression.as_deref());
    let patch = one.json_patch.as_ref().map(|patch| patch.expression.as_deref());
    let (field, given, unwanted, kind) = match one.patch_type.as_str() {
        "ApplyConfiguration" => ("applyConfiguration", apply, ("jsonPatch", patch), Gives::Map),
        "JSONPatch" => ("jsonPatch", patch, ("applyConfiguration", apply), Gives::List),
        "" => return errors.required("patchType", ""),
        other => return check::one_of(errors, "patchType", other, &["ApplyConfiguration", "JSONPatch"]),
    };
    if unwanted.1.is_some() {
        let why = format!("must not be specified when patchType is {}", one.patch_type);
        errors.forbidden(unwanted.0, why);
    }
    match given {
        None => errors.required(field, format!("must be specified when patchType is {}", one.patch_type)),
        Some(source) => errors.at(field, |errors| match source.map(str::trim) {
            None | Some("") => errors.required("expression", "expression is not specified"),
            Some(source) => {
                let what = if kind == Gives::Map { "Object" } else { "[]JSONPatch" };
                match names.compile(source) {
                    Err(why) => errors.invalid("expression", source, why),
                    Ok(program) if program.kind().is_some_and(|own| own != kind) => {
                        errors.invalid("expression", source, format!("must evaluate to {what}"));
                    }
                    Ok(_) => {}
                }
            }
        }),
    }
}
