//! The claims of a stateful set's pods: made before their pod, kept or deleted with it or with the set, as the set says.
//!
//! Nothing is deleted here: a claim that is to go with a pod or with the set is owned by it, and the garbage collector does
//! the rest. Follows upstream's `stateful_set_utils.go`.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use skiff_api::meta::Owner;
use skiff_client::cache::decode;
use skiff_client::controller::Key;
use skiff_client::events::{EventKind, reference};
use skiff_client::write;

use super::plan;
use crate::shared::pods::{manager, manager_named};
use crate::shared::seen::Seen;
use crate::table::Ctx;

/// The claims of an ordinal's pod, by the names of their templates.
pub(super) fn of(set: &StatefulSet, ordinal: i32) -> Vec<(String, PersistentVolumeClaim)> {
    let claim = |template: &PersistentVolumeClaim| {
        let mut claim = template.clone();
        claim.metadata.name = Some(named(set, template, ordinal));
        claim.metadata.namespace.clone_from(&set.metadata.namespace);
        let selected = set.spec.selector.match_labels.clone().unwrap_or_default();
        claim.metadata.labels.get_or_insert_default().extend(selected);
        claim.status = None;
        (template.metadata.name.clone().unwrap_or_default(), claim)
    };
    set.spec.volume_claim_templates.iter().flatten().map(claim).collect()
}

/// The name of the claim that a template makes for an ordinal's pod.
fn named(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i32) -> String {
    let owner = set.metadata.name.as_deref().unwrap_or_default();
    let template = template.metadata.name.as_deref().unwrap_or_default();
    format!("{template}-{owner}-{ordinal}")
}

/// Makes the claims of a pod that is about to be made; false if the pod must wait, since a claim of the pod before it
/// is still on its way out.
pub(super) async fn make(ctx: &Ctx, set: &StatefulSet, ordinal: i32) -> write::Result<bool> {
    for (_, mut claim) in of(set, ordinal) {
        let name = claim.metadata.name.clone().unwrap_or_default();
        let key = Key::new(set.metadata.namespace.as_deref(), &name);
        if let Some(held) = ctx.get::<PersistentVolumeClaim>(&key) {
            if is_leaving(&held) {
                return Ok(false);
            }
            continue;
        }
        let owners = owners(set, None, false, &[]);
        claim.metadata.owner_references = (!owners.is_empty()).then_some(owners);
        let outcome = ctx.create(&claim).await;
        match outcome {
            Err(error) if write::already_exists(&error) => {}
            other => {
                told(ctx, set, &name, ordinal, other.as_ref().err());
                other?;
            }
        }
    }
    Ok(true)
}

fn told(ctx: &Ctx, set: &StatefulSet, claim: &str, ordinal: i32, error: Option<&kube::Error>) {
    let owner = set.metadata.name.as_deref().unwrap_or_default();
    let (kind, reason, message) = match error {
        None => {
            let message =
                format!("create Claim {claim} Pod {owner}-{ordinal} in StatefulSet {owner} success");
            (EventKind::Normal, "SuccessfulCreate", message)
        }
        Some(error) => {
            let head =
                format!("create Claim {claim} for Pod {owner}-{ordinal} in StatefulSet {owner} failed");
            (EventKind::Warning, "FailedCreate", format!("{head} error: {}", write::words(error)))
        }
    };
    ctx.event(reference(set), kind, reason, message);
}

/// A claim that goes, or belongs to a pod that went.
fn is_leaving(claim: &PersistentVolumeClaim) -> bool {
    let owners = claim.metadata.owner_references.iter().flatten();
    claim.metadata.deletion_timestamp.is_some() || owners.into_iter().any(|owner| owner.kind == "Pod")
}

/// Makes the claims of all pods belong to whom they are to go with; all are tried, the first failure is told.
pub(super) async fn retain_all(ctx: &Ctx, set: &StatefulSet, pods: &[Seen]) -> write::Result<()> {
    let mut outcome = Ok(());
    for template in set.spec.volume_claim_templates.iter().flatten() {
        for pod in pods {
            outcome = outcome.and(retain(ctx, set, template, pod).await);
        }
    }
    outcome
}

