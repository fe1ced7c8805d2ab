//! PriorityClass: a name for how much a pod matters.

use k8s_openapi::api::scheduling::v1::PriorityClass;
use skiff_api::Errors;

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of PriorityClass.
pub(crate) const KIND: Row = Row { short: &["pc"], ..row::<PriorityClass>() };

/// The most that a user's class may be worth.
const HIGHEST: i32 = 1_000_000_000;
/// Names with this are the cluster's own.
const SYSTEM: &str = "system-";
/// The cluster's own classes and what they are worth.
pub(crate) const SYSTEM_CLASSES: &[(&str, i32, &str)] = &[
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

impl Kind for PriorityClass {
    fn set_defaults(&mut self) {
        check::default_text(&mut self.preemption_policy, "PreemptLowerPriority");
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
    }

    fn validate(&self, errors: &mut Errors) {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let value = self.value.unwrap_or(0);
        if name.starts_with(SYSTEM) {
            let known = SYSTEM_CLASSES.iter().any(|(own, worth, _)| *own == name && *worth == value);
            if !known {
                let why = "priority class names with 'system-' prefix are reserved for system use only. error: it's not a system priority class";
                errors.forbidden("metadata.name", why);
            }
        } else if value > HIGHEST {
            let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
            errors.forbidden("value", why);
        }
        if let Some(policy) = check::given(self.preemption_policy.as_ref()) {
            check::one_of(errors, "preemptionPolicy", policy, &["Never", "PreemptLowerPriority"]);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if self.value.unwrap_or(0) != old.value.unwrap_or(0) {
            errors.forbidden("value", "may not be changed in an update.");
        }
        errors.immutable("preemptionPolicy", &self.preemption_policy, &old.preemption_policy);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::number("Value", |class, _| class.value.unwrap_or(0).into()),
            Column::<Self>::text("Global-Default", |class, _| class.global_default.unwrap_or(false).into()),
            Column::age(),
            Column::<Self>::text("PreemptionPolicy", |class, _| {
                class.preemption_policy.clone().unwrap_or_default().into()
            }),
        ]
    }
}
