//! The Node authoriser: what a kubelet may do, and to which objects.

use super::{Ask, Verdict};
use crate::api::Api;

/// The group of all kubelets.
pub(crate) const NODES: &str = "system:nodes";
/// What the user names of kubelets begin with, before the node's name.
pub(crate) const NODE_PREFIX: &str = "system:node:";

/// The node that asks, if it is one.
pub(crate) fn name(user: &crate::user::User) -> Option<&str> {
    user.name.strip_prefix(NODE_PREFIX).filter(|_| user.is_in(NODES))
}

/// Verbs, groups (`-` is the core one), resources.
const RULES: &[(&str, &str, &str)] = &[
    ("get list watch", "- discovery.k8s.io", "services endpoints endpointslices nodes namespaces"),
    ("get list watch", "-", "pods configmaps secrets serviceaccounts"),
    ("create delete", "-", "pods"),
    ("patch update", "-", "pods/status"),
    ("create", "-", "pods/eviction serviceaccounts/token nodes"),
    ("get list watch", "storage.k8s.io", "*"),
    // A node clears the folder of a local volume before the volume may go.
    ("get list watch", "-", "persistentvolumeclaims persistentvolumes"),
    ("patch", "-", "persistentvolumes"),
    ("get list watch", "node.k8s.io", "*"),
    ("create patch update", "- events.k8s.io", "events"),
    ("get list watch create update patch delete", "coordination.k8s.io", "leases"),
];

pub(super) fn judge(_api: &Api, ask: &Ask<'_>) -> Verdict {
    let Some(node) = name(ask.user) else { return Verdict::NoOpinion(String::new()) };
    let has = |words: &str, word: &str| words.split(' ').any(|own| own == word || own == "*");
    let group = if ask.group.is_empty() { "-" } else { ask.group };
    let resource = ask.qualified();
    let own = ask.group.is_empty()
        && ask.resource == "nodes"
        && ask.name == node
        && matches!(ask.subresource, "" | "status")
        && matches!(ask.verb, "patch" | "update" | "delete");
    let allowed = own
        || RULES.iter().any(|(verbs, groups, resources)| {
            has(verbs, ask.verb) && has(groups, group) && has(resources, &resource)
        });
    if allowed { Verdict::Allow(String::new()) } else { Verdict::NoOpinion(String::new()) }
}
