//! Claims stay while pods use them, volumes while they are bound: the finalizers are taken off when nobody needs them.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use skiff_api::volume::{self, CLAIM_PROTECTION, VOLUME_PROTECTION};
use skiff_api::{Readable, pod};
use skiff_client::controller::{Itself, Key, Next, Outcome};
use skiff_client::write;

use super::{ItsClaims, USERS, users};
use crate::table::{Ctx, Row, on};

/// Claims.
pub(crate) const CLAIMS: Row = Row {
    name: "pvc-protection-controller",
    component: "pvc-protection-controller",
    wakes: &[on::<PersistentVolumeClaim, Itself>(), on::<Pod, ItsClaims>().indexed(&[USERS])],
    may: &[("update", "persistentvolumeclaims")],
    workers: 2,
    run: |ctx, key| Box::pin(of_claim(ctx, key)),
};

/// Volumes.
pub(crate) const VOLUMES: Row = Row {
    name: "pv-protection-controller",
    component: "pv-protection-controller",
    wakes: &[on::<PersistentVolume, Itself>()],
    may: &[("update", "persistentvolumes")],
    workers: 1,
    run: |ctx, key| Box::pin(of_volume(ctx, key)),
};

async fn of_claim(ctx: Ctx, key: Key) -> Outcome {
    let Some(claim) = ctx.get::<PersistentVolumeClaim>(&key) else { return Ok(Next::Rest) };
    let leaving = claim.metadata.deletion_timestamp.is_some();
    let used = leaving && users(ctx.caches(), &claim).iter().any(|pod| uses(pod, &claim));
    // The cache of pods may be behind what the server knows; a pod that comes later is refused by its node.
    set(&ctx, (*claim).clone(), CLAIM_PROTECTION, !leaving || used).await
}

/// Only a pod that has a node uses anything.
fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let names = |(named, own): (String, bool)| {
        named == name && (!own || (!pod::is_finished(pod) && volume::is_made_for(claim, pod)))
    };
    pod::node_name(pod).is_some() && volume::claims(pod).any(names)
}

async fn of_volume(ctx: Ctx, key: Key) -> Outcome {
    let Some(volume) = ctx.get::<PersistentVolume>(&key) else { return Ok(Next::Rest) };
    let leaving = volume.metadata.deletion_timestamp.is_some();
    let bound = volume.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Bound"));
    set(&ctx, (*volume).clone(), VOLUME_PROTECTION, !leaving || bound).await
}

/// Puts the finalizer there, or takes it off.
pub(crate) async fn set<K: Readable>(ctx: &Ctx, mut object: K, finalizer: &str, wanted: bool) -> Outcome {
    let leaving = object.metadata().deletion_timestamp.is_some();
    let finalizers = object.metadata_mut().finalizers.get_or_insert_default();
    let held = finalizers.iter().any(|it| it == finalizer);
    // What is on its way out gets no new finalizers.
    if held == wanted || (wanted && leaving) {
        return Ok(Next::Rest);
    }
    if wanted {
        finalizers.push(finalizer.to_owned());
    } else {
        finalizers.retain(|it| it != finalizer);
    }
    match ctx.replace(&object).await {
        Err(error) if !write::is_not_found(&error) => Err(error.into()),
        _ => Ok(Next::Rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pods_on_nodes_use_their_claims_and_finished_ones_not_what_was_made_for_them() {
        let pod = |status: &str, node: &str, source: &str| -> Pod {
            serde_saphyr::from_str(&format!(
                "{{metadata: {{name: p, namespace: n, uid: u}}, status: {{phase: {status}}}, spec: {{nodeName: '{node}', \
                 containers: [], volumes: [{{name: v, {source}}}]}}}}"
            ))
            .unwrap()
        };
        let claim: PersistentVolumeClaim = serde_saphyr::from_str(
            "{metadata: {name: p-v, namespace: n, ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u, controller: true}]}}",
        )
        .unwrap();
        let named = "persistentVolumeClaim: {claimName: p-v}";
        let own = "ephemeral: {volumeClaimTemplate: {spec: {}}}";
        assert!(uses(&pod("Running", "m", named), &claim));
        assert!(uses(&pod("Succeeded", "m", named), &claim));
        assert!(!uses(&pod("Pending", "", named), &claim));
        assert!(uses(&pod("Running", "m", own), &claim));
        assert!(!uses(&pod("Failed", "m", own), &claim));
    }
}
