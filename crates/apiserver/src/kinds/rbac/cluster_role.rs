//! ClusterRole: what may be done in every namespace, to what has none, and on paths; perhaps gathered from others.

use k8s_openapi::api::rbac::v1::ClusterRole;
use skiff_api::Errors;

use super::{check_rules, created_at, path_segment};
use crate::kinds::{Column, Kind, Row, check, row};

/// The row of ClusterRole.
pub(crate) const KIND: Row = Row { name_rule: path_segment, upsert: true, ..row::<ClusterRole>() };

impl Kind for ClusterRole {
    fn validate(&self, errors: &mut Errors) {
        check_rules(errors, self.rules.as_ref(), false);
        let Some(aggregation) = &self.aggregation_rule else { return };
        errors.at("aggregationRule", |errors| {
            let selectors = aggregation.cluster_role_selectors.as_deref().unwrap_or_default();
            if selectors.is_empty() {
                let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
                errors.required("clusterRoleSelectors", why);
            }
            for (index, selector) in selectors.iter().enumerate() {
                check::label_selector(errors, &format!("clusterRoleSelectors[{index}]"), selector);
            }
        });
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::text("Created At", |role, _| created_at(&role.metadata))]
    }
}
