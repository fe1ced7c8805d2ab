//! Keeps the model in step with the API and tells its readers which services changed.
//!
//! A reader is a set of keys and a bell: however many changes arrive while it is busy, it finds each service once.
//! So nothing queues up, nothing is delayed on purpose, and a burst costs one transaction.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use skiff_api::{Object, Readable};
use skiff_base::task::{Policy, Tasks};
use skiff_client::{Delta, Link, Topic};
use tokio::sync::Notify;

use crate::model::{Key, Model, Reach};

/// The shared model; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Services(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    model: Model,
    services_known: bool,
    slices_known: bool,
    next: u32,
    readers: HashMap<u32, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    keys: BTreeSet<Key>,
    first: bool,
    bell: Arc<Notify>,
}

/// One step of a reader.
#[derive(Debug)]
pub struct Changes {
    /// True the first time: these are all services there are.
    pub first: bool,
    /// The services that changed, each as it is now; None if it is gone.
    pub services: Vec<(Key, Option<Reach>)>,
}

/// Hears of changes.
#[derive(Debug)]
pub struct Reader {
    shared: Services,
    id: u32,
    bell: Arc<Notify>,
}

impl Services {
    /// An empty model.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new reader; it hears of everything first.
    pub fn reader(&self) -> Reader {
        let bell = Arc::new(Notify::new());
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        let keys = state.model.keys().cloned().collect();
        if state.services_known && state.slices_known {
            bell.notify_one();
        }
        state.readers.insert(id, Waiting { keys, first: true, bell: Arc::clone(&bell) });
        Reader { shared: self.clone(), id, bell }
    }

    /// Follows the API until the group stops.
    pub fn follow(&self, link: &Link, tasks: &Tasks) {
        let (services, slices) =
            (link.feed(&Topic::of::<Service>()), link.feed(&Topic::of::<EndpointSlice>()));
        let shared = self.clone();
        let token = tasks.token().clone();
        tasks.spawn("net-follow", Policy::Essential, async move {
            let (mut services, mut slices) = (services, slices);
            loop {
                tokio::select! {
                    () = token.cancelled() => return Ok(()),
                    delta = services.next() => match delta {
                        Some(delta) => shared.services(delta),
                        None => return Err("the feed of services ended"),
                    },
                    delta = slices.next() => match delta {
                        Some(delta) => shared.slices(delta),
                        None => return Err("the feed of endpoint slices ended"),
                    },
                }
            }
        });
    }

    /// Takes in one step of the services' feed.
    pub fn services(&self, delta: Delta<Arc<Object>>) {
        let mut state = self.lock();
        let changed: Vec<Key> = match delta {
            Delta::Reset(all) => {
                state.services_known = true;
                let all: Vec<_> = all.iter().filter_map(|object| decoded::<Service>(object)).collect();
                state.model.reset_services(all.iter().map(|service| &**service))
            }
            Delta::Put(object) => decoded::<Service>(&object)
                .and_then(|service| state.model.put_service(&service))
                .into_iter()
                .collect(),
            Delta::Gone(object) => state.model.remove_service(&object.meta().key()).into_iter().collect(),
        };
        state.tell(changed);
    }

    /// Takes in one step of the slices' feed.
    pub fn slices(&self, delta: Delta<Arc<Object>>) {
        let mut state = self.lock();
        let changed: Vec<Key> = match delta {
            Delta::Reset(all) => {
                state.slices_known = true;
                let all: Vec<_> = all.iter().filter_map(|object| decoded::<EndpointSlice>(object)).collect();
                state.model.reset_slices(all.iter().map(|slice| &**slice))
            }
            Delta::Put(object) => decoded::<EndpointSlice>(&object)
                .map(|slice| state.model.put_slice(&slice))
                .unwrap_or_default(),
            Delta::Gone(object) => state.model.remove_slice(&object.meta().key()).into_iter().collect(),
        };
        state.tell(changed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&mut self, changed: Vec<Key>) {
        let known = self.services_known && self.slices_known;
        for reader in self.readers.values_mut() {
            reader.keys.extend(changed.iter().cloned());
            if known && (reader.first || !reader.keys.is_empty()) {
                reader.bell.notify_one();
            }
        }
    }
}

impl Reader {
    /// Waits for changes and takes all there are; the first time, once everything is known.
    pub async fn next(&self) -> Changes {
        loop {
            self.bell.notified().await;
            if let Some(changes) = self.take() {
                return changes;
            }
        }
    }

    /// True once [`Reader::next`] has answered.
    pub fn started(&self) -> bool {
        self.shared.lock().readers.get(&self.id).is_some_and(|waiting| !waiting.first)
    }

    fn take(&self) -> Option<Changes> {
        let mut state = self.shared.lock();
        let waiting = state.readers.get_mut(&self.id)?;
        let first = std::mem::take(&mut waiting.first);
        let keys = std::mem::take(&mut waiting.keys);
        if keys.is_empty() && !first {
            return None;
        }
        let services = keys.into_iter().map(|key| {
            let reach = state.model.reach(&key);
            (key, reach)
        });
        Some(Changes { first, services: services.collect() })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.lock().readers.remove(&self.id);
    }
}

pub(crate) fn decoded<K: Readable>(object: &Object) -> Option<Arc<K>> {
    object
        .decode::<K>()
        .inspect_err(
            |error| tracing::warn!(key = %object.meta().key(), %error, "skipped an unreadable object"),
        )
        .ok()
}
