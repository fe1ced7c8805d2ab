//! StorageClass: a sort of storage and who makes volumes of it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use k8s_openapi::api::core::v1::TopologySelectorTerm;
use k8s_openapi::api::storage::v1::StorageClass;
use skiff_api::{Errors, names};

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of StorageClass. Its first column tells which class is the default one.
pub(crate) const KIND: Row =
    Row { short: &["sc"], name_first: false, answer_deleted: true, ..row::<StorageClass>() };

/// Marks the class that claims without one get.
const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
const IS_DEFAULT_BETA: &str = "storageclass.beta.kubernetes.io/is-default-class";

/// True for a class that claims without one get.
fn is_default(class: &StorageClass) -> bool {
    let annotations = class.metadata.annotations.iter().flatten();
    annotations
        .into_iter()
        .any(|(key, value)| (key == IS_DEFAULT || key == IS_DEFAULT_BETA) && value == "true")
}

fn topologies(errors: &mut Errors, terms: &[TopologySelectorTerm]) {
    let mut seen: Vec<BTreeMap<&str, BTreeSet<&str>>> = Vec::new();
    for (index, term) in terms.iter().enumerate() {
        errors.item("allowedTopologies", index, |errors| {
            let mut wanted = BTreeMap::new();
            let expressions = term.match_label_expressions.as_deref().unwrap_or_default();
            for (index, expression) in expressions.iter().enumerate() {
                errors.item("matchLabelExpressions", index, |errors| {
                    check::named(errors, "key", &expression.key, names::qualified_name(&expression.key));
                    if expression.values.is_empty() {
                        errors.required("values", "");
                    }
                    let mut values = HashSet::new();
                    for (index, value) in expression.values.iter().enumerate() {
                        if !values.insert(value) {
                            errors.duplicate(&format!("values[{index}]"), value);
                        }
                    }
                    let values = expression.values.iter().map(String::as_str).collect();
                    if wanted.insert(expression.key.as_str(), values).is_some() {
                        errors.duplicate("key", &expression.key);
                    }
                });
            }
            if seen.contains(&wanted) {
                errors.duplicate("matchLabelExpressions", "");
            }
            seen.push(wanted);
        });
    }
}

impl Kind for StorageClass {
    fn set_defaults(&mut self) {
        check::default_text(&mut self.reclaim_policy, "Delete");
        check::default_text(&mut self.volume_binding_mode, "Immediate");
    }

    fn validate(&self, errors: &mut Errors) {
        super::provisioner(errors, "provisioner", &self.provisioner);
        super::parameters(errors, self.parameters.as_ref(), true);
        let policy = self.reclaim_policy.as_deref().unwrap_or_default();
        check::one_of(errors, "reclaimPolicy", policy, &["Delete", "Retain"]);
        let mode = self.volume_binding_mode.as_deref().unwrap_or_default();
        check::one_of(errors, "volumeBindingMode", mode, &["Immediate", "WaitForFirstConsumer"]);
        topologies(errors, self.allowed_topologies.as_deref().unwrap_or_default());
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let mut fixed = |field: &str, changed: bool| {
            if changed {
                errors.forbidden(field, format!("updates to {field} are forbidden."));
            }
        };
        let empty = BTreeMap::new();
        let given = |class: &Self| class.parameters.clone().unwrap_or_default();
        fixed("parameters", self.parameters.as_ref().unwrap_or(&empty) != &given(old));
        fixed("provisioner", self.provisioner != old.provisioner);
        fixed("reclaimPolicy", self.reclaim_policy != old.reclaim_policy);
        errors.immutable("volumeBindingMode", &self.volume_binding_mode, &old.volume_binding_mode);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Name", |class, _| {
                let name = class.metadata.name.as_deref().unwrap_or_default();
                if is_default(class) { format!("{name} (default)").into() } else { name.into() }
            }),
            Column::<Self>::text("Provisioner", |class, _| class.provisioner.as_str().into()),
            Column::<Self>::text("ReclaimPolicy", |class, _| {
                class.reclaim_policy.as_deref().unwrap_or("Delete").into()
            }),
            Column::<Self>::text("VolumeBindingMode", |class, _| {
                class.volume_binding_mode.as_deref().unwrap_or("Immediate").into()
            }),
            Column::<Self>::text("AllowVolumeExpansion", |class, _| {
                class.allow_volume_expansion.unwrap_or(false).into()
            }),
            Column::age(),
        ]
    }
}
