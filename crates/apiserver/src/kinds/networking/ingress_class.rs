//! IngressClass: which controller takes care of an ingress.

use k8s_openapi::api::networking::v1::{IngressClass, IngressClassParametersReference};
use skiff_api::{Errors, names};

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of IngressClass.
pub(crate) const KIND: Row = row::<IngressClass>();

const MAX_CONTROLLER: usize = 250;

fn parameters(parameters: &IngressClassParametersReference, errors: &mut Errors) {
    if let Some(group) = &parameters.api_group {
        check::named(errors, "apiGroup", group, names::dns1123_subdomain(group));
    }
    check::required_segment(errors, "kind", &parameters.kind);
    check::required_segment(errors, "name", &parameters.name);
    let namespace = parameters.namespace.as_deref();
    match (parameters.scope.as_deref(), namespace) {
        (None, _) => errors.required("scope", ""),
        (Some("Namespace"), None) => errors.required("namespace", "`parameters.scope` is set to 'Namespace'"),
        (Some("Namespace"), Some(name)) => {
            check::named(errors, "namespace", name, names::dns1123_label(name));
        }
        (Some("Cluster"), Some(_)) => errors.forbidden("namespace", "`parameters.scope` is set to 'Cluster'"),
        (Some("Cluster"), None) => {}
        (Some(other), _) => errors.not_supported("scope", other, &["Cluster", "Namespace"]),
    }
}

fn shown(parameters: &IngressClassParametersReference) -> String {
    let group = parameters.api_group.as_ref().map(|group| format!(".{group}")).unwrap_or_default();
    format!("{}{group}/{}", parameters.kind, parameters.name)
}

impl Kind for IngressClass {
    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        if let Some(parameters) = &mut spec.parameters {
            parameters.scope.get_or_insert_with(|| "Cluster".to_owned());
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
            match check::given(spec.controller.as_ref()) {
                None => errors.required("controller", ""),
                Some(controller) => {
                    if controller.len() > MAX_CONTROLLER {
                        errors.too_long("controller", MAX_CONTROLLER);
                    }
                    check::domain_prefixed_path(errors, "controller", controller);
                }
            }
            if let Some(given) = &spec.parameters {
                errors.at("parameters", |errors| parameters(given, errors));
            }
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let controller = |class: &Self| class.spec.as_ref().and_then(|spec| spec.controller.clone());
        errors.immutable("spec.controller", &controller(self), &controller(old));
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Controller", |class, _| {
                class.spec.as_ref().and_then(|spec| spec.controller.clone()).unwrap_or_default().into()
            }),
            Column::<Self>::text("Parameters", |class, _| {
                let parameters = class.spec.as_ref().and_then(|spec| spec.parameters.as_ref());
                parameters.map_or_else(|| check::or_none(""), shown).into()
            }),
            Column::age(),
        ]
    }
}
