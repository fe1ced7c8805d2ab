//! `nodeSelector` and node affinity: required ones filter, preferred ones score.

use k8s_openapi::api::core::v1::{PodSpec, PreferredSchedulingTerm};
use skiff_api::pod::affinity;

use crate::plugin::{Event, Judge, Plugin, Refusal, scale};
use crate::pod::Pending;
use crate::snapshot::{Node, Snapshot};

pub(crate) const PLUGIN: NodeAffinity = NodeAffinity;

pub(crate) struct NodeAffinity;

struct Picky<'a> {
    spec: &'a PodSpec,
    preferred: &'a [PreferredSchedulingTerm],
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn begin<'a>(&self, pod: &'a Pending, _: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        let spec = pod.spec();
        let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let selects = spec.node_selector.as_ref().is_some_and(|selector| !selector.is_empty());
        if affinity.is_none() && !selects {
            return None;
        }
        let preferred =
            affinity.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref());
        Some(Box::new(Picky { spec, preferred: preferred.unwrap_or_default() }))
    }

    fn helps(&self, event: Event) -> bool {
        matches!(event, Event::NodeAdded | Event::NodeLabels)
    }
}

impl Judge for Picky<'_> {
    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        if node.as_target(|target| affinity::allows(self.spec, target)) {
            return Ok(());
        }
        Err(Refusal::unsuitable("node(s) didn't match Pod's node affinity/selector"))
    }

    fn prepare(&mut self, _: &[&Node]) -> bool {
        !self.preferred.is_empty()
    }

    fn score(&self, node: &Node) -> i64 {
        node.as_target(|target| affinity::preference(self.preferred, target))
    }

    fn normalise(&self, _: &[&Node], scores: &mut [i64]) {
        scale(scores);
    }
}
