//! Claims and volumes in YAML and what is to be done about them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;

use super::{claim, reclaim};

fn of<K: serde::de::DeserializeOwned>(yaml: &str) -> K {
    serde_saphyr::from_str(yaml).unwrap()
}

fn a_volume(meta: &str, spec: &str, phase: &str) -> Arc<PersistentVolume> {
    Arc::new(of(&format!(
        "{{metadata: {{name: v{meta}}}, status: {{phase: {phase}}}, spec: {{capacity: {{storage: 2Gi}}, accessModes: \
         [ReadWriteOnce]{spec}}}}}"
    )))
}

fn a_claim(meta: &str, spec: &str, phase: &str) -> PersistentVolumeClaim {
    of(&format!(
        "{{metadata: {{name: c, namespace: n, uid: u{meta}}}, status: {{phase: {phase}}}, spec: {{accessModes: \
         [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}{spec}}}}}"
    ))
}

/// The plan for a claim in a few words.
fn planned(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    class: &str,
    user: Option<&str>,
) -> String {
    let class: Option<Arc<StorageClass>> = (!class.is_empty()).then(|| Arc::new(of(class)));
    let plan = claim::plan(&claim::Scene {
        claim,
        named: volumes
            .iter()
            .find(|it| it.metadata.name.as_deref() == skiff_api::volume::volume_name(claim))
            .cloned(),
        candidates: volumes.to_vec(),
        class: class.as_ref(),
        default: None,
        user,
    });
    let mut words = Vec::new();
    words.extend(plan.bind.map(|volume| format!("bind {}", volume.metadata.name.clone().unwrap())));
    words.extend(plan.phase.map(str::to_owned));
    words.extend(plan.provision.map(|by| format!("by {by}")));
    words.extend(plan.say.map(|(_, reason, _)| reason.to_owned()));
    words.join(" ")
}

#[test]
fn a_claim_takes_what_is_there_waits_or_has_a_volume_made() {
    let immediate = "{metadata: {name: fast}, provisioner: example.com/p, volumeBindingMode: Immediate}";
    let waits =
        "{metadata: {name: fast}, provisioner: example.com/p, volumeBindingMode: WaitForFirstConsumer}";
    let none = "{metadata: {name: fast}, provisioner: kubernetes.io/no-provisioner}";
    let free = [a_volume("", "", "Available")];
    let plain = a_claim("", "", "Pending");
    let fast = a_claim("", ", storageClassName: fast", "Pending");
    let chosen = a_claim(
        ", annotations: {volume.kubernetes.io/selected-node: m}",
        ", storageClassName: fast",
        "Pending",
    );
    assert_eq!(planned(&plain, &free, "", None), "bind v");
    assert_eq!(planned(&plain, &[], "", None), "Pending FailedBinding");
    assert_eq!(planned(&fast, &[], "", None), "Pending ProvisioningFailed");
    assert_eq!(planned(&fast, &[], none, None), "Pending ProvisioningFailed");
    assert_eq!(planned(&fast, &[], immediate, None), "Pending by example.com/p ExternalProvisioning");
    assert_eq!(planned(&fast, &[], waits, None), "Pending WaitForFirstConsumer");
    assert_eq!(planned(&fast, &[], waits, Some("p")), "Pending WaitForPodScheduled");
    assert_eq!(planned(&chosen, &[], waits, None), "Pending by example.com/p ExternalProvisioning");
    let reserved = [a_volume("", ", storageClassName: fast, claimRef: {namespace: n, name: c}", "Available")];
    assert_eq!(planned(&fast, &reserved, waits, None), "bind v");
}

#[test]
fn a_claim_that_names_its_volume_gets_that_or_none() {
    let names = a_claim("", ", volumeName: v", "Pending");
    assert_eq!(planned(&names, &[], "", None), "Pending");
    assert_eq!(planned(&names, &[a_volume("", "", "Available")], "", None), "bind v");
    let other = a_volume("", ", storageClassName: x", "Available");
    assert_eq!(planned(&names, &[other], "", None), "Pending VolumeMismatch");
    let taken = a_volume("", ", claimRef: {namespace: n, name: d, uid: x}", "Bound");
    assert_eq!(planned(&names, &[taken], "", None), "Pending FailedBinding");
}

