//! Pods that take more of the node's disk than they said they would: an emptyDir, a container, the whole pod; pure.

use k8s_openapi::api::core::v1::{Pod, Volume};
use skiff_api::quantity::Quantity;

use super::usage::PodUse;
use crate::pod::all_containers;

const STORAGE: &str = "ephemeral-storage";

/// What has to be measured of a pod to hold it to its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Volumes with a limit.
    Volumes,
    /// Everything that is on the disk.
    Everything,
}

/// The limit of an emptyDir on the disk; one in memory cannot grow beyond its own.
pub(crate) fn of_volume(volume: &Volume) -> Option<Quantity> {
    let source = volume
        .empty_dir
        .as_ref()
        .filter(|source| source.medium.as_deref().unwrap_or_default() != "Memory")?;
    let limit = Quantity::try_from(source.size_limit.as_ref()?).ok()?;
    (limit > Quantity::ZERO).then_some(limit)
}

fn of_containers(pod: &Pod) -> impl Iterator<Item = (&str, Quantity)> {
    let containers = pod.spec.iter().flat_map(all_containers);
    containers.filter_map(|container| {
        let limit = container.resources.as_ref()?.limits.as_ref()?.get(STORAGE)?;
        let limit = Quantity::try_from(limit).ok().filter(|limit| !limit.is_zero())?;
        Some((container.name.as_str(), limit))
    })
}

/// What of the pod is limited, if anything is.
pub(crate) fn scope(pod: &Pod) -> Option<Scope> {
    if of_containers(pod).next().is_some() {
        return Some(Scope::Everything);
    }
    let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.any(|volume| of_volume(volume).is_some()).then_some(Scope::Volumes)
}

/// Why the pod must go, if it uses more than it may. `apart`: what is written over images is on a disk of its own.
pub(crate) fn exceeded(pod: &Pod, uses: &PodUse, apart: bool) -> Option<String> {
    let bytes = |value: u64| Quantity::bytes(i64::try_from(value).unwrap_or(i64::MAX));
    let spec = pod.spec.as_ref()?;
    for volume in spec.volumes.iter().flatten() {
        let (Some(limit), Some(used)) = (of_volume(volume), uses.volumes.get(&volume.name)) else { continue };
        if bytes(used.bytes) > limit {
            return Some(format!(
                "Usage of EmptyDir volume {:?} exceeds the limit \"{limit}\". ",
                volume.name
            ));
        }
    }
    let plain = |name: &str| spec.containers.iter().any(|container| container.name == name);
    let total = of_pod(pod)?;
    if bytes(uses.storage().bytes) > total {
        return Some(format!(
            "Pod ephemeral local storage usage exceeds the total limit of containers {total}. "
        ));
    }
    of_containers(pod).filter(|(name, _)| plain(name)).find_map(|(name, limit)| {
        let used = uses.containers.get(name)?;
        let root = if apart { 0 } else { used.root.bytes };
        (bytes(used.logs.bytes.saturating_add(root)) > limit)
            .then(|| format!("Container {name} exceeded its local ephemeral storage limit \"{limit}\". "))
    })
}

/// What the containers may take together, or the greatest init container alone, if any says how much.
fn of_pod(pod: &Pod) -> Option<Quantity> {
    let spec = pod.spec.as_ref()?;
    let limit = |name: &str| of_containers(pod).find(|(known, _)| *known == name).map(|(_, limit)| limit);
    let mains: Quantity = spec.containers.iter().filter_map(|one| limit(&one.name)).sum();
    let init = spec.init_containers.iter().flatten();
    let (sidecars, plain): (Vec<_>, Vec<_>) = init.partition(|one| crate::pod::is_sidecar(one));
    let beside: Quantity = sidecars.iter().filter_map(|one| limit(&one.name)).sum();
    let most = plain.iter().filter_map(|one| limit(&one.name)).fold(mains + beside, Quantity::max);
    (!most.is_zero()).then_some(most)
}
