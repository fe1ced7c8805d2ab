//! What may be written is decided here, and completed: one table of plugins, in order, one file each.
//!
//! A plugin sees the typed object and the call. `mutate` runs after defaulting and before validation, `validate` after
//! it, `delete` before a deletion. None of them waits for anything: what they look up is in memory. What the cluster's
//! users add (policies, webhooks) is asked after them, and may take its time.

use std::sync::Arc;

use skiff_api::ApiError;

use crate::kinds::Draft;
use crate::registry::Scope;

mod always_pull_images;
mod attributes;
mod certificate_signers;
mod certificate_subject;
mod claim_resize;
mod configuration;
mod default_ingress_class;
mod default_toleration_seconds;
mod deny_service_external_ips;
mod device_admin_access;
mod dynamic;
mod escalation;
mod evaluation;
mod event_rate_limit;
mod extended_resource_toleration;
mod hard_anti_affinity;
mod kept;
mod limit_ranger;
mod matching;
mod metrics;
mod namespace_lifecycle;
mod node_restriction;
mod owner_references;
mod pod_node_selector;
mod pod_security;
mod pod_topology_labels;
mod policy;
mod priority;
mod runtime_class;
mod service_account;
mod storage_classes;
mod storage_in_use;
mod taint_nodes;
pub(crate) mod webhook;

pub use configuration::{AdmissionConfiguration, AdmissionConfigurationError};
pub(crate) use dynamic::{Dynamic, StandIn, review};
pub(crate) use metrics::Counts;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

/// A write on its way.
pub(crate) struct Attempt<'a> {
    pub(crate) scope: Scope<'a>,
    pub(crate) operation: Operation,
    /// The stored object; nothing for a create.
    pub(crate) old: Option<&'a dyn Draft>,
    /// True if nothing will be stored.
    pub(crate) dry_run: bool,
    /// The options of the call, as JSON; null for none.
    pub(crate) options: serde_json::Value,
    /// For the client.
    pub(crate) warnings: Vec<String>,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(scope: &Scope<'a>, operation: Operation, old: Option<&'a dyn Draft>) -> Self {
        Self {
            scope: *scope,
            operation,
            old,
            dry_run: false,
            options: serde_json::Value::Null,
            warnings: Vec::new(),
        }
    }

    /// The same attempt, stored or not.
    #[must_use]
    pub(crate) fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// 403 in the plugin's words.
    pub(crate) fn forbidden(&self, name: &str, why: impl std::fmt::Display) -> ApiError {
        ApiError::forbidden(&self.scope.entry.resource, name, why)
    }

    /// True for the creation of the object itself.
    pub(crate) fn creates(&self) -> bool {
        self.operation == Operation::Create && self.scope.subresource.is_empty()
    }
}

/// One plugin.
pub(crate) struct Plugin {
    /// Upstream's name for it.
    pub(crate) name: &'static str,
    /// Whether it works unless it is switched off.
    pub(crate) on: bool,
    pub(crate) mutate: fn(&mut Attempt<'_>, &mut dyn Draft) -> Result<(), ApiError>,
    pub(crate) validate: fn(&mut Attempt<'_>, &dyn Draft) -> Result<(), ApiError>,
    pub(crate) delete: fn(&Attempt<'_>) -> Result<(), ApiError>,
}

impl Plugin {
    /// A plugin that does nothing yet.
    const fn named(name: &'static str) -> Self {
        Self { name, on: true, mutate: |_, _| Ok(()), validate: |_, _| Ok(()), delete: |_| Ok(()) }
    }

    /// A plugin that works only if it is asked for.
    const fn optional(name: &'static str) -> Self {
        Self { on: false, ..Self::named(name) }
    }
}

/// Enforced by the ledger (`quota`), as the last of all; here it has its name.
pub(crate) const RESOURCE_QUOTA: &str = "ResourceQuota";

/// Every plugin, in the order in which they run.
static PLUGINS: &[&Plugin] = &[
    &namespace_lifecycle::PLUGIN,
    &hard_anti_affinity::PLUGIN,
    &limit_ranger::PLUGIN,
    &node_restriction::PLUGIN,
    &taint_nodes::PLUGIN,
    &service_account::PLUGIN,
    &always_pull_images::PLUGIN,
    &pod_security::PLUGIN,
    &pod_node_selector::PLUGIN,
    &priority::PLUGIN,
    &default_toleration_seconds::PLUGIN,
    &storage_classes::PLUGIN,
    &storage_in_use::PLUGIN,
    &claim_resize::PLUGIN,
    &owner_references::PLUGIN,
    &event_rate_limit::PLUGIN,
    &certificate_signers::APPROVAL,
    &certificate_signers::SIGNING,
    &certificate_signers::ATTEST,
    &certificate_subject::PLUGIN,
    &default_ingress_class::PLUGIN,
    &extended_resource_toleration::PLUGIN,
    &runtime_class::PLUGIN,
    &deny_service_external_ips::PLUGIN,
    &pod_topology_labels::PLUGIN,
    &Plugin::named(RESOURCE_QUOTA),
];

/// What upstream does in the storage of a group: no plugin, so that nobody can switch it off.
static ALWAYS: &[&Plugin] = &[&escalation::CHECK, &device_admin_access::CHECK];

/// The plugins that work in a server, and what they are told.
#[derive(Clone)]
pub(crate) struct Chosen {
    plugins: Vec<&'static Plugin>,
    configuration: Arc<AdmissionConfiguration>,
}

impl Chosen {
    /// Upstream's defaults, with some more and without some.
    ///
    /// # Errors
    /// The name of a plugin that does not exist.
    pub(crate) fn new(
        enable: &[String],
        disable: &[String],
        configuration: Arc<AdmissionConfiguration>,
    ) -> Result<Self, String> {
        let known = |name: &String| PLUGINS.iter().any(|plugin| plugin.name == *name);
        if let Some(unknown) = enable.iter().chain(disable).find(|name| !known(name)) {
            return Err(unknown.clone());
        }
        let named = |list: &[String], plugin: &Plugin| list.iter().any(|name| name == plugin.name);
        let chosen = PLUGINS.iter().copied();
        let chosen = chosen.filter(|plugin| !named(disable, plugin) && (plugin.on || named(enable, plugin)));
        let plugins = chosen.chain(ALWAYS.iter().copied()).collect();
        Ok(Self { plugins, configuration })
    }

    /// Whether a plugin works.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.plugins.iter().any(|plugin| plugin.name == name)
    }
}

impl std::fmt::Debug for Chosen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.plugins.iter().map(|plugin| plugin.name)).finish()
    }
}

