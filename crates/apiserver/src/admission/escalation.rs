//! Nobody hands out rights that they do not have: who writes a role or a binding must hold what it grants, or be allowed
//! to `escalate` that role or to `bind` it.
//!
//! Upstream does this in the storage of the group (`pkg/registry/rbac/*/policybased`); the words are its.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use skiff_api::{ApiError, Readable, Resource};

use super::{Attempt, Plugin};
use crate::authz::{self, Ask, rules};
use crate::kinds::{Draft, rbac::GROUP};
use crate::user::MASTERS;

pub(super) const CHECK: Plugin = Plugin { validate, ..Plugin::named("RBACEscalation") };

fn validate(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    if *attempt.scope.entry.resource.group != *GROUP || attempt.scope.user.is_in(MASTERS) {
        return Ok(());
    }
    let any = draft.as_any();
    if let Some(role) = any.downcast_ref::<ClusterRole>() {
        let old = old::<ClusterRole>(attempt);
        if collected(role, old) || allowed(attempt, "escalate", "clusterroles", &name(&role.metadata)) {
            return Ok(());
        }
        confirm(attempt, &name(&role.metadata), role.rules.as_deref().unwrap_or_default())?;
        if gathers(role) || old.is_some_and(gathers) {
            let why = "must have cluster-admin privileges to use the aggregationRule";
            confirm(attempt, "", &everything()).map_err(|_| attempt.forbidden(&name(&role.metadata), why))?;
        }
    } else if let Some(role) = any.downcast_ref::<Role>() {
        if collected(role, old::<Role>(attempt))
            || allowed(attempt, "escalate", "roles", &name(&role.metadata))
        {
            return Ok(());
        }
        confirm(attempt, &name(&role.metadata), role.rules.as_deref().unwrap_or_default())?;
    } else if let Some(binding) = any.downcast_ref::<ClusterRoleBinding>() {
        if !collected(binding, old::<ClusterRoleBinding>(attempt)) {
            bind(attempt, &binding.metadata, &binding.role_ref)?;
        }
    } else if let Some(binding) = any.downcast_ref::<RoleBinding>()
        && !collected(binding, old::<RoleBinding>(attempt))
    {
        bind(attempt, &binding.metadata, &binding.role_ref)?;
    }
    Ok(())
}

fn old<'a, K: Readable>(attempt: &Attempt<'a>) -> Option<&'a K> {
    attempt.old.and_then(|old| old.as_any().downcast_ref())
}

fn name(meta: &ObjectMeta) -> String {
    meta.name.clone().unwrap_or_default()
}

/// True if an update touches only what the garbage collector needs to let the object go.
fn collected<K: Readable + PartialEq + Clone>(new: &K, old: Option<&K>) -> bool {
    let bare = |object: &K| {
        let mut copy = object.clone();
        let meta = copy.metadata_mut();
        meta.owner_references = None;
        meta.finalizers = None;
        meta.resource_version = None;
        copy
    };
    old.is_some_and(|old| bare(old) == bare(new))
}

fn gathers(role: &ClusterRole) -> bool {
    let selectors = role.aggregation_rule.as_ref().and_then(|rule| rule.cluster_role_selectors.as_ref());
    selectors.is_some_and(|selectors| !selectors.is_empty())
}

fn everything() -> [PolicyRule; 2] {
    let any = || Some(vec!["*".to_owned()]);
    let verbs = vec!["*".to_owned()];
    [
        PolicyRule { verbs: verbs.clone(), api_groups: any(), resources: any(), ..PolicyRule::default() },
        PolicyRule { verbs, non_resource_urls: any(), ..PolicyRule::default() },
    ]
}

fn allowed(attempt: &Attempt<'_>, verb: &str, resource: &str, name: &str) -> bool {
    let scope = &attempt.scope;
    let ask = Ask {
        verb,
        group: GROUP,
        version: "*",
        resource,
        namespace: scope.namespace,
        name,
        ..Ask::nothing(scope.user)
    };
    authz::judge_now(scope.api, &ask).is_allowed()
}

fn bind(attempt: &Attempt<'_>, meta: &ObjectMeta, role: &RoleRef) -> Result<(), ApiError> {
    let plural = if role.kind == "Role" { "roles" } else { "clusterroles" };
    if allowed(attempt, "bind", plural, &role.name) {
        return Ok(());
    }
    let scope = &attempt.scope;
    let Some(granted) = scope.api.rbac.rules_of(&scope.api.store, role, scope.namespace) else {
        let about = Resource {
            group: GROUP.into(),
            version: "v1".into(),
            plural: plural.into(),
            kind: role.kind.as_str().into(),
            namespaced: role.kind == "Role",
        };
        return Err(ApiError::not_found(&about, &role.name));
    };
    confirm(attempt, &name(meta), &granted)
}

/// Refuses what the user does not hold.
fn confirm(attempt: &Attempt<'_>, name: &str, granted: &[PolicyRule]) -> Result<(), ApiError> {
    let scope = &attempt.scope;
    let held = scope.api.rbac.held_by(&scope.api.store, scope.user, scope.namespace);
    let missing = rules::missing(&held.rules, granted);
    if missing.is_empty() {
        return Ok(());
    }
    let mut why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        scope.user.name,
        rules::quoted(&scope.user.groups),
        missing.join("\n")
    );
    if !held.faults.is_empty() {
        why.push_str(&format!("; resolution errors: [{}]", held.faults.join(", ")));
    }
    Err(attempt.forbidden(name, why))
}
