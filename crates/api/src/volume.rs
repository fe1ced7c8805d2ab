//! Arithmetic on claims and volumes that controllers, scheduler and kubelet share: which volume suits which claim.
//!
//! Follows upstream's `component-helpers/storage/volume`. Pure: whoever looks for a volume brings those there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::Resource as _;
use k8s_openapi::api::core::v1::{
    ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PersistentVolumeSpec, Pod, Volume,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::LabelSelector;
use crate::pod::affinity::{Target, matches};
use crate::quantity::Quantity;

/// On a claim: it has been bound once; if its volume is gone now, its data is.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On a claim or volume: the binding was our choice, not the user's, so that it may be undone.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a volume: who made it.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On a claim: who is to make its volume.
pub const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// On a claim: as [`PROVISIONER`], for older provisioners.
pub const PROVISIONER_BETA: &str = "volume.beta.kubernetes.io/storage-provisioner";
/// On a claim: the node where its first user will run.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Where a claim's class stood before it had a field.
pub const CLASS_BETA: &str = "volume.beta.kubernetes.io/storage-class";
/// Keeps a claim while a pod uses it.
pub const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Keeps a volume while it is bound.
pub const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
/// Our own provisioner: folders on nodes. Also the finalizer by which a node clears a folder before its volume goes.
pub const LOCAL_PATH: &str = "skiff.dev/local-path";
/// On a node: the folder where its local volumes are.
pub const LOCAL_PATH_ROOT: &str = "skiff.dev/local-path-root";
/// Label of a volume that is a folder on the node of this name.
pub const LOCAL_PATH_NODE: &str = "skiff.dev/node";

/// A value among annotations.
pub fn annotation<'a>(annotations: Option<&'a BTreeMap<String, String>>, key: &str) -> Option<&'a str> {
    annotations?.get(key).map(String::as_str)
}

/// A claim's annotation.
pub fn note<'a>(claim: &'a PersistentVolumeClaim, key: &str) -> Option<&'a str> {
    annotation(claim.metadata.annotations.as_ref(), key)
}

/// The class a claim asks for: absent if it says nothing, empty if it wants none.
pub fn class(claim: &PersistentVolumeClaim) -> Option<&str> {
    note(claim, CLASS_BETA).or_else(|| claim.spec.as_ref()?.storage_class_name.as_deref())
}

/// The class a volume is of; empty if of none.
pub fn volume_class(volume: &PersistentVolume) -> &str {
    let beta = annotation(volume.metadata.annotations.as_ref(), CLASS_BETA);
    beta.or_else(|| volume.spec.as_ref()?.storage_class_name.as_deref()).unwrap_or_default()
}

/// The volume a claim names; none if it names none.
pub fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}

/// The claim a volume is for.
pub fn claim_ref(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// Whether volumes of the class are made, and claims bound, only when a pod's node is known.
pub fn waits_for_consumer(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

/// The class that claims without one get: of several the newest, then by name.
pub fn default_class<'a>(
    classes: impl Iterator<Item = &'a Arc<StorageClass>>,
) -> Option<&'a Arc<StorageClass>> {
    const MARKS: [&str; 2] =
        ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
    let marked = |class: &&Arc<StorageClass>| {
        MARKS.iter().any(|mark| annotation(class.metadata.annotations.as_ref(), mark) == Some("true"))
    };
    let age = |class: &Arc<StorageClass>| class.metadata.creation_timestamp.as_ref().map(|time| time.0);
    classes
        .filter(marked)
        .min_by(|a, b| age(b).cmp(&age(a)).then_with(|| a.metadata.name.cmp(&b.metadata.name)))
}

/// Whether the volume is for this claim: bound to it, or reserved for a claim of its name.
pub fn is_bound_to(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(reference) = claim_ref(volume) else { return false };
    let uid = reference.uid.as_deref().unwrap_or_default();
    reference.name == claim.metadata.name
        && reference.namespace == claim.metadata.namespace
        && (uid.is_empty() || Some(uid) == claim.metadata.uid.as_deref())
}

/// An amount of storage; nothing if none is given.
pub fn storage(amounts: Option<&BTreeMap<String, Text>>) -> Quantity {
    let text = amounts.and_then(|amounts| amounts.get("storage"));
    text.and_then(|text| Quantity::parse(&text.0).ok()).unwrap_or(Quantity::units(0))
}

