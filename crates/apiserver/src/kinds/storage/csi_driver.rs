//! CSIDriver: what a driver wants from the cluster.

use std::collections::HashSet;

use k8s_openapi::api::storage::v1::CSIDriver;
use skiff_api::Errors;

use crate::kinds::{Column, Kind, Row, check, row};

/// The row of CSIDriver.
pub(crate) const KIND: Row = Row { unconditional_update: false, answer_deleted: true, ..row::<CSIDriver>() };

impl Kind for CSIDriver {
    fn set_defaults(&mut self) {
        let spec = &mut self.spec;
        spec.attach_required.get_or_insert(true);
        spec.pod_info_on_mount.get_or_insert(false);
        spec.storage_capacity.get_or_insert(false);
        spec.requires_republish.get_or_insert(false);
        spec.se_linux_mount.get_or_insert(false);
        check::default_text(&mut spec.fs_group_policy, "ReadWriteOnceWithFSType");
        let modes = spec.volume_lifecycle_modes.get_or_insert_default();
        if modes.is_empty() {
            modes.push("Persistent".to_owned());
        }
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.spec != old.spec
    }

    fn validate(&self, errors: &mut Errors) {
        errors.at("spec", |errors| {
            let spec = &self.spec;
            let policy = spec.fs_group_policy.as_deref().unwrap_or_default();
            check::one_of(errors, "fsGroupPolicy", policy, &["File", "None", "ReadWriteOnceWithFSType"]);
            let mut seen = HashSet::new();
            for (index, token) in spec.token_requests.iter().flatten().enumerate() {
                errors.item("tokenRequests", index, |errors| {
                    if !seen.insert(&token.audience) {
                        return errors.duplicate("audience", &token.audience);
                    }
                    let Some(seconds) = token.expiration_seconds else { return };
                    if seconds < 600 {
                        let why = "may not specify a duration less than 10 minutes";
                        errors.invalid("expirationSeconds", &seconds, why);
                    }
                    if seconds > 1 << 32 {
                        let why = "may not specify a duration larger than 2^32 seconds";
                        errors.invalid("expirationSeconds", &seconds, why);
                    }
                });
            }
            if let Some(wants) = spec.service_account_token_in_secrets
                && spec.token_requests.iter().flatten().next().is_none()
            {
                let why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
                errors.invalid("serviceAccountTokenInSecrets", &wants, why);
            }
            for mode in spec.volume_lifecycle_modes.iter().flatten() {
                check::one_of(errors, "volumeLifecycleModes", mode, &["Persistent", "Ephemeral"]);
            }
            if let Some(period) = spec.node_allocatable_update_period_seconds.filter(|period| *period < 10) {
                let why = "must be greater than or equal to 10 seconds";
                errors.invalid("nodeAllocatableUpdatePeriodSeconds", &period, why);
            }
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        errors.immutable("spec.attachedRequired", &self.spec.attach_required, &old.spec.attach_required);
        let (new, old) = (&self.spec.volume_lifecycle_modes, &old.spec.volume_lifecycle_modes);
        errors.immutable("spec.volumeLifecycleModes", new, old);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("AttachRequired", |it, _| it.spec.attach_required.unwrap_or(true).into()),
            Column::<Self>::text("PodInfoOnMount", |it, _| it.spec.pod_info_on_mount.unwrap_or(false).into()),
            Column::<Self>::text("StorageCapacity", |it, _| it.spec.storage_capacity.unwrap_or(false).into()),
            Column::<Self>::text("TokenRequests", |it, _| {
                let audiences: Vec<&str> =
                    it.spec.token_requests.iter().flatten().map(|token| token.audience.as_str()).collect();
                if audiences.is_empty() { "<unset>".into() } else { audiences.join(",").into() }
            }),
            Column::<Self>::text("RequiresRepublish", |it, _| {
                it.spec.requires_republish.unwrap_or(false).into()
            }),
            Column::<Self>::text("Modes", |it, _| {
                check::or_none(&it.spec.volume_lifecycle_modes.as_deref().unwrap_or_default().join(","))
                    .into()
            }),
            Column::age(),
        ]
    }
}
