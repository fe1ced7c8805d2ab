//! Who selects a pod: services, and the controller that owns it. Pods that the same ones select belong together and are
//! spread by default.

use std::collections::HashMap;
use std::sync::Arc;

use skiff_api::selector::Requirement;
use skiff_api::{LabelSelector, Object};

/// Selectors by namespace.
#[derive(Default)]
pub(crate) struct Selectors {
    services: HashMap<Box<str>, HashMap<Arc<str>, LabelSelector>>,
    /// By the owner's uid.
    owners: HashMap<Arc<str>, LabelSelector>,
}

impl Selectors {
    /// Takes in a service's selector, or forgets it.
    pub(crate) fn service(&mut self, object: &Object, selector: Option<LabelSelector>) {
        let meta = object.meta();
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        match selector.filter(|selector| !selector.is_everything()) {
            Some(selector) => {
                self.services.entry(namespace.into()).or_default().insert(Arc::clone(&meta.name), selector);
            }
            None => {
                if let Some(services) = self.services.get_mut(namespace) {
                    services.remove(&meta.name);
                }
            }
        }
    }

    /// Takes in a controller's selector, or forgets it.
    pub(crate) fn owner(&mut self, object: &Object, selector: Option<LabelSelector>) {
        let uid = &object.meta().uid;
        match selector.filter(|selector| !selector.is_everything()) {
            Some(selector) => {
                self.owners.insert(Arc::clone(uid), selector);
            }
            None => {
                self.owners.remove(uid);
            }
        }
    }

    /// What pods like this one have in common: all that its services and its owner ask of them. Nothing if nobody
    /// selects it.
    pub(crate) fn of(&self, pod: &Object) -> Option<Vec<Requirement>> {
        let meta = pod.meta();
        let services = self.services.get(meta.namespace.as_deref().unwrap_or_default());
        let services = services.into_iter().flat_map(HashMap::values);
        let services = services.filter(|selector| selector.matches(&meta.labels));
        let owner = meta.controller().and_then(|owner| self.owners.get(&*owner.uid));
        let mut all: Vec<Requirement> =
            services.chain(owner).flat_map(|selector| selector.requirements().to_vec()).collect();
        all.sort();
        all.dedup();
        (!all.is_empty()).then_some(all)
    }
}