/// How much a claim asks for.
pub fn requested(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    storage(resources.and_then(|resources| resources.requests.as_ref()))
}

/// How much a volume has.
pub fn capacity(volume: &PersistentVolume) -> Quantity {
    storage(volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()))
}

fn mode(mode: Option<&String>) -> &str {
    mode.map_or("Filesystem", String::as_str)
}

fn offers_modes(volume: &PersistentVolumeSpec, claim: &PersistentVolumeClaimSpec) -> bool {
    let offered = volume.access_modes.as_deref().unwrap_or_default();
    claim.access_modes.iter().flatten().all(|wanted| offered.contains(wanted))
}

fn attributes(class: Option<&String>) -> &str {
    class.map_or("", String::as_str)
}

/// Whether a volume that a claim names will do.
///
/// # Errors
/// Why not, in upstream's words.
pub fn suits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Result<(), &'static str> {
    let (Some(offer), Some(wish)) = (&volume.spec, &claim.spec) else {
        return Err("requested PV is too small");
    };
    if capacity(volume) < requested(claim) {
        return Err("requested PV is too small");
    }
    if volume_class(volume) != class(claim).unwrap_or_default() {
        return Err("storageClassName does not match");
    }
    if attributes(offer.volume_attributes_class_name.as_ref())
        != attributes(wish.volume_attributes_class_name.as_ref())
    {
        return Err("volumeAttributesClassName does not match");
    }
    if mode(offer.volume_mode.as_ref()) != mode(wish.volume_mode.as_ref()) {
        return Err("incompatible volumeMode");
    }
    if !offers_modes(offer, wish) {
        return Err("incompatible accessMode");
    }
    Ok(())
}

/// Whether the volume can be reached from a node.
pub fn reaches(volume: &PersistentVolume, node: Target<'_>) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    affinity.and_then(|affinity| affinity.required.as_ref()).is_none_or(|required| matches(required, node))
}

/// The volume for a claim: the one reserved for it, else the smallest that will do. `delayed`: only a reserved one;
/// `node`: only one that can be reached from there, whatever `delayed` says; `taken`: volumes promised to others.
pub fn best_match<'a>(
    volumes: &'a [Arc<PersistentVolume>],
    claim: &PersistentVolumeClaim,
    delayed: bool,
    node: Option<Target<'_>>,
    taken: &dyn Fn(&str) -> bool,
) -> Option<&'a Arc<PersistentVolume>> {
    let wish = claim.spec.as_ref()?;
    let selector = match &wish.selector {
        Some(selector) => Some(LabelSelector::of(selector).ok()?),
        None => None,
    };
    let nothing = BTreeMap::new();
    let mut best: Option<&Arc<PersistentVolume>> = None;
    for volume in volumes {
        let Some(offer) = &volume.spec else { continue };
        if taken(volume.metadata.name.as_deref().unwrap_or_default())
            || volume.metadata.deletion_timestamp.is_some()
            || (claim_ref(volume).is_some() && !is_bound_to(volume, claim))
            || !offers_modes(offer, wish)
            || mode(offer.volume_mode.as_ref()) != mode(wish.volume_mode.as_ref())
            || capacity(volume) < requested(claim)
        {
            continue;
        }
        let reached = node.is_none_or(|node| reaches(volume, node));
        if is_bound_to(volume, claim) {
            // Reserved for this very claim; nothing else will do.
            return reached.then_some(volume);
        }
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        let labels = volume.metadata.labels.as_ref().unwrap_or(&nothing);
        let fits = (node.is_some() || !delayed)
            && reached
            && phase == Some("Available")
            && selector.as_ref().is_none_or(|selector| selector.matches(labels))
            && suits(volume, claim).is_ok();
        if fits && best.is_none_or(|best| capacity(volume) < capacity(best)) {
            best = Some(volume);
        }
    }
    best
}

