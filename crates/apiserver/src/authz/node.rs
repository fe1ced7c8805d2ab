//! The Node authoriser: what a kubelet may do, and to which objects: those that pods of its node refer to.
//!
//! Follows upstream's `plugin/pkg/auth/authorizer/node`. Differences: a node may read all nodes, since it keeps the
//! routes to them, and volumes, of which it lets go those that are its own folders; and all pods while there is any network
//! policy, since it enforces these and they are peers (as the agents of other networks do always). Which pods are a node's and what they refer to is an index that follows the store.

use serde::Deserialize;
use skiff_api::volume::LOCAL_PATH_NODE;
use skiff_store::Key;

use super::graph::Kind;
use super::{Ask, Verdict};
use crate::api::Api;
use crate::user::User;

/// The group of all kubelets.
pub(crate) const NODES: &str = "system:nodes";
/// What the user names of kubelets begin with, before the node's name.
pub(crate) const NODE_PREFIX: &str = "system:node:";
/// Where nodes keep their leases.
const LEASES: &str = skiff_api::names::NODE_LEASE_NAMESPACE;

/// The node that asks, if it is one.
pub(crate) fn name(user: &User) -> Option<&str> {
    user.name.strip_prefix(NODE_PREFIX).filter(|_| user.is_in(NODES))
}

