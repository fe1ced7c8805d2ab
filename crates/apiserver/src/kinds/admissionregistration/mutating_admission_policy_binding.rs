//! MutatingAdmissionPolicyBinding: where a policy applies, and with which parameters.

use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicyBinding;
use skiff_api::Errors;

use super::rules;
use crate::kinds::{Column, Kind, Row, row};

/// The row of MutatingAdmissionPolicyBinding.
pub(crate) const KIND: Row =
    Row { categories: &["api-extensions"], ..row::<MutatingAdmissionPolicyBinding>() };

impl Kind for MutatingAdmissionPolicyBinding {
    fn set_defaults(&mut self) {
        let Some(spec) = &mut self.spec else { return };
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
        let spec = self.spec.clone().unwrap_or_default();
        errors.at("spec", |errors| {
            let policy = spec.policy_name.as_deref().unwrap_or_default();
            rules::binding(errors, policy, spec.param_ref.as_ref(), spec.match_resources.as_ref());
        });
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("PolicyName", |binding, _| {
                binding
                    .spec
                    .as_ref()
                    .map(|spec| spec.policy_name.clone().unwrap_or_default())
                    .unwrap_or_default()
                    .into()
            }),
            Column::<Self>::text("ParamRef", |binding, _| {
                rules::shown_ref(binding.spec.as_ref().and_then(|spec| spec.param_ref.as_ref())).into()
            }),
            Column::age(),
        ]
    }
}