/// The volume as it names its claim, with a mark if that was not its owner's choice.
pub fn promised(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> PersistentVolume {
    let mut bound = volume.clone();
    let meta = &claim.metadata;
    if claim_ref(volume).and_then(|held| held.uid.as_ref()).is_some_and(|uid| Some(uid) == meta.uid.as_ref())
    {
        return bound;
    }
    // Reserved by a user or not: only what we chose we may undo.
    if !is_bound_to(volume, claim) {
        let notes = bound.metadata.annotations.get_or_insert_default();
        notes.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
    }
    bound.spec.get_or_insert_default().claim_ref = Some(ObjectReference {
        api_version: Some(PersistentVolumeClaim::API_VERSION.to_owned()),
        kind: Some(PersistentVolumeClaim::KIND.to_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    });
    bound
}

/// The claim behind one of a pod's volumes, and whether it was made for the pod alone.
pub fn claim_name(pod: &Pod, volume: &Volume) -> Option<(String, bool)> {
    if let Some(source) = &volume.persistent_volume_claim {
        return Some((source.claim_name.clone(), false));
    }
    volume.ephemeral.as_ref()?;
    Some((format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name), true))
}

/// The claims behind a pod's volumes, each with whether it was made for the pod alone.
pub fn claims(pod: &Pod) -> impl Iterator<Item = (String, bool)> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| claim_name(pod, volume))
}

/// Whether the claim was made for this pod.
pub fn is_made_for(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    let owners = claim.metadata.owner_references.iter().flatten();
    let mut managers = owners.filter(|owner| owner.controller == Some(true));
    claim.metadata.namespace == pod.metadata.namespace
        && managers.any(|owner| Some(owner.uid.as_str()) == pod.metadata.uid.as_deref())
}

/// Whether a claim is bound, with everything written that belongs to it.
pub fn is_fully_bound(claim: &PersistentVolumeClaim) -> bool {
    volume_name(claim).is_some() && note(claim, BIND_COMPLETED).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<K: serde::de::DeserializeOwned>(yaml: &str) -> K {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn volume(name: &str, size: &str, rest: &str) -> Arc<PersistentVolume> {
        Arc::new(of(&format!(
            "{{metadata: {{name: {name}, labels: {{l: {name}}}}}, status: {{phase: Available}}, spec: {{capacity: {{storage: {size}}}, \
             accessModes: [ReadWriteOnce, ReadOnlyMany]{rest}}}}}"
        )))
    }

    fn claim(rest: &str) -> PersistentVolumeClaim {
        of(&format!(
            "{{metadata: {{name: c, namespace: n, uid: u}}, spec: {{accessModes: [ReadWriteOnce], \
             resources: {{requests: {{storage: 2Gi}}}}{rest}}}}}"
        ))
    }

    #[test]
    fn the_smallest_that_will_do_is_taken_unless_one_is_reserved() {
        let volumes = [
            volume("huge", "9Gi", ""),
            volume("small", "1Gi", ""),
            volume("right", "3Gi", ""),
            volume("other", "2Gi", ", storageClassName: fast"),
            volume("device", "2Gi", ", volumeMode: Block"),
            volume("taken", "2Gi", ", claimRef: {name: d, namespace: n}"),
        ];
        let pick = |volumes: &[Arc<PersistentVolume>], claim: &PersistentVolumeClaim, delayed| {
            best_match(volumes, claim, delayed, None, &|_| false)?.metadata.name.clone()
        };
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(pick(&volumes, &claim(""), false), name("right"));
        assert_eq!(pick(&volumes, &claim(", storageClassName: fast"), false), name("other"));
        assert_eq!(pick(&volumes, &claim(", volumeMode: Block"), false), name("device"));
        assert_eq!(pick(&volumes, &claim(", selector: {matchLabels: {l: huge}}"), false), name("huge"));
        assert_eq!(pick(&volumes, &claim(", storageClassName: none"), false), None);
        assert_eq!(pick(&volumes, &claim(""), true), None);
        let mut reserved = volumes.to_vec();
        reserved.push(volume("mine", "9Gi", ", claimRef: {name: c, namespace: n}"));
        assert_eq!(pick(&reserved, &claim(""), true), name("mine"));
    }

    #[test]
    fn a_volume_that_is_named_must_suit() {
        let refusals = [
            (volume("v", "1Gi", ""), "requested PV is too small"),
            (volume("v", "2Gi", ", storageClassName: fast"), "storageClassName does not match"),
            (volume("v", "2Gi", ", volumeMode: Block"), "incompatible volumeMode"),
        ];
        for (volume, why) in refusals {
            assert_eq!(suits(&volume, &claim("")), Err(why));
        }
        let mut many = claim("");
        many.spec.get_or_insert_default().access_modes = Some(vec!["ReadWriteMany".to_owned()]);
        assert_eq!(suits(&volume("v", "2Gi", ""), &many), Err("incompatible accessMode"));
        assert_eq!(suits(&volume("v", "2Gi", ""), &claim("")), Ok(()));
    }
}
