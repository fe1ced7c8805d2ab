//! What is to be done about one volume; pure.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use skiff_api::volume::{self, LOCAL_PATH, PROVISIONED_BY};
use skiff_client::events::EventKind;

use super::claim::was_chosen;
use super::{BOUND_BY_CONTROLLER, News};

/// What to do.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) phase: Option<(&'static str, Option<String>)>,
    pub(super) say: Option<News>,
    /// The volume without the binding that came to nothing.
    pub(super) unbound: Option<PersistentVolume>,
    /// It was made for a claim that is gone, and goes with it.
    pub(super) delete: bool,
}

impl Plan {
    fn phase(phase: &'static str) -> Self {
        Self { phase: Some((phase, None)), ..Self::default() }
    }
}

/// What to do about the volume; `claim`: the one of the name that the volume is for.
pub(super) fn plan(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> Plan {
    let Some(reference) = volume::claim_ref(volume) else { return Plan::phase("Available") };
    let Some(uid) = reference.uid.as_deref().filter(|uid| !uid.is_empty()) else {
        // Reserved; its claim binds it when it comes.
        return Plan::phase("Available");
    };
    let Some(claim) = claim.filter(|claim| claim.metadata.uid.as_deref() == Some(uid)) else {
        return released(volume);
    };
    match volume::volume_name(claim) {
        // The claim's own turn completes it.
        None => mismatch(volume, claim)
            .map_or_else(Plan::default, |say| Plan { say: Some(say), ..Plan::default() }),
        Some(name) if Some(name) == volume.metadata.name.as_deref() => Plan::phase("Bound"),
        // The claim took another.
        Some(_) if provisioner(volume).is_some() && policy(volume) == "Delete" => released(volume),
        Some(_) => Plan { unbound: Some(unbound(volume)), ..Plan::default() },
    }
}

fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<News> {
    let mode = |mode: Option<&String>| mode.map_or("Filesystem", String::as_str).to_owned();
    let theirs = mode(claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref()));
    if mode(volume.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref())) == theirs {
        return None;
    }
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let message = format!(
        "Cannot bind PersistentVolume to requested PersistentVolumeClaim {name:?} due to incompatible volumeMode."
    );
    Some((EventKind::Warning, "VolumeMismatch", message))
}

fn policy(volume: &PersistentVolume) -> &str {
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    policy.unwrap_or("Retain")
}

fn provisioner(volume: &PersistentVolume) -> Option<&str> {
    volume::annotation(volume.metadata.annotations.as_ref(), PROVISIONED_BY)
}

/// The claim is gone: what the policy says.
fn released(volume: &PersistentVolume) -> Plan {
    let failed = |reason: &'static str, message: String| {
        // Said once; it does not become better by trying.
        let known = volume.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Failed"));
        let say = (!known).then(|| (EventKind::Warning, reason, message.clone()));
        Plan { phase: Some(("Failed", Some(message))), say, ..Plan::default() }
    };
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    match (policy(volume), provisioner(volume)) {
        ("Delete", Some(LOCAL_PATH)) => Plan { delete: true, ..Plan::phase("Released") },
        // Whoever made it removes it.
        ("Delete", Some(_)) => Plan::phase("Released"),
        ("Delete", None) => {
            let message = format!(
                "error getting deleter volume plugin for volume {name:?}: no deletable volume plugin matched"
            );
            failed("VolumeFailedDelete", message)
        }
        ("Recycle", _) => {
            failed("VolumeFailedRecycle", "No recycler plugin found for the volume!".to_owned())
        }
        _ => Plan::phase("Released"),
    }
}

/// Free again: for everybody if it was our choice, for the claim it was reserved for if not.
fn unbound(volume: &PersistentVolume) -> PersistentVolume {
    let mut free = volume.clone();
    let spec = free.spec.get_or_insert_default();
    if was_chosen(volume) {
        spec.claim_ref = None;
        free.metadata.annotations.get_or_insert_default().remove(BOUND_BY_CONTROLLER);
    } else if let Some(reference) = &mut spec.claim_ref {
        reference.uid = None;
    }
    free
}
