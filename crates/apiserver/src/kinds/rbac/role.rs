//! Role: what may be done in its namespace.

use k8s_openapi::api::rbac::v1::Role;
use skiff_api::Errors;

use super::{check_rules, created_at, path_segment};
use crate::kinds::{Column, Kind, Row, row};

/// The row of Role.
pub(crate) const KIND: Row = Row { name_rule: path_segment, upsert: true, ..row::<Role>() };

impl Kind for Role {
    fn validate(&self, errors: &mut Errors) {
        check_rules(errors, self.rules.as_ref(), true);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::text("Created At", |role, _| created_at(&role.metadata))]
    }
}
