//! Which pods stand behind a service, and at which ports.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_api::pod::facts::PodFacts;
use skiff_api::{LabelSelector, Object, names};
use skiff_client::Change;
use skiff_client::controller::{Caches, How, Key};

use crate::Settings;
use crate::shared::seen::Seen;
use crate::table::Ctx;

/// Label on endpoints and slices of services without an address of their own.
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";

/// A pod wakes the services that select it, and those that did.
pub(crate) struct Selecting;

impl How<Settings> for Selecting {
    fn keys(change: &Change, caches: &Caches, settings: &Settings) -> Vec<Key> {
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && shown(old) == shown(new)
        {
            return Vec::new();
        }
        let namespace = change.latest().meta().namespace.as_deref().unwrap_or_default();
        let services = caches.of::<Service>().within(namespace);
        let selects = |service: &&Arc<Object>| {
            let selector = settings.selectors.of::<Service>(service, selector);
            selector.is_some_and(|selector| change.both().any(|pod| selector.matches(&pod.meta().labels)))
        };
        services.iter().filter(selects).map(|service| service.meta().key().into()).collect()
    }
}

/// The service that a label on the changed object names.
pub(crate) struct Labelled;

impl How<Settings> for Labelled {
    fn keys(change: &Change, _: &Caches, _: &Settings) -> Vec<Key> {
        let service = |object: &Arc<Object>| {
            let meta = object.meta();
            let name = meta.labels.get(names::SERVICE_NAME)?;
            Some(Key::new(meta.namespace.as_deref(), name))
        };
        change.both().filter_map(service).collect()
    }
}

/// The service of a slice that this manager keeps, as `namespace/service`: the values of an index.
pub(crate) fn of_slice(slice: &Object, manager: &str) -> Vec<Box<str>> {
    let kept_by = slice.meta().labels.get(names::MANAGED_BY);
    of_any_slice(slice).filter(|_| kept_by.is_some_and(|kept_by| **kept_by == *manager)).into_iter().collect()
}

/// The service of a slice, whoever keeps it, as `namespace/service`.
pub(crate) fn of_any_slice(slice: &Object) -> Option<Box<str>> {
    let meta = slice.meta();
    let service = meta.labels.get(names::SERVICE_NAME)?;
    Some(format!("{}/{service}", meta.namespace.as_deref().unwrap_or_default()).into())
}

/// The selector, if the service has one and its endpoints are ours to keep.
pub(crate) fn selector(service: &Service) -> Option<LabelSelector> {
    let spec = service.spec.as_ref()?;
    let labels = spec.selector.as_ref().filter(|labels| !labels.is_empty())?;
    (spec.type_.as_deref() != Some("ExternalName")).then(|| LabelSelector::of_map(labels))
}

/// Whether the service has no address of its own.
pub(crate) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// Whether pods that are not ready count as if they were.
pub(crate) fn publishes_unready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

/// The pods that the selector finds and that have an address, those ending included if asked for.
pub(crate) fn pods(ctx: &Ctx, namespace: &str, selector: &LabelSelector, ending: bool) -> Vec<Seen> {
    let mut all = ctx.cache::<Pod>().within(namespace);
    all.retain(|pod| selector.matches(&pod.meta().labels));
    let mut pods = Seen::all(all);
    pods.retain(|pod| serves(pod) && (ending || !pod.is_leaving()));
    pods.sort_by(|a, b| a.name().cmp(b.name()));
    pods
}

fn serves(pod: &PodFacts) -> bool {
    !pod.is_finished() && !pod.addresses.is_empty()
}

/// What of a pod shows in endpoints; other changes are nobody's business here.
fn shown(pod: &Object) -> impl PartialEq {
    let (meta, facts) = (pod.meta(), pod.facts::<PodFacts>());
    let serves =
        serves(facts).then_some((facts.ready, &facts.addresses, &facts.node, &facts.host, &facts.ports));
    (&meta.uid, &meta.labels, meta.deletion_timestamp.is_some(), serves)
}

/// The number of the pod's port that a service's port leads to.
pub(crate) fn target_port(pod: &Seen, port: &ServicePort) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let mut named = pod.ports.iter().filter(|port| *port.name == **name && *port.protocol == *protocol);
    named.next().map(|port| port.number)
}

/// The name under which DNS should know the pod.
pub(crate) fn hostname(pod: &Seen, service: &Service) -> Option<String> {
    let host = pod.host.as_ref()?;
    (Some(&*host.subdomain) == service.metadata.name.as_deref()).then(|| host.name.to_string())
}

/// The pod as an endpoint's target.
pub(crate) fn target(pod: &Seen) -> ObjectReference {
    let meta = pod.meta();
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: meta.namespace.as_deref().map(str::to_owned),
        name: Some(meta.name.to_string()),
        uid: Some(meta.uid.to_string()),
        ..ObjectReference::default()
    }
}
