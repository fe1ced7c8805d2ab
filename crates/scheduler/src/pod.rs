//! A pod as the scheduler keeps it: small enough to hold one for each pod of the cluster.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use skiff_api::Object;
use skiff_api::pod::ports::{self, HostPort};
use skiff_api::pod::requests::{self, Amounts};

use crate::devices;

mod terms;

pub(crate) use terms::{Namespaces, Scope, Term, Terms};

/// What a pod takes up, and what it says about its neighbours.
#[derive(Debug)]
pub(crate) struct PodInfo {
    pub(crate) object: Arc<Object>,
    pub(crate) priority: i32,
    pub(crate) requests: Amounts,
    /// The same, CPU and memory a little assumed for containers that ask for none.
    pub(crate) assumed: Amounts,
    pub(crate) ports: BTreeSet<HostPort>,
    pub(crate) terms: Terms,
    /// The claims behind its volumes, as `namespace/name`.
    pub(crate) claims: Vec<Arc<str>>,
    /// The group it belongs to, as `namespace/name`.
    pub(crate) group: Option<Arc<str>>,
    /// When the kubelet took it, in seconds; the future for a pod that it has not.
    pub(crate) started: i64,
}

/// A pod that wants a node.
#[derive(Clone)]
pub(crate) struct Pending {
    pub(crate) info: Arc<PodInfo>,
    pub(crate) pod: Arc<Pod>,
}

impl Pending {
    pub(crate) fn new(object: Arc<Object>, pod: Arc<Pod>) -> Self {
        Self { info: Arc::new(PodInfo::new(object, &pod)), pod }
    }

    pub(crate) fn spec(&self) -> &PodSpec {
        spec_of(&self.pod)
    }
}

fn spec_of(pod: &Pod) -> &PodSpec {
    static NONE: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&NONE)
}

impl PodInfo {
    pub(crate) fn new(object: Arc<Object>, pod: &Pod) -> Self {
        let spec = spec_of(pod);
        let group = spec.scheduling_group.as_ref().and_then(|group| group.pod_group_name.as_deref());
        let namespace = object.meta().namespace.as_deref();
        Self {
            group: group.map(|name| skiff_api::meta::key(namespace, name)),
            priority: spec.priority.unwrap_or(0),
            claims: crate::plugins::volume_restrictions::claims(pod),
            requests: requests::of(spec),
            assumed: requests::of_at_least(spec),
            ports: ports::of(spec),
            terms: Terms::of(spec, &object),
            started: pod
                .status
                .as_ref()
                .and_then(|status| status.start_time.as_ref())
                .map_or(i64::MAX, |time| time.0.as_second()),
            object,
        }
    }

    pub(crate) fn uid(&self) -> &Arc<str> {
        &self.object.meta().uid
    }

    pub(crate) fn namespace(&self) -> &str {
        self.object.meta().namespace.as_deref().unwrap_or_default()
    }

    /// Whether exchanging one for the other changes nothing that is counted.
    pub(crate) fn weighs_as(&self, other: &Self) -> bool {
        self.requests == other.requests
            && self.assumed == other.assumed
            && self.ports == other.ports
            && self.claims == other.claims
            && self.terms == other.terms
            && self.is_leaving() == other.is_leaving()
            && self.namespace() == other.namespace()
            && self.object.meta().labels == other.object.meta().labels
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.object.meta().deletion_timestamp.is_some()
    }
}

/// A number that is equal for pods that any node suits alike: made from all that plugins look at.
pub(crate) fn likeness(object: &Object, pod: &Pod) -> u64 {
    let spec = spec_of(pod);
    let mut hasher = DefaultHasher::new();
    let meta = object.meta();
    meta.namespace.hash(&mut hasher);
    meta.labels.hash(&mut hasher);
    meta.controller().map(|owner| &owner.uid).hash(&mut hasher);
    if spec.resource_claims.is_some() {
        devices::named(object).hash(&mut hasher);
    }
    let mut text = |value: &dyn erased::Text| value.text().hash(&mut hasher);
    text(&spec.node_selector);
    text(&spec.affinity);
    text(&spec.tolerations);
    text(&spec.topology_spread_constraints);
    text(&spec.overhead);
    text(&spec.resources);
    text(&spec.priority);
    text(&spec.scheduling_gates);
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        text(&container.image);
        text(&container.ports);
        text(&container.resources);
        text(&container.restart_policy);
    }
    hasher.finish()
}

mod erased {
    //! Any value as its JSON text.

    pub(super) trait Text {
        fn text(&self) -> String;
    }

    impl<T: serde::Serialize> Text for T {
        fn text(&self) -> String {
            serde_json::to_string(self).unwrap_or_default()
        }
    }
}
