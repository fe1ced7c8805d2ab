//! `nodeSelector` and node affinity: required ones filter, preferred ones score. A profile may add some to all its pods.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{NodeAffinity as Affinity, NodeSelector, PodSpec, PreferredSchedulingTerm};
use serde::Deserialize;
use serde_json::Value;
use skiff_api::Errors;
use skiff_api::pod::affinity;

use crate::config;
use crate::event::Hope;
use crate::plugin::{Judge, Plugin, Refusal, Share, scale};
use crate::pod::Pending;
use crate::snapshot::{Node, Snapshot};

#[derive(Default)]
pub(crate) struct NodeAffinity {
    required: Option<Arc<NodeSelector>>,
    preferred: Arc<Vec<PreferredSchedulingTerm>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Args {
    added_affinity: Option<Affinity>,
}

struct Picky<'a> {
    spec: &'a PodSpec,
    preferred: &'a [PreferredSchedulingTerm],
    added: Option<Arc<NodeSelector>>,
    added_preferred: Arc<Vec<PreferredSchedulingTerm>>,
}

/// The plugin as a profile wants it.
pub(crate) fn configured(args: &Value, errors: &mut Errors) -> Arc<dyn Plugin> {
    let args: Args = config::args(args, errors);
    let added = args.added_affinity.unwrap_or_default();
    errors.at("addedAffinity", |errors| {
        let required = added.required_during_scheduling_ignored_during_execution.as_ref();
        if required.is_some_and(|required| required.node_selector_terms.is_empty()) {
            let field = "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
            errors.required(field, "must have at least one node selector term");
        }
    });
    Arc::new(NodeAffinity {
        required: added.required_during_scheduling_ignored_during_execution.map(Arc::new),
        preferred: Arc::new(added.preferred_during_scheduling_ignored_during_execution.unwrap_or_default()),
    })
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn begin<'a>(&self, pod: &'a Pending, _: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        let spec = pod.spec();
        let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let selects = spec.node_selector.as_ref().is_some_and(|selector| !selector.is_empty());
        if affinity.is_none() && !selects && self.required.is_none() && self.preferred.is_empty() {
            return None;
        }
        let preferred =
            affinity.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref());
        Some(Box::new(Picky {
            spec,
            preferred: preferred.unwrap_or_default(),
            added: self.required.clone(),
            added_preferred: Arc::clone(&self.preferred),
        }))
    }

    fn hope(&self, pod: &Pending, _: &Snapshot) -> Hope {
        let added = self.required.clone();
        let spec = pod.spec();
        // Only what it selects nodes by: a whole pod is too much to keep.
        let spec = PodSpec {
            node_selector: spec.node_selector.clone(),
            affinity: spec.affinity.clone(),
            ..PodSpec::default()
        };
        Hope::new(move |event| {
            event.makes_right(|node| {
                added.as_ref().is_none_or(|added| node.as_target(|target| affinity::matches(added, target)))
                    && node.as_target(|target| affinity::allows(&spec, target))
            })
        })
    }
}

impl Picky<'_> {
    fn compares(&self) -> bool {
        !self.preferred.is_empty() || !self.added_preferred.is_empty()
    }
}

impl Judge for Picky<'_> {
    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        let added = self.added.as_ref();
        if !added.is_none_or(|added| node.as_target(|target| affinity::matches(added, target))) {
            return Err(Refusal::unsuitable("node(s) didn't match scheduler-enforced node affinity"));
        }
        if node.as_target(|target| affinity::allows(self.spec, target)) {
            return Ok(());
        }
        Err(Refusal::unsuitable("node(s) didn't match Pod's node affinity/selector"))
    }

    /// What the profile adds is the same for all pods of the profile.
    fn share(&self, mut key: &mut dyn Hasher) -> Share {
        self.spec.node_selector.hash(&mut key);
        let affinity = self.spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        affinity.map(|affinity| serde_json::to_string(affinity).unwrap_or_default()).hash(&mut key);
        if self.compares() { Share::Refusals } else { Share::Everything }
    }

    fn prepare(&mut self, _: &[&Node]) -> bool {
        self.compares()
    }

    fn score(&self, node: &Node) -> i64 {
        let of =
            |terms: &[PreferredSchedulingTerm]| node.as_target(|target| affinity::preference(terms, target));
        of(self.preferred) + of(&self.added_preferred)
    }

    fn normalise(&self, _: &[&Node], scores: &mut [i64]) {
        scale(scores);
    }
}