#[test]
fn a_bound_claim_without_its_volume_is_lost() {
    let done = ", annotations: {pv.kubernetes.io/bind-completed: 'yes'}";
    let bound = a_claim(done, ", volumeName: v", "Bound");
    assert_eq!(planned(&bound, &[], "", None), "Lost ClaimLost");
    assert_eq!(planned(&a_claim(done, ", volumeName: v", "Lost"), &[], "", None), "Lost");
    assert_eq!(planned(&a_claim(done, "", "Bound"), &[], "", None), "Lost ClaimLost");
    let other = a_volume("", ", claimRef: {namespace: n, name: c, uid: x}", "Bound");
    assert_eq!(planned(&bound, &[other], "", None), "Lost ClaimMisbound");
    let mine = a_volume("", ", claimRef: {namespace: n, name: c, uid: u}", "Bound");
    assert_eq!(planned(&bound, &[mine], "", None), "bind v");
}

#[test]
fn both_sides_say_whose_choice_the_binding_was() {
    let claim = a_claim("", "", "Pending");
    let volume = skiff_api::volume::promised(&a_volume("", "", "Available"), &claim);
    assert!(claim::was_chosen(&volume));
    let bound = claim::bound_claim(&claim, &volume);
    assert_eq!(bound.metadata.annotations.as_ref().unwrap().len(), 2);
    assert_eq!(claim::bound_status(&bound, &volume).capacity.unwrap()["storage"].0, "2Gi");
    // Nothing is left to write.
    assert_eq!(skiff_api::volume::promised(&volume, &bound), volume);
    assert_eq!(claim::bound_claim(&bound, &volume), bound);
    let reserved = a_volume("", ", claimRef: {namespace: n, name: c}", "Available");
    assert!(!claim::was_chosen(&skiff_api::volume::promised(&reserved, &claim)));
}

#[test]
fn a_volume_follows_its_claim_and_then_its_policy() {
    let owned = ", claimRef: {namespace: n, name: c, uid: u}";
    let phase = |volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>| {
        let plan = reclaim::plan(volume, claim);
        (plan.phase.map_or("", |(phase, _)| phase), plan.delete, plan.say.map_or("", |(_, reason, _)| reason))
    };
    let claim = a_claim("", ", volumeName: v", "Bound");
    assert_eq!(phase(&a_volume("", "", "Pending"), None), ("Available", false, ""));
    assert_eq!(
        phase(&a_volume("", ", claimRef: {namespace: n, name: c}", "Pending"), None),
        ("Available", false, "")
    );
    assert_eq!(phase(&a_volume("", owned, "Bound"), Some(&claim)), ("Bound", false, ""));
    let kept = a_volume("", &format!("{owned}, persistentVolumeReclaimPolicy: Retain"), "Bound");
    assert_eq!(phase(&kept, None), ("Released", false, ""));
    let again = PersistentVolumeClaim {
        metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            uid: Some("new".to_owned()),
            ..claim.metadata.clone()
        },
        ..claim.clone()
    };
    assert_eq!(phase(&kept, Some(&again)), ("Released", false, ""));
    let delete = format!("{owned}, persistentVolumeReclaimPolicy: Delete");
    let made = |by: &str| {
        a_volume(&format!(", annotations: {{pv.kubernetes.io/provisioned-by: {by}}}"), &delete, "Bound")
    };
    assert_eq!(phase(&made("skiff.dev/local-path"), None), ("Released", true, ""));
    assert_eq!(phase(&made("example.com/p"), None), ("Released", false, ""));
    assert_eq!(phase(&a_volume("", &delete, "Bound"), None), ("Failed", false, "VolumeFailedDelete"));
    let recycle = a_volume("", &format!("{owned}, persistentVolumeReclaimPolicy: Recycle"), "Bound");
    assert_eq!(phase(&recycle, None), ("Failed", false, "VolumeFailedRecycle"));
}

#[test]
fn a_volume_that_its_claim_did_not_take_is_free_again() {
    let claim = a_claim("", ", volumeName: other", "Bound");
    let owned = ", claimRef: {namespace: n, name: c, uid: u}";
    let chosen = a_volume(", annotations: {pv.kubernetes.io/bound-by-controller: 'yes'}", owned, "Bound");
    let free = reclaim::plan(&chosen, Some(&claim)).unbound.unwrap();
    assert!(free.spec.unwrap().claim_ref.is_none());
    let reserved = reclaim::plan(&a_volume("", owned, "Bound"), Some(&claim)).unbound.unwrap();
    let reference = reserved.spec.unwrap().claim_ref.unwrap();
    assert_eq!((reference.name.as_deref(), reference.uid), (Some("c"), None));
}
