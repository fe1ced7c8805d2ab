//! NamespaceLifecycle: nothing is created in a namespace that is not there or is going; some namespaces stay.

use k8s_openapi::api::core::v1::Namespace;
use skiff_api::{ApiError, Resource};
use skiff_store::Key;

use super::{Attempt, Operation, Plugin};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { mutate, delete, ..Plugin::named("NamespaceLifecycle") };

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    let scope = attempt.scope;
    if attempt.operation != Operation::Create || !scope.entry.resource.namespaced {
        return Ok(());
    }
    let key = Key::new("namespaces", scope.namespace);
    let Some(namespace) = scope.api.store.get(&key) else {
        return Err(ApiError::not_found(&Resource::of::<Namespace>(), scope.namespace));
    };
    if namespace.object().meta().deletion_timestamp.is_none() {
        return Ok(());
    }
    let why = format!(
        "unable to create new content in namespace {} because it is being terminated",
        scope.namespace
    );
    let name = draft.meta().name.as_deref().unwrap_or_default();
    let cause = format!("namespace {} is being terminated", scope.namespace);
    Err(attempt.forbidden(name, why).cause("NamespaceTerminating", cause, "metadata.namespace"))
}

fn delete(attempt: &Attempt<'_>) -> Result<(), ApiError> {
    let scope = &attempt.scope;
    if &*scope.entry.table == "namespaces" && IMMORTAL.contains(&scope.name) {
        return Err(attempt.forbidden(scope.name, "this namespace may not be deleted"));
    }
    Ok(())
}
