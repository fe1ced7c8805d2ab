//! PodTopologyLabels: a pod that is bound carries the zone and region of its node, for what runs in it to read.

use k8s_openapi::api::core::v1::Pod;
use skiff_api::ApiError;
use skiff_api::pod::node_name;
use skiff_store::Key;

use super::{Attempt, Plugin};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { mutate, ..Plugin::named("PodTopologyLabels") };

const COPIED: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    let Some(pod) = draft.as_any_mut().downcast_mut::<Pod>() else { return Ok(()) };
    // Bound by the scheduler, or made where it is to run.
    let placed = attempt.scope.subresource == "binding" || attempt.creates();
    let Some(node) = node_name(pod).filter(|_| placed) else { return Ok(()) };
    let Some(node) = attempt.scope.api.store.get(&Key::new("nodes", node)) else { return Ok(()) };
    let labels = &node.object().meta().labels;
    for key in COPIED {
        if let Some(value) = labels.get(key) {
            pod.metadata.labels.get_or_insert_default().insert(key.to_owned(), value.to_string());
        }
    }
    Ok(())
}
