//! ValidatingAdmissionPolicyBinding: where a policy applies, and with which parameters.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use skiff_api::Errors;

use super::rules;
use crate::kinds::{Column, Kind, Row, check, row};

/// The row of ValidatingAdmissionPolicyBinding.
pub(crate) const KIND: Row =
    Row { categories: &["api-extensions"], ..row::<ValidatingAdmissionPolicyBinding>() };

impl Kind for ValidatingAdmissionPolicyBinding {
    fn set_defaults(&mut self) {
        let spec = &mut self.spec;
        rules::default_param_ref(spec.param_ref.as_mut());
        if let Some(resources) = &mut spec.match_resources {
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
        let spec = self.spec.clone();
        errors.at("spec", |errors| {
            let policy = &spec.policy_name;
            rules::binding(errors, policy, spec.param_ref.as_ref(), spec.match_resources.as_ref());
            actions(errors, &spec.validation_actions);
        });
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("PolicyName", |binding, _| binding.spec.policy_name.clone().into()),
            Column::<Self>::text("ParamRef", |binding, _| {
                rules::shown_ref(binding.spec.param_ref.as_ref()).into()
            }),
            Column::age(),
        ]
    }
}

fn actions(errors: &mut Errors, actions: &[String]) {
    const FIELD: &str = "validationActions";
    for (index, action) in actions.iter().enumerate() {
        let field = format!("{FIELD}[{index}]");
        check::one_of(errors, &field, action, &["Audit", "Deny", "Warn"]);
        if actions[..index].contains(action) {
            errors.duplicate(&field, action);
        }
    }
    let has = |action: &str| actions.iter().any(|own| own == action);
    if has("Deny") && has("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.invalid(FIELD, &rules::shown(actions), why);
    }
    if actions.is_empty() {
        errors.required(FIELD, "at least one validation action is required");
    }
}