/// What every node may do, whatever it is about: verbs, groups (`-` is the core one), resources.
const RULES: &[(&str, &str, &str)] = &[
    ("create", "authentication.k8s.io", "tokenreviews"),
    ("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
    ("get list watch", "- discovery.k8s.io", "services endpoints endpointslices nodes namespaces"),
    ("create delete", "-", "pods"),
    ("patch update", "-", "pods/status"),
    ("create", "-", "nodes pods/eviction"),
    ("get", "-", "serviceaccounts"),
    ("create patch update", "- events.k8s.io", "events"),
    ("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
    ("get", "storage.k8s.io", "volumeattachments"),
    ("get list watch", "storage.k8s.io", "csidrivers storageclasses"),
    ("get list watch", "node.k8s.io", "runtimeclasses"),
    ("get list watch", "networking.k8s.io", "networkpolicies servicecidrs"),
];

pub(super) fn judge(api: &Api, ask: &Ask<'_>) -> Verdict {
    let Some(node) = name(ask.user) else { return Verdict::NoOpinion(String::new()) };
    let outcome = match (ask.group, ask.resource, ask.subresource) {
        ("", "secrets", "") => read(api, node, ask, Kind::Secret),
        ("", "configmaps", "") => read(api, node, ask, Kind::ConfigMap),
        ("", "persistentvolumeclaims", "" | "status") => claim(api, node, ask),
        ("", "persistentvolumes", "") => volume(api, node, ask),
        ("", "serviceaccounts", "token") => token(api, node, ask),
        ("", "pods", "") if matches!(ask.verb, "get" | "list" | "watch") => pods(api, node, ask),
        ("", "nodes", "" | "status") if matches!(ask.verb, "patch" | "update" | "delete") => {
            own(node, ask, "can only access node API objects with the same name as the requesting node")
        }
        ("coordination.k8s.io", "leases", "") => lease(node, ask),
        ("storage.k8s.io", "csinodes", "") => csi_node(node, ask),
        ("resource.k8s.io", "resourceclaims", "") => devices(api, node, ask),
        ("resource.k8s.io", "resourceslices", "") => slice(api, node, ask),
        _ if ruled(ask) => Ok(()),
        _ => Err(String::new()),
    };
    outcome.map_or_else(Verdict::NoOpinion, |()| Verdict::Allow(String::new()))
}

type Outcome = Result<(), String>;

fn ruled(ask: &Ask<'_>) -> bool {
    let has = |words: &str, word: &str| words.split(' ').any(|own| own == word);
    let group = if ask.group.is_empty() { "-" } else { ask.group };
    let resource = ask.qualified();
    RULES.iter().any(|(verbs, groups, resources)| {
        has(verbs, ask.verb) && has(groups, group) && has(resources, &resource)
    })
}

fn or(allowed: bool, why: impl Into<String>) -> Outcome {
    if allowed { Ok(()) } else { Err(why.into()) }
}

fn unrelated(node: &str) -> String {
    format!("no relationship found between node '{node}' and this object")
}

/// One object that a pod of the node refers to, or a volume of such a pod.
fn read(api: &Api, node: &str, ask: &Ask<'_>, kind: Kind) -> Outcome {
    or(matches!(ask.verb, "get" | "list" | "watch"), "can only read resources of this type")?;
    or(!ask.name.is_empty(), "No Object name found")?;
    or(!ask.namespace.is_empty(), "can only read namespaced object of this type")?;
    let opens = || kind == Kind::Secret && api.graph.opens(&api.store, node, ask.namespace, ask.name);
    or(api.graph.refers(&api.store, node, ask.namespace, kind, ask.name) || opens(), unrelated(node))
}

/// Our kubelet follows claims and volumes, and clears the folder of a local volume before the volume may go, so that it
/// needs more of them than upstream's.
fn following(ask: &Ask<'_>) -> bool {
    ask.subresource.is_empty() && matches!(ask.verb, "list" | "watch")
}

fn claim(api: &Api, node: &str, ask: &Ask<'_>) -> Outcome {
    let verbs: &[&str] = if ask.subresource.is_empty() { &["get"] } else { &["get", "update", "patch"] };
    if following(ask) {
        return Ok(());
    }
    or(verbs.contains(&ask.verb), "can only get individual resources of this type")?;
    or(api.graph.refers(&api.store, node, ask.namespace, Kind::Claim, ask.name), unrelated(node))
}

fn volume(api: &Api, node: &str, ask: &Ask<'_>) -> Outcome {
    if following(ask) {
        return Ok(());
    }
    if ask.verb == "patch" {
        return or(is_local_to(api, node, ask.name), unrelated(node));
    }
    or(ask.verb == "get", "can only get individual resources of this type")?;
    or(api.graph.uses(&api.store, node, ask.name), unrelated(node))
}

/// A volume that was made as a folder of the node.
fn is_local_to(api: &Api, node: &str, name: &str) -> bool {
    let stored = api.store.get(&Key::new("persistentvolumes", name));
    stored.is_some_and(|stored| {
        stored.object().meta().labels.get(LOCAL_PATH_NODE).is_some_and(|of| **of == *node)
    })
}

fn token(api: &Api, node: &str, ask: &Ask<'_>) -> Outcome {
    or(
        ask.verb == "create" && !ask.name.is_empty(),
        "can only create tokens for individual service accounts",
    )?;
    or(api.graph.refers(&api.store, node, ask.namespace, Kind::Account, ask.name), unrelated(node))
}

/// The question is only about objects whose field has this value.
fn selects(ask: &Ask<'_>, field: &str, value: &str) -> bool {
    ask.fields.split(',').any(|one| {
        let given = one.strip_prefix(field).and_then(|rest| rest.strip_prefix('='));
        given.map(|given| given.trim_start_matches('=')) == Some(value)
    })
}

fn pods(api: &Api, node: &str, ask: &Ask<'_>) -> Outcome {
    if ask.verb == "get" || !ask.name.is_empty() {
        return or(api.graph.runs(&api.store, node, ask.namespace, ask.name), unrelated(node));
    }
    let own = selects(ask, "spec.nodeName", node);
    let peers = || !api.store.snapshot("networking.k8s.io/networkpolicies").objects.is_empty();
    or(own || peers(), "can only list/watch pods with spec.nodeName field selector")
}

fn own(node: &str, ask: &Ask<'_>, why: &str) -> Outcome {
    or(ask.name == node, why)
}

fn lease(node: &str, ask: &Ask<'_>) -> Outcome {
    let why = "can only get, create, update, patch, or delete a node lease";
    or(matches!(ask.verb, "get" | "create" | "update" | "patch" | "delete"), why)?;
    or(ask.namespace == LEASES, format!("can only access leases in the {LEASES:?} system namespace"))?;
    // Its name is not known before the body is read; admission looks at it.
    if ask.verb == "create" {
        return Ok(());
    }
    own(node, ask, "can only access node lease with the same name as the requesting node")
}

fn csi_node(node: &str, ask: &Ask<'_>) -> Outcome {
    let why = "can only get, create, update, patch, or delete a CSINode";
    or(matches!(ask.verb, "get" | "create" | "update" | "patch" | "delete"), why)?;
    if ask.verb == "create" {
        return Ok(());
    }
    own(node, ask, "can only access CSINode with the same name as the requesting node")
}

fn devices(api: &Api, node: &str, ask: &Ask<'_>) -> Outcome {
    or(ask.verb == "get", "can only get individual resources of this type")?;
    or(api.graph.refers(&api.store, node, ask.namespace, Kind::Devices, ask.name), unrelated(node))
}

fn slice(api: &Api, node: &str, ask: &Ask<'_>) -> Outcome {
    match ask.verb {
        // What is in it is not known before the body is read; admission looks at it.
        "create" => Ok(()),
        "get" | "update" | "patch" | "delete" => or(is_slice_of(api, node, ask.name), unrelated(node)),
        "list" | "watch" | "deletecollection" => {
            let why = "can only list/watch/deletecollection resourceslices with nodeName field selector";
            or(selects(ask, "spec.nodeName", node), why)
        }
        _ => Err(
            "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, \
                  patch, delete, deletecollection"
                .to_owned(),
        ),
    }
}

/// A slice whose devices are the node's.
fn is_slice_of(api: &Api, node: &str, name: &str) -> bool {
    #[derive(Deserialize)]
    struct Slice {
        spec: Spec,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec {
        node_name: Option<String>,
    }
    let stored = api.store.get(&Key::new("resource.k8s.io/resourceslices", name));
    let slice = stored.and_then(|stored| serde_json::from_slice::<Slice>(stored.object().bytes()).ok());
    slice.is_some_and(|slice| slice.spec.node_name.as_deref() == Some(node))
}
