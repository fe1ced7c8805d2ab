//! What is to be done about one claim; pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus,
};
use k8s_openapi::api::storage::v1::StorageClass;
use skiff_api::volume::{self, SELECTED_NODE};
use skiff_client::events::EventKind;

use super::{BIND_COMPLETED, BOUND_BY_CONTROLLER, News, is_ours};

/// What is known about a claim and its surroundings.
pub(super) struct Scene<'a> {
    pub(super) claim: &'a PersistentVolumeClaim,
    /// The volume that the claim names, if there is one of that name.
    pub(super) named: Option<Arc<PersistentVolume>>,
    /// Volumes of the claim's class.
    pub(super) candidates: Vec<Arc<PersistentVolume>>,
    pub(super) class: Option<&'a Arc<StorageClass>>,
    /// The default class.
    pub(super) default: Option<&'a str>,
    /// A pod that uses the claim.
    pub(super) user: Option<&'a str>,
}

/// What to do.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Fill in the default class, nothing else.
    pub(super) set_class: Option<String>,
    pub(super) say: Option<News>,
    /// Ask this provisioner for a volume.
    pub(super) provision: Option<String>,
    pub(super) bind: Option<Arc<PersistentVolume>>,
    pub(super) phase: Option<&'static str>,
}

impl Plan {
    fn pending() -> Self {
        Self { phase: Some("Pending"), ..Self::default() }
    }

    fn saying(mut self, kind: EventKind, reason: &'static str, message: impl Into<String>) -> Self {
        self.say = Some((kind, reason, message.into()));
        self
    }

    fn bind(volume: &Arc<PersistentVolume>) -> Self {
        Self { bind: Some(Arc::clone(volume)), ..Self::default() }
    }
}

/// What to do about the claim.
pub(super) fn plan(scene: &Scene<'_>) -> Plan {
    let claim = scene.claim;
    if volume::note(claim, BIND_COMPLETED).is_some() {
        return of_bound(scene);
    }
    if claim.metadata.deletion_timestamp.is_some() && volume::volume_name(claim).is_none() {
        return Plan::default();
    }
    let Some(name) = volume::volume_name(claim) else { return of_free(scene) };
    let Some(named) = &scene.named else { return Plan::pending() };
    match volume::claim_ref(named) {
        None => match volume::suits(named, claim) {
            Ok(()) => Plan::bind(named),
            Err(why) => {
                let message = format!("Cannot bind to requested volume {name:?}: {why}");
                Plan::pending().saying(EventKind::Warning, "VolumeMismatch", message)
            }
        },
        Some(_) if volume::is_bound_to(named, claim) => Plan::bind(named),
        Some(_) => {
            let message = format!("volume {name:?} already bound to a different claim.");
            Plan::pending().saying(EventKind::Warning, "FailedBinding", message)
        }
    }
}

fn of_bound(scene: &Scene<'_>) -> Plan {
    let lost = |reason, message: &str| {
        // Said once: a claim that is lost already stays so in silence.
        let known = scene.claim.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Lost"));
        let plan = Plan { phase: Some("Lost"), ..Plan::default() };
        if known { plan } else { plan.saying(EventKind::Warning, reason, message) }
    };
    if volume::volume_name(scene.claim).is_none() {
        let message = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
        return lost("ClaimLost", message);
    }
    let Some(named) = &scene.named else {
        return lost("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
    };
    let uid = |reference: &ObjectReference| reference.uid.clone().unwrap_or_default();
    match volume::claim_ref(named).map(uid) {
        None => Plan::bind(named),
        Some(uid) if Some(&uid) == scene.claim.metadata.uid.as_ref() => Plan::bind(named),
        Some(_) => {
            let message = "Two claims are bound to the same volume, this one is bound incorrectly";
            lost("ClaimMisbound", message)
        }
    }
}

fn of_free(scene: &Scene<'_>) -> Plan {
    let claim = scene.claim;
    if let (None, Some(class)) = (volume::class(claim), scene.default) {
        return Plan { set_class: Some(class.to_owned()), ..Plan::default() };
    }
    let delayed = scene.class.is_some_and(|class| volume::waits_for_consumer(class))
        && volume::note(claim, SELECTED_NODE).is_none();
    // A volume that is being made for a chosen node will name the claim itself.
    let reserved_only = scene.class.is_some_and(|class| volume::waits_for_consumer(class));
    if let Some(found) = volume::best_match(&scene.candidates, claim, reserved_only, None, &|_| false) {
        return Plan::bind(found);
    }
    if delayed {
        return match scene.user {
            Some(pod) => {
                let message = format!("waiting for pod {pod} to be scheduled");
                Plan::pending().saying(EventKind::Normal, "WaitForPodScheduled", message)
            }
            None => {
                let message = "waiting for first consumer to be created before binding";
                Plan::pending().saying(EventKind::Normal, "WaitForFirstConsumer", message)
            }
        };
    }
    let wanted = volume::class(claim).unwrap_or_default();
    if wanted.is_empty() {
        let message = "no persistent volumes available for this claim and no storage class is set";
        return Plan::pending().saying(EventKind::Normal, "FailedBinding", message);
    }
    let Some(class) = scene.class else {
        let message = format!("storageclass.storage.k8s.io {wanted:?} not found");
        return Plan::pending().saying(EventKind::Warning, "ProvisioningFailed", message);
    };
    let provisioner = class.provisioner.clone();
    if provisioner.starts_with("kubernetes.io/") {
        let message = format!("no volume plugin matched name: {provisioner}");
        return Plan::pending().saying(EventKind::Warning, "ProvisioningFailed", message);
    }
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system \
         administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
    );
    let plan = Plan::pending().saying(EventKind::Normal, "ExternalProvisioning", message);
    Plan { provision: Some(provisioner), ..plan }
}

/// The claim as it names its volume.
pub(super) fn bound_claim(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> PersistentVolumeClaim {
    let mut bound = claim.clone();
    let notes = bound.metadata.annotations.get_or_insert_default();
    if volume::volume_name(claim) != volume.metadata.name.as_deref() {
        notes.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
    }
    notes.entry(BIND_COMPLETED.to_owned()).or_insert_with(|| "yes".to_owned());
    bound.spec.get_or_insert_default().volume_name.clone_from(&volume.metadata.name);
    bound
}

/// The status of a bound claim. Its size is told once; afterwards only who makes it grow changes it.
pub(super) fn bound_status(
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
) -> PersistentVolumeClaimStatus {
    let old = claim.status.clone().unwrap_or_default();
    let offer = volume.spec.clone().unwrap_or_default();
    let first = old.phase.as_deref() != Some("Bound") || old.capacity.is_none();
    PersistentVolumeClaimStatus {
        phase: Some("Bound".to_owned()),
        access_modes: offer.access_modes,
        capacity: if first { offer.capacity } else { old.capacity.clone() },
        current_volume_attributes_class_name: offer.volume_attributes_class_name,
        ..old
    }
}

/// Whether the volume of a claim was our choice.
pub(super) fn was_chosen(volume: &PersistentVolume) -> bool {
    is_ours(volume.metadata.annotations.as_ref())
}
