//! What is said of a pod that goes because its node is short, in upstream's words; pure.

use skiff_api::pod::requests;
use skiff_api::quantity::Quantity;

use super::assess::Shortage;
use super::rank::Candidate;
use super::signal::Resource;
use super::usage::ContainerUse;
use crate::pod::all_containers;

fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn amount(resource: Resource, value: u64) -> Quantity {
    match resource {
        Resource::Memory | Resource::Storage => Quantity::bytes(int(value)),
        Resource::Inodes | Resource::Pids => Quantity::units(int(value)),
    }
}

/// Why this pod went: what was short, and which of its containers use more of it than they asked for.
pub(crate) fn low(shortage: &Shortage, candidate: &Candidate<'_>) -> String {
    let resource = shortage.threshold.signal.resource();
    let name = resource.as_str();
    let mut message = format!(
        "The node was low on resource: {name}. Threshold quantity: {}, available: {}. ",
        amount(resource, shortage.least),
        amount(resource, shortage.available)
    );
    let (Some(uses), Some(spec)) = (candidate.usage, &candidate.pod.spec) else { return message };
    let asked_by_pod = spec.resources.as_ref().and_then(|whole| whole.requests.as_ref()?.get(name));
    if let (Resource::Memory, Some(asked)) = (resource, asked_by_pod) {
        let used = amount(resource, uses.memory());
        let pod = crate::pod::name(candidate.pod);
        message += &format!(
            "Pod {pod} was using {used}, request is {}, has larger consumption of {name}. ",
            text(asked)
        );
    }
    for (container, used) in &uses.containers {
        let Some(container) = all_containers(spec).find(|known| known.name == *container) else { continue };
        let Some(used) = used_by(resource, used) else { continue };
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let asked = requests.and_then(|requests| requests.get(name));
        if int(used) > asked.map_or(0, requests::whole) {
            let asked = asked.map_or_else(|| "0".to_owned(), text);
            message += &format!(
                "Container {} was using {}, request is {asked}, has larger consumption of {name}. ",
                container.name,
                amount(resource, used)
            );
        }
    }
    message
}

/// A quantity in its canonical form.
fn text(quantity: &k8s_openapi::apimachinery::pkg::api::resource::Quantity) -> String {
    Quantity::try_from(quantity).map_or_else(|_| quantity.0.clone(), |quantity| quantity.to_string())
}

/// What one container uses, where that is told by container.
fn used_by(resource: Resource, used: &ContainerUse) -> Option<u64> {
    match resource {
        Resource::Memory => Some(used.memory),
        Resource::Storage => Some(used.root.bytes.saturating_add(used.logs.bytes)),
        Resource::Inodes | Resource::Pids => None,
    }
}