/// Makes the claim of a template and a pod belong to whom it is to go with; it is read as a whole only if it does not.
async fn retain(
    ctx: &Ctx,
    set: &StatefulSet,
    template: &PersistentVolumeClaim,
    pod: &Seen,
) -> write::Result<()> {
    let Some(ordinal) = plan::ordinal(set, pod.name()) else { return Ok(()) };
    let key = Key::new(set.metadata.namespace.as_deref(), &named(set, template, ordinal));
    let Some(held) = ctx.cache::<PersistentVolumeClaim>().get(key.as_str()) else { return Ok(()) };
    let wanted = |now: &[OwnerReference]| owners(set, Some(pod), !plan::is_wanted(set, ordinal), now);
    let known: Vec<OwnerReference> = held.meta().owner_references.iter().map(reference_to).collect();
    if wanted(&known) == known {
        return Ok(());
    }
    let Some(held) = decode::<PersistentVolumeClaim>(&held) else { return Ok(()) };
    let mut claim = (*held).clone();
    claim.metadata.owner_references =
        Some(wanted(held.metadata.owner_references.as_deref().unwrap_or_default()));
    ctx.replace(&claim).await.map(drop)
}

fn reference_to(owner: &Owner) -> OwnerReference {
    OwnerReference {
        api_version: owner.api_version.to_string(),
        kind: owner.kind.to_string(),
        name: owner.name.to_string(),
        uid: owner.uid.to_string(),
        controller: Some(owner.controller).filter(|controller| *controller),
        block_owner_deletion: Some(owner.block_owner_deletion).filter(|blocks| *blocks),
    }
}

/// Who owns a claim: what is not ours to say stays; `surplus`: the set was scaled below its pod.
fn owners(
    set: &StatefulSet,
    pod: Option<&Seen>,
    surplus: bool,
    now: &[OwnerReference],
) -> Vec<OwnerReference> {
    let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
    let deletes = |when: Option<&String>| when.is_some_and(|when| when == "Delete");
    let with_set = deletes(policy.and_then(|policy| policy.when_deleted.as_ref()));
    let with_pod = surplus && deletes(policy.and_then(|policy| policy.when_scaled.as_ref()));
    let set_ref = manager(set);
    let pod_ref = pod.map(|pod| manager_named::<Pod>(pod.name(), &pod.meta().uid));
    let ours = |owner: &OwnerReference| {
        owner.uid == set_ref.uid || pod_ref.as_ref().is_some_and(|pod| owner.uid == pod.uid)
    };
    let mut owners: Vec<OwnerReference> = now.iter().filter(|owner| !ours(owner)).cloned().collect();
    // A stranger manages it: nobody else may.
    if owners.iter().any(|owner| owner.controller == Some(true)) {
        return owners;
    }
    match pod_ref.filter(|_| with_pod) {
        Some(pod) => owners.push(pod),
        None if with_set => owners.push(set_ref),
        None => {}
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_belongs_to_whom_it_is_to_go_with() {
        let set = |deleted: &str, scaled: &str| -> StatefulSet {
            serde_saphyr::from_str(&format!(
                "{{metadata: {{name: s, uid: set}}, spec: {{selector: {{}}, template: {{}}, \
                 persistentVolumeClaimRetentionPolicy: {{whenDeleted: {deleted}, whenScaled: {scaled}}}}}}}"
            ))
            .unwrap()
        };
        let pod: Pod = serde_saphyr::from_str("{metadata: {name: s-0, uid: pod}}").unwrap();
        let pod = Seen::of(&pod);
        let stays = OwnerReference { uid: "other".to_owned(), ..OwnerReference::default() };
        for (deleted, scaled, surplus, owner) in [
            ("Retain", "Retain", true, ""),
            ("Retain", "Delete", false, ""),
            ("Retain", "Delete", true, "pod"),
            ("Delete", "Retain", true, "set"),
            ("Delete", "Delete", false, "set"),
            ("Delete", "Delete", true, "pod"),
        ] {
            let set = set(deleted, scaled);
            let now = [stays.clone(), manager(&set)];
            let found = owners(&set, Some(&pod), surplus, &now);
            let found: Vec<&str> = found.iter().map(|owner| owner.uid.as_str()).collect();
            let expected: Vec<&str> = ["other", owner].into_iter().filter(|uid| !uid.is_empty()).collect();
            assert_eq!(found, expected, "{deleted} {scaled} {surplus}");
        }
    }
}
