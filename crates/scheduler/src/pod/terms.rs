//! What a pod demands of the pods near it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PodAffinityTerm, PodSpec};
use skiff_api::selector::{Operator, Requirement};
use skiff_api::{LabelSelector, Meta, Object};

/// Namespaces by name.
pub(crate) type Namespaces = HashMap<Arc<str>, Arc<Object>>;

/// All demands of a pod.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) affinity: Vec<Term>,
    pub(crate) anti: Vec<Term>,
    /// Preferences: affinity with positive, anti-affinity with negative weight.
    pub(crate) preferred: Vec<(Term, i64)>,
}

/// One demand: the pods of a scope, within one domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Term {
    pub(crate) scope: Scope,
    pub(crate) topology_key: Box<str>,
}

/// Pods by label, in some namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    /// Absent: selects nothing.
    pub(crate) selector: Option<LabelSelector>,
    pub(crate) namespaces: BTreeSet<Box<str>>,
    /// Namespaces by label; absent: none.
    pub(crate) namespace_selector: Option<LabelSelector>,
}

impl Terms {
    pub(super) fn of(spec: &PodSpec, object: &Object) -> Self {
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

    /// All of them, whatever they mean.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Term> {
        let preferred = self.preferred.iter().map(|(term, _)| term);
        self.affinity.iter().chain(&self.anti).chain(preferred)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.affinity.is_empty() && self.anti.is_empty() && self.preferred.is_empty()
    }
}

impl Term {
    fn new(term: &PodAffinityTerm, object: &Object) -> Self {
        let own = object.meta().namespace.as_deref().unwrap_or_default();
        let mut scope = Scope::of(term.label_selector.as_ref());
        scope.selector = scope.selector.map(|selector| with_own_labels(selector, term, object));
        scope.namespaces = term.namespaces.iter().flatten().map(|name| name.as_str().into()).collect();
        let by_label = term.namespace_selector.as_ref();
        scope.namespace_selector = by_label.and_then(|selector| LabelSelector::of(selector).ok());
        if scope.namespaces.is_empty() && by_label.is_none() {
            scope.namespaces.insert(own.into());
        }
        Self { scope, topology_key: term.topology_key.as_str().into() }
    }
}

/// The selector with what the pod's own labels add to it. Upstream's API server adds it to the object at its creation.
fn with_own_labels(selector: LabelSelector, term: &PodAffinityTerm, object: &Object) -> LabelSelector {
    let labels = &object.meta().labels;
    let add = |keys: &Option<Vec<String>>, operator: Operator| -> Vec<Requirement> {
        let of =
            |key: &String| Requirement::new(key, operator, vec![labels.get(key.as_str())?.to_string()]).ok();
        keys.iter().flatten().filter_map(of).collect()
    };
    let mut all = add(&term.match_label_keys, Operator::In);
    all.extend(add(&term.mismatch_label_keys, Operator::NotIn));
    if all.is_empty() {
        return selector;
    }
    all.extend(selector.requirements().iter().cloned());
    LabelSelector::all_of(all)
}

impl Scope {
    fn of(selector: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector>) -> Self {
        let selector = selector.and_then(|selector| LabelSelector::of(selector).ok());
        Self { selector, namespaces: BTreeSet::new(), namespace_selector: None }
    }

    /// Pods of one namespace.
    pub(crate) fn within(namespace: &str, selector: Option<LabelSelector>) -> Self {
        Self { selector, namespaces: BTreeSet::from([namespace.into()]), namespace_selector: None }
    }

    /// The one namespace it looks at, if that is known beforehand.
    pub(crate) fn only_namespace(&self) -> Option<&str> {
        let one = self.namespaces.len() == 1 && self.namespace_selector.is_none();
        self.namespaces.first().filter(|_| one).map(|name| &**name)
    }

    /// Whether pods of a namespace can be selected, going by its labels too.
    pub(crate) fn enters(&self, namespace: &str, held: Option<&Arc<Object>>) -> bool {
        let by_label = |selector: &LabelSelector| match held {
            Some(held) => selector.matches(&held.meta().labels),
            None => selector.is_everything(),
        };
        self.namespaces.contains(namespace) || self.namespace_selector.as_ref().is_some_and(by_label)
    }

    /// Whether a pod of a namespace that it looks at is selected.
    pub(crate) fn picks(&self, pod: &Meta) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.matches(&pod.labels))
    }

    /// Whether a pod is selected.
    pub(crate) fn selects(&self, pod: &Meta, namespaces: &Namespaces) -> bool {
        let namespace = pod.namespace.as_deref().unwrap_or_default();
        self.picks(pod) && self.enters(namespace, namespaces.get(namespace))
    }
}
