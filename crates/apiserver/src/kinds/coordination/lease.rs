//! Lease: who holds what, and until when; nodes renew one as their heartbeat.

use k8s_openapi::api::coordination::v1::Lease;
use skiff_api::Errors;

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of Lease.
pub(crate) const KIND: Row = Row { upsert: true, unconditional_update: false, ..row::<Lease>() };

impl Kind for Lease {
    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        errors.at("spec", |errors| {
            if let Some(seconds) = spec.lease_duration_seconds {
                check::positive(errors, "leaseDurationSeconds", seconds);
            }
            if let Some(transitions) = spec.lease_transitions {
                check::not_negative(errors, "leaseTransitions", transitions);
            }
            if spec.holder_identity.as_deref() == Some("") {
                errors.invalid("holderIdentity", "", "must not be empty");
            }
            match (check::given(spec.preferred_holder.as_ref()), spec.strategy.as_deref()) {
                (Some(preferred), None | Some("")) => {
                    errors.invalid("preferredHolder", preferred, "may not be specified without `strategy`")
                }
                (_, Some(strategy)) if !strategy.is_empty() => {
                    check::one_of(errors, "strategy", strategy, &["OldestEmulationVersion"]);
                }
                _ => {}
            }
        });
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Holder", |lease, _| {
                lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default().into()
            }),
            Column::age(),
        ]
    }
}
