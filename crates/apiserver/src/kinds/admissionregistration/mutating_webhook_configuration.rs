//! MutatingWebhookConfiguration: servers that may change an object before it is written.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use skiff_api::Errors;

use super::webhook::{self, Defaulted, Hook};
use crate::kinds::{Column, Kind, Row, check, row};

/// The row of MutatingWebhookConfiguration.
pub(crate) const KIND: Row = Row { categories: &["api-extensions"], ..row::<MutatingWebhookConfiguration>() };

impl Kind for MutatingWebhookConfiguration {
    fn set_defaults(&mut self) {
        for hook in self.webhooks.iter_mut().flatten() {
            Defaulted {
                failure_policy: &mut hook.failure_policy,
                match_policy: &mut hook.match_policy,
                namespace_selector: &mut hook.namespace_selector,
                object_selector: &mut hook.object_selector,
                timeout_seconds: &mut hook.timeout_seconds,
                rules: &mut hook.rules,
                client: &mut hook.client_config,
            }
            .set();
            check::default_text(&mut hook.reinvocation_policy, "Never");
        }
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.webhooks != old.webhooks
    }

    fn validate(&self, errors: &mut Errors) {
        let hooks: Vec<Hook> = self.webhooks.iter().flatten().map(Hook::from).collect();
        webhook::validate(errors, &hooks);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::number("Webhooks", |configuration, _| {
                configuration.webhooks.as_ref().map_or(0, Vec::len).into()
            }),
            Column::age(),
        ]
    }
}
