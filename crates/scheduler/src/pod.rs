//! A pod as the scheduler keeps it: small enough to hold one for each pod of the cluster.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, PodSpec};
use skiff_api::pod::ports::{self, HostPort};
use skiff_api::pod::requests::{self, Amounts};
use skiff_api::{LabelSelector, Object};

/// What a pod takes up, and what it says about its neighbours.
#[derive(Debug)]
pub(crate) struct PodInfo {
    pub(crate) object: Arc<Object>,
    pub(crate) priority: i32,
    pub(crate) requests: Amounts,
    /// CPU and memory, a little assumed for containers that ask for none.
    pub(crate) assumed: (i64, i64),
    pub(crate) ports: BTreeSet<HostPort>,
    pub(crate) terms: Terms,
    /// The claims behind its volumes, as `namespace/name`.
    pub(crate) claims: Vec<Arc<str>>,
    /// When the kubelet took it, in seconds; the future for a pod that it has not.
    pub(crate) started: i64,
}

/// What a pod demands of the pods near it.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    pub(crate) affinity: Vec<Term>,
    pub(crate) anti: Vec<Term>,
    /// Preferences: affinity with positive, anti-affinity with negative weight.
    pub(crate) preferred: Vec<(Term, i64)>,
}

/// One demand: pods selected in some namespaces, within one domain.
#[derive(Debug)]
pub(crate) struct Term {
    /// Absent: selects nothing.
    pub(crate) selector: Option<LabelSelector>,
    pub(crate) namespaces: BTreeSet<Box<str>>,
    /// Namespaces by label; absent: none.
    pub(crate) namespace_selector: Option<LabelSelector>,
    pub(crate) topology_key: Box<str>,
}

/// A pod that wants a node.
pub(crate) struct Pending {
    pub(crate) info: Arc<PodInfo>,
    pub(crate) pod: Arc<Pod>,
}

impl Pending {
    pub(crate) fn new(object: Arc<Object>, pod: Arc<Pod>) -> Self {
        Self { info: Arc::new(PodInfo::new(object, &pod)), pod }
    }

    pub(crate) fn spec(&self) -> &PodSpec {
        static NONE: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
        self.pod.spec.as_ref().unwrap_or(&NONE)
    }
}

impl PodInfo {
    pub(crate) fn new(object: Arc<Object>, pod: &Pod) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let least = requests::of_at_least(&spec);
        Self {
            priority: spec.priority.unwrap_or(0),
            claims: crate::plugins::volume_restrictions::claims(pod),
            requests: requests::of(&spec),
            assumed: (least.cpu, least.memory),
            ports: ports::of(&spec),
            terms: Terms::of(&spec, &object),
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

    pub(crate) fn is_leaving(&self) -> bool {
        self.object.meta().deletion_timestamp.is_some()
    }
}

impl Terms {
    fn of(spec: &PodSpec, object: &Object) -> Self {
        let Some(affinity) = &spec.affinity else { return Self::default() };
        let term = |term: &PodAffinityTerm| Term::new(term, object);
        let mut terms = Self::default();
        if let Some(near) = &affinity.pod_affinity {
            let required = near.required_during_scheduling_ignored_during_execution.iter().flatten();
            terms.affinity = required.map(term).collect();
            let preferred = near.preferred_during_scheduling_ignored_during_execution.iter().flatten();
            terms.preferred.extend(preferred.map(|p| (term(&p.pod_affinity_term), i64::from(p.weight))));
        }
        if let Some(far) = &affinity.pod_anti_affinity {
            let required = far.required_during_scheduling_ignored_during_execution.iter().flatten();
            terms.anti = required.map(term).collect();
            let preferred = far.preferred_during_scheduling_ignored_during_execution.iter().flatten();
            terms.preferred.extend(preferred.map(|p| (term(&p.pod_affinity_term), -i64::from(p.weight))));
        }
        terms
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.affinity.is_empty() && self.anti.is_empty() && self.preferred.is_empty()
    }
}

impl Term {
    fn new(term: &PodAffinityTerm, object: &Object) -> Self {
        let meta = object.meta();
        let mut namespaces: BTreeSet<Box<str>> =
            term.namespaces.iter().flatten().map(|name| name.as_str().into()).collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(meta.namespace.as_deref().unwrap_or_default().into());
        }
        Self {
            selector: term.label_selector.as_ref().and_then(|selector| LabelSelector::of(selector).ok()),
            namespaces,
            namespace_selector: term
                .namespace_selector
                .as_ref()
                .and_then(|selector| LabelSelector::of(selector).ok()),
            topology_key: term.topology_key.as_str().into(),
        }
    }
}

/// A number that is equal for pods that any node suits alike: made from all that plugins look at.
pub(crate) fn likeness(object: &Object, spec: &PodSpec) -> u64 {
    let mut hasher = DefaultHasher::new();
    let meta = object.meta();
    meta.namespace.hash(&mut hasher);
    meta.labels.hash(&mut hasher);
    meta.controller().map(|owner| &owner.uid).hash(&mut hasher);
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
