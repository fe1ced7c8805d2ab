//! What may be written is decided here, and completed: one table of plugins, in order, one file each.
//!
//! A plugin sees the typed object and the call. `mutate` runs after defaulting and before validation, `validate` after
//! it, `delete` before a deletion. None of them waits for anything: what they look up is in memory. What the cluster's
//! users add (policies, webhooks) is asked after them, and may take its time.

use skiff_api::ApiError;

use crate::kinds::Draft;
use crate::registry::Scope;

mod attributes;
mod certificate_signers;
mod certificate_subject;
mod claim_resize;
mod default_ingress_class;
mod default_toleration_seconds;
mod dynamic;
mod escalation;
mod evaluation;
mod kept;
mod matching;
mod metrics;
mod namespace_lifecycle;
mod node_restriction;
mod policy;
mod priority;
mod service_account;
mod storage_classes;
mod storage_in_use;
mod taint_nodes;
pub(crate) mod webhook;

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
    pub(crate) mutate: fn(&mut Attempt<'_>, &mut dyn Draft) -> Result<(), ApiError>,
    pub(crate) validate: fn(&Attempt<'_>, &dyn Draft) -> Result<(), ApiError>,
    pub(crate) delete: fn(&Attempt<'_>) -> Result<(), ApiError>,
}

impl Plugin {
    /// A plugin that does nothing yet.
    const fn named(name: &'static str) -> Self {
        Self { name, mutate: |_, _| Ok(()), validate: |_, _| Ok(()), delete: |_| Ok(()) }
    }
}

/// Every plugin, in the order in which they run.
static PLUGINS: &[&Plugin] = &[
    &namespace_lifecycle::PLUGIN,
    &node_restriction::PLUGIN,
    &taint_nodes::PLUGIN,
    &service_account::PLUGIN,
    &priority::PLUGIN,
    &default_toleration_seconds::PLUGIN,
    &storage_classes::PLUGIN,
    &storage_in_use::PLUGIN,
    &claim_resize::PLUGIN,
    &certificate_signers::APPROVAL,
    &certificate_signers::SIGNING,
    &certificate_signers::ATTEST,
    &certificate_subject::PLUGIN,
    &default_ingress_class::PLUGIN,
    &escalation::PLUGIN,
];

/// Lets every plugin complete the object.
pub(crate) async fn mutate(attempt: &mut Attempt<'_>, draft: &mut Box<dyn Draft>) -> Result<(), ApiError> {
    plugins(attempt, draft)?;
    Box::pin(dynamic::mutate(attempt, draft)).await
}

fn plugins(attempt: &mut Attempt<'_>, draft: &mut Box<dyn Draft>) -> Result<(), ApiError> {
    let draft = &mut **draft;
    PLUGINS.iter().try_for_each(|plugin| (plugin.mutate)(attempt, draft).inspect_err(|e| refused(plugin, e)))
}

/// Asks every plugin whether the finished object may be written.
pub(crate) async fn validate(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    PLUGINS
        .iter()
        .try_for_each(|plugin| (plugin.validate)(attempt, draft).inspect_err(|e| refused(plugin, e)))?;
    Box::pin(dynamic::validate(attempt, draft)).await
}

/// Asks every plugin whether the object may go.
pub(crate) async fn delete(attempt: &mut Attempt<'_>) -> Result<(), ApiError> {
    PLUGINS.iter().try_for_each(|plugin| (plugin.delete)(attempt).inspect_err(|e| refused(plugin, e)))?;
    Box::pin(dynamic::delete(attempt)).await
}

fn refused(plugin: &Plugin, error: &ApiError) {
    tracing::debug!(plugin = plugin.name, %error, "admission refused");
}
