//! OwnerReferencesPermissionEnforcement: who says whose an object is decides when it goes, so they must be allowed to
//! delete it; and who makes an owner wait for it must be allowed to write that owner's finalizers.
//!
//! Follows upstream's `plugin/pkg/admission/gc`. Off unless it is asked for, as there.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use skiff_api::ApiError;

use super::{Attempt, Operation, Plugin};
use crate::authz::{self, Ask, Verdict};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin =
    Plugin { validate, ..Plugin::optional("OwnerReferencesPermissionEnforcement") };

fn validate(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    let scope = &attempt.scope;
    let resource = &scope.entry.resource;
    // A kubelet reports on pods that it may not delete.
    if resource.group.is_empty() && &*resource.plural == "pods" && scope.subresource == "status" {
        return Ok(());
    }
    let new = draft.meta().owner_references.as_deref().unwrap_or_default();
    let old = attempt.old.and_then(|old| old.meta().owner_references.as_deref()).unwrap_or_default();
    if new == old {
        return Ok(());
    }
    let name = draft.meta().name.as_deref().unwrap_or_default();
    if attempt.operation != Operation::Create {
        let ask = Ask {
            verb: "delete",
            group: &resource.group,
            version: &resource.version,
            resource: &resource.plural,
            subresource: scope.subresource,
            namespace: scope.namespace,
            name,
            ..Ask::nothing(scope.user)
        };
        confirm(attempt, name, &ask, "cannot set an ownerRef on a resource you can't delete")?;
    }
    newly_blocked(new, old).try_for_each(|owner| may_block(attempt, name, owner))
}

/// References that make their owner wait, and did not before.
fn newly_blocked<'a>(
    new: &'a [OwnerReference],
    old: &'a [OwnerReference],
) -> impl Iterator<Item = &'a OwnerReference> {
    let blocks = |owner: &OwnerReference| owner.block_owner_deletion == Some(true);
    let did = move |owner: &&OwnerReference| old.iter().any(|held| held.uid == owner.uid && blocks(held));
    new.iter().filter(move |owner| blocks(owner) && !did(owner))
}

fn may_block(attempt: &Attempt<'_>, name: &str, owner: &OwnerReference) -> Result<(), ApiError> {
    let scope = &attempt.scope;
    let (version, kind) = (&owner.api_version, &owner.kind);
    let kinds = scope.api.catalog.kinds();
    let found = kinds.entries().iter().map(|entry| &entry.resource);
    let mut found = found.filter(|resource| *resource.kind == **kind && resource.api_version() == *version);
    let Some(resource) = found.next() else {
        let why = format!(
            "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {version} Kind \
             {kind}: no matches for kind {kind:?} in version {version:?}"
        );
        return Err(attempt.forbidden(name, why));
    };
    let ask = Ask {
        verb: "update",
        group: &resource.group,
        version: &resource.version,
        resource: &resource.plural,
        subresource: "finalizers",
        namespace: if resource.namespaced { scope.namespace } else { "" },
        name: &owner.name,
        ..Ask::nothing(scope.user)
    };
    let why =
        "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on";
    confirm(attempt, name, &ask, why)
}

fn confirm(attempt: &Attempt<'_>, name: &str, ask: &Ask<'_>, otherwise: &str) -> Result<(), ApiError> {
    match authz::judge_now(attempt.scope.api, ask) {
        Verdict::Allow(_) => Ok(()),
        Verdict::Deny(why) | Verdict::NoOpinion(why) => {
            Err(attempt.forbidden(name, format!("{otherwise}: {why}, <nil>")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_references_that_begin_to_block_are_asked_about() {
        let owner = |uid: &str, block: Option<bool>| OwnerReference {
            uid: uid.to_owned(),
            block_owner_deletion: block,
            ..OwnerReference::default()
        };
        let old = [owner("a", Some(true)), owner("b", None)];
        let new = [owner("a", Some(true)), owner("b", Some(true)), owner("c", Some(true)), owner("d", None)];
        let blocked: Vec<&str> = newly_blocked(&new, &old).map(|owner| owner.uid.as_str()).collect();
        assert_eq!(blocked, ["b", "c"]);
    }
}
