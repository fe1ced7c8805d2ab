//! Disruption budgets, as far as preemption asks: which pods they cover and how many may go.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use skiff_api::{LabelSelector, Object};

use crate::pod::PodInfo;

/// One budget.
struct Budget {
    namespace: Box<str>,
    selector: LabelSelector,
    allowed: i32,
}

/// All budgets, by key.
#[derive(Default)]
pub(crate) struct Budgets(HashMap<Arc<str>, Budget>);

impl Budgets {
    /// Takes in a budget as it now is; without a selector it covers nothing.
    pub(crate) fn put(&mut self, object: &Object, selector: Option<LabelSelector>, allowed: i32) {
        let namespace = object.meta().namespace.as_deref().unwrap_or_default().into();
        match selector {
            Some(selector) => self.0.insert(object.meta().key(), Budget { namespace, selector, allowed }),
            None => self.0.remove(&object.meta().key()),
        };
    }

    /// Forgets a budget.
    pub(crate) fn remove(&mut self, object: &Object) {
        self.0.remove(&object.meta().key());
    }

    /// The pods whose going, after those before them, some budget would not allow.
    pub(crate) fn violated_by(&self, pods: &[Arc<PodInfo>]) -> HashSet<Arc<str>> {
        let mut left: HashMap<&str, i32> =
            self.0.iter().map(|(key, budget)| (&**key, budget.allowed)).collect();
        let mut violated = HashSet::new();
        for pod in pods {
            let meta = pod.object.meta();
            for (key, budget) in &self.0 {
                if *budget.namespace != *pod.namespace() || !budget.selector.matches(&meta.labels) {
                    continue;
                }
                let left = left.entry(&**key).or_default();
                *left -= 1;
                if *left < 0 {
                    violated.insert(Arc::clone(pod.uid()));
                }
            }
        }
        violated
    }
}
