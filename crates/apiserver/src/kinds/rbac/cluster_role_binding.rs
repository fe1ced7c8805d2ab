//! ClusterRoleBinding: whom a role of the cluster is given to everywhere.

use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use skiff_api::Errors;

use super::{
    check_binding, check_role_unchanged, default_references, path_segment, shown_role, shown_subjects,
};
use crate::kinds::{Column, Kind, Row, row};

/// The row of ClusterRoleBinding.
pub(crate) const KIND: Row = Row { name_rule: path_segment, upsert: true, ..row::<ClusterRoleBinding>() };

impl Kind for ClusterRoleBinding {
    fn set_defaults(&mut self) {
        default_references(&mut self.role_ref, self.subjects.as_mut());
    }

    fn validate(&self, errors: &mut Errors) {
        check_binding(errors, &self.role_ref, self.subjects.as_ref(), false);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        check_role_unchanged(errors, &self.role_ref, &old.role_ref);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Role", |binding, _| shown_role(&binding.role_ref)),
            Column::age(),
            Column::<Self>::text("Users", |binding, _| shown_subjects(binding.subjects.as_ref(), "User"))
                .wide(),
            Column::<Self>::text("Groups", |binding, _| shown_subjects(binding.subjects.as_ref(), "Group"))
                .wide(),
            Column::<Self>::text("ServiceAccounts", |binding, _| {
                shown_subjects(binding.subjects.as_ref(), "ServiceAccount")
            })
            .wide(),
        ]
    }
}
