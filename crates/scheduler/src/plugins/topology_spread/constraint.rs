//! One constraint, ready to be counted.

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use skiff_api::LabelSelector;
use skiff_api::selector::{Operator, Requirement};

use crate::pod::{Pending, Scope};
use crate::snapshot::{DomainId, Group, KeyId, Node, Snapshot};

/// One constraint, ready to be counted.
pub(super) struct Constraint {
    pub(super) skew: i64,
    pub(super) key: Box<str>,
    /// The key's number, once somebody follows it.
    pub(super) at: Option<KeyId>,
    /// The pods that are spread; those that leave make room already.
    pub(super) group: Group,
    pub(super) least_domains: usize,
    pub(super) honours_affinity: bool,
    pub(super) honours_taints: bool,
}

fn group(pod: &Pending, selector: Option<LabelSelector>) -> Group {
    Group { scopes: vec![Scope::within(pod.info.namespace(), selector)], staying: true }
}

impl Constraint {
    /// One that the pod brings.
    pub(super) fn new(given: &TopologySpreadConstraint, pod: &Pending, cluster: &Snapshot) -> Self {
        let selector = given.label_selector.as_ref().and_then(|selector| LabelSelector::of(selector).ok());
        let labels = &pod.info.object.meta().labels;
        let as_ours = |key: &String| {
            let value = labels.get(key.as_str())?;
            Requirement::new(key, Operator::In, vec![value.to_string()]).ok()
        };
        let selector = selector.map(|selector| {
            let ours = given.match_label_keys.iter().flatten().filter_map(as_ours);
            LabelSelector::all_of(selector.requirements().iter().cloned().chain(ours).collect())
        });
        Self {
            skew: i64::from(given.max_skew),
            key: given.topology_key.as_str().into(),
            at: cluster.topology.id(&given.topology_key),
            group: group(pod, selector),
            least_domains: given.min_domains.and_then(|n| usize::try_from(n).ok()).unwrap_or(1),
            honours_affinity: given.node_affinity_policy.as_deref() != Some("Ignore"),
            honours_taints: given.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    /// One that a pod gets that brings none.
    pub(super) fn default(
        (key, skew): (&str, i32),
        pod: &Pending,
        cluster: &Snapshot,
        selector: &[Requirement],
    ) -> Self {
        Self {
            skew: i64::from(skew),
            key: key.into(),
            at: cluster.topology.id(key),
            group: group(pod, Some(LabelSelector::all_of(selector.to_vec()))),
            least_domains: 1,
            honours_affinity: true,
            honours_taints: false,
        }
    }
    /// The node's domain.
    pub(super) fn domain(&self, node: &Node) -> Option<DomainId> {
        node.whereabouts.of(self.at?)
    }
}