/// Lets every plugin complete the object.
pub(crate) async fn mutate(attempt: &mut Attempt<'_>, draft: &mut Box<dyn Draft>) -> Result<(), ApiError> {
    plugins(attempt, draft)?;
    Box::pin(dynamic::mutate(attempt, draft)).await
}

fn plugins(attempt: &mut Attempt<'_>, draft: &mut Box<dyn Draft>) -> Result<(), ApiError> {
    let draft = &mut **draft;
    let api = attempt.scope.api;
    api.settings
        .admission
        .plugins
        .iter()
        .try_for_each(|plugin| (plugin.mutate)(attempt, draft).inspect_err(|e| refused(plugin, e)))
}

/// Asks every plugin whether the finished object may be written.
pub(crate) async fn validate(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    let api = attempt.scope.api;
    api.settings
        .admission
        .plugins
        .iter()
        .try_for_each(|plugin| (plugin.validate)(attempt, draft).inspect_err(|e| refused(plugin, e)))?;
    Box::pin(dynamic::validate(attempt, draft)).await
}

/// Asks every plugin whether the object may go.
pub(crate) async fn delete(attempt: &mut Attempt<'_>) -> Result<(), ApiError> {
    let api = attempt.scope.api;
    api.settings
        .admission
        .plugins
        .iter()
        .try_for_each(|plugin| (plugin.delete)(attempt).inspect_err(|e| refused(plugin, e)))?;
    Box::pin(dynamic::delete(attempt)).await
}

fn refused(plugin: &Plugin, error: &ApiError) {
    tracing::debug!(plugin = plugin.name, %error, "admission refused");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_switched_on_and_off_by_name() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let chosen = |enable: &[String], disable: &[String]| Chosen::new(enable, disable, Arc::default());
        let plain = chosen(&[], &[]).unwrap();
        assert!(plain.has("LimitRanger") && plain.has(RESOURCE_QUOTA) && !plain.has("AlwaysPullImages"));
        let other = chosen(&names(&["AlwaysPullImages"]), &names(&["LimitRanger"])).unwrap();
        assert!(other.has("AlwaysPullImages") && !other.has("LimitRanger"));
        assert_eq!(chosen(&names(&["Odd"]), &[]).unwrap_err(), "Odd");
    }

    #[test]
    fn nobody_switches_off_what_is_no_plugin() {
        let check = escalation::CHECK.name.to_owned();
        let everything: Vec<String> = PLUGINS.iter().map(|plugin| plugin.name.to_owned()).collect();
        let chosen = |disable: &[String]| Chosen::new(&[], disable, Arc::default());
        assert!(chosen(&everything).unwrap().has(&check));
        assert_eq!(chosen(std::slice::from_ref(&check)).unwrap_err(), check);
    }
}
