//! RoleBinding: whom a role, of the namespace or of the cluster, is given to in this namespace.

use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use skiff_api::Errors;

use super::{
    Binding, binding_columns, check_binding, check_role_unchanged, default_references, path_segment,
};
use crate::kinds::{Column, Kind, Row, row};

/// The row of RoleBinding.
pub(crate) const KIND: Row = Row { name_rule: path_segment, upsert: true, ..row::<RoleBinding>() };

impl Kind for RoleBinding {
    fn set_defaults(&mut self) {
        default_references(&mut self.role_ref, self.subjects.as_mut());
    }

    fn validate(&self, errors: &mut Errors) {
        check_binding(errors, &self.role_ref, self.subjects.as_ref(), true);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        check_role_unchanged(errors, &self.role_ref, &old.role_ref);
    }

    fn columns() -> Vec<Column<Self>> {
        binding_columns()
    }
}

impl Binding for RoleBinding {
    fn parts(&self) -> (&RoleRef, Option<&Vec<Subject>>) {
        (&self.role_ref, self.subjects.as_ref())
    }
}
