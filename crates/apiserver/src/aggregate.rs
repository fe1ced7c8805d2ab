//! Other servers behind this one: requests for a group and version that an APIService gives to a service are passed on
//! to it, once they are authorised here.
//!
//! Follows upstream's `kube-aggregator`. An APIService in the form in which it is used ([`Service`]) is made anew when
//! the table has changed and not before; what is known of the server behind it ([`Backend`]) is kept for as long as the
//! APIService names the same server. [`keep`] finds out whether servers answer, [`register`] makes the APIServices of what
//! is served here.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use parking_lot::Mutex;
use skiff_api::Object;
use skiff_base::pki::Identity;
use skiff_store::Snapshot;

use crate::api::Api;
use crate::kinds::apiregistration::api_service;
use crate::request::Info;
use crate::stored::Stored;

mod backend;
mod check;
mod discovery;
pub(crate) mod keep;
mod openapi;
pub(crate) mod pass;
mod priorities;
pub(crate) mod register;

pub(crate) use backend::Backend;
pub(crate) use openapi::Merged;
pub(crate) use priorities::{DEFINED, Priority, of as priority_of};

/// The table of APIServices.
const TABLE: &str = "apiregistration.k8s.io/apiservices";

/// Who answers for one group and version.
pub(crate) struct Service {
    /// `v1.apps`.
    pub(crate) name: Arc<str>,
    pub(crate) group: Arc<str>,
    pub(crate) version: Arc<str>,
    pub(crate) priority: Priority,
    pub(crate) available: bool,
    /// The server behind it; nothing if it is this one.
    pub(crate) backend: Option<Arc<Backend>>,
}

/// All APIServices at one moment.
#[derive(Default)]
pub(crate) struct Services {
    /// By the group's name.
    by_group: HashMap<Arc<str>, Vec<Arc<Service>>>,
}

impl Services {
    /// Who answers for a group and version, if somebody says so.
    pub(crate) fn get(&self, group: &str, version: &str) -> Option<&Arc<Service>> {
        self.by_group.get(group)?.iter().find(|service| *service.version == *version)
    }

    /// Every APIService whose server is another one.
    pub(crate) fn remote(&self) -> impl Iterator<Item = (&Arc<Service>, &Arc<Backend>)> {
        let all = self.by_group.values().flatten();
        all.filter_map(|service| Some((service, service.backend.as_ref()?)))
    }
}

/// What the server knows of the servers behind it.
pub(crate) struct Aggregation {
    /// How we show ourselves to them.
    identity: Option<Identity>,
    made: Mutex<Option<Made>>,
    /// What OpenAPI says of all of them and of us.
    pub(crate) documents: Merged,
}

struct Made {
    of: Snapshot<Stored>,
    services: Arc<Services>,
}

impl Aggregation {
    pub(crate) fn new(identity: Option<Identity>) -> Self {
        Self { identity, made: Mutex::default(), documents: Merged::default() }
    }

    /// The APIServices as of now.
    pub(crate) fn services(&self, api: &Api) -> Arc<Services> {
        let snapshot = api.store.snapshot(TABLE);
        let mut made = self.made.lock();
        if let Some(made) = made.as_ref().filter(|made| made.of.objects.ptr_eq(&snapshot.objects)) {
            return Arc::clone(&made.services);
        }
        let before = made.as_ref().map(|made| Arc::clone(&made.services)).unwrap_or_default();
        let mut services = Services::default();
        for stored in snapshot.objects.values() {
            if let Some(service) = self.service(stored.object(), &before) {
                services.by_group.entry(Arc::clone(&service.group)).or_default().push(Arc::new(service));
            }
        }
        let services = Arc::new(services);
        *made = Some(Made { of: snapshot, services: Arc::clone(&services) });
        services
    }

    /// The APIService whose server, not this one, a request is for.
    pub(crate) fn concerned(&self, api: &Api, info: &Info) -> Option<Arc<Service>> {
        let (group, version) = subject(&info.path)?;
        let services = self.services(api);
        services.get(group, version).filter(|service| service.backend.is_some()).cloned()
    }

    fn service(&self, object: &Object, before: &Services) -> Option<Service> {
        let decoded = object.decode::<APIService>().ok()?;
        let spec = decoded.spec.as_ref()?;
        let (group, version) =
            (spec.group.as_deref().unwrap_or_default(), spec.version.as_deref().unwrap_or_default());
        let known = before.get(group, version).and_then(|before| before.backend.as_ref());
        let backend = spec.service.is_some().then(|| match known.filter(|known| known.is_of(spec)) {
            Some(known) => Arc::clone(known),
            None => Arc::new(Backend::new(spec, self.identity.as_ref())),
        });
        Some(Service {
            name: object.meta().name.clone(),
            group: group.into(),
            version: version.into(),
            priority: Priority { group: spec.group_priority_minimum, version: spec.version_priority },
            available: api_service::available(&decoded).is_some_and(|condition| condition.status == "True"),
            backend,
        })
    }
}

/// The group and version that a path is about, its discovery and its OpenAPI document included.
fn subject(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix("/openapi/v3").unwrap_or(path);
    let mut parts = path.strip_prefix('/')?.split('/');
    match parts.next()? {
        "api" => Some(("", parts.next()?)),
        "apis" => Some((parts.next()?, parts.next()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
