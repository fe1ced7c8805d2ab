//! RuntimeClass: what runs a pod's containers, what that costs, and on which nodes it can be had.

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::api::node::v1::RuntimeClass;
use skiff_api::{Errors, names};

use crate::kinds::core::pod;
use crate::kinds::{Column, Kind, Row, check, row};

/// The row of RuntimeClass.
pub(crate) const KIND: Row = Row { upsert: true, unconditional_update: false, ..row::<RuntimeClass>() };

impl Kind for RuntimeClass {
    fn validate(&self, errors: &mut Errors) {
        check::named(errors, "handler", &self.handler, names::dns1123_label(&self.handler));
        if let Some(overhead) = &self.overhead {
            let limits = ResourceRequirements {
                limits: overhead.pod_fixed.clone(),
                ..ResourceRequirements::default()
            };
            errors.at("overhead", |errors| pod::validate_overhead(&limits, errors));
        }
        if let Some(scheduling) = &self.scheduling {
            errors.at("scheduling", |errors| {
                if let Some(selector) = &scheduling.node_selector {
                    check::labels(errors, "nodeSelector", selector);
                }
                pod::validate_tolerations(scheduling.tolerations.as_deref().unwrap_or_default(), errors);
            });
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        errors.immutable("handler", &self.handler, &old.handler);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::<Self>::text("Handler", |class, _| class.handler.clone().into()), Column::age()]
    }
}
