//! Mends what services say of their addresses and what IPAddress objects say: after a crash between two writes, in a
//! store of an older Skiff, which had no such objects, and after somebody's hand.
//!
//! Everything is looked at once, when the server is ready; then what changes. What is wrong is told by events in
//! upstream's words (`pkg/registry/core/service/ipallocator/controller/repairip.go`).

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use skiff_base::task::Tasks;
use skiff_store::{Event, Key};

use super::records;
use crate::api::Api;
use crate::bootstrap::events::{About, warn};
use crate::stored::Stored;

const SERVICES: &str = "services";
const COMPONENT: &str = "ipallocator-repair-controller";

/// What is wrong with a service's address, or with the object that tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// It lies in no range.
    OutOfRange,
    /// Nothing tells of it.
    Missing,
    /// What tells of it names somebody who does not have it.
    Reference,
    /// It is another service's as well.
    Shared,
    /// What tells of it lacks its labels.
    Labels,
    /// The service of the object is not there.
    Leaked,
    /// The object names no service.
    NoService,
}

/// Judges one address of the service `own` (namespace, name). `record` is what tells of it, `holds` whether the service
/// that this names has the address.
fn judge(own: (&str, &str), address: IpAddr, record: Option<&IPAddress>, holds: bool) -> Option<Wrong> {
    let Some(record) = record else { return Some(Wrong::Missing) };
    match records::service(record) {
        Some(named) if named == own => (!records::is_labelled(record, address)).then_some(Wrong::Labels),
        Some(_) if holds => Some(Wrong::Shared),
        _ => Some(Wrong::Reference),
    }
}

/// Judges an object of the server's own: whether the service it names is there, and has the address.
fn judge_record(record: &IPAddress, there: bool, holds: bool) -> Option<Wrong> {
    match records::service(record) {
        None => Some(Wrong::NoService),
        Some(_) if !there => Some(Wrong::Leaked),
        Some(_) => (!holds).then_some(Wrong::Reference),
    }
}

/// Mends until the server stops.
pub(crate) async fn keep(api: Arc<Api>, tasks: Tasks) -> Result<(), Infallible> {
    compare_own_ranges(&api).await;
    loop {
        let (services, mut of_services) = api.store.snapshot_and_watch(SERVICES);
        let (held, mut of_records) = api.store.snapshot_and_watch(records::TABLE);
        for (key, _) in &services.objects {
            service(&api, key).await;
        }
        for (name, _) in &held.objects {
            record(&api, name).await;
        }
        drop((services, held));
        loop {
            tokio::select! {
                () = tasks.stopped() => return Ok(()),
                event = of_services.next() => match event {
                    Some(Ok(event)) => service(&api, &event.key.name).await,
                    // Too far behind: look at everything again.
                    Some(Err(_)) => break,
                    None => return Ok(()),
                },
                event = of_records.next() => match event {
                    Some(Ok(event)) => changed(&api, &event).await,
                    Some(Err(_)) => break,
                    None => return Ok(()),
                },
            }
        }
    }
}

async fn changed(api: &Api, event: &Event<Stored>) {
    record(api, &event.key.name).await;
    let Ok(said) = event.object.object().decode::<IPAddress>() else { return };
    if let Some((namespace, name)) = records::service(&said) {
        service(api, &format!("{namespace}/{name}")).await;
    }
}

fn find<K: skiff_api::Readable>(api: &Api, table: &str, key: &str) -> Option<Arc<K>> {
    let stored = api.store.get(&Key::new(Arc::<str>::from(table), key))?;
    stored.object().decode::<K>().ok()
}

fn has(service: &Service, address: IpAddr) -> bool {
    super::Taken::of(service).addresses.contains(&address)
}

/// Looks at one service.
async fn service(api: &Api, key: &str) {
    let Some(service) = find::<Service>(api, SERVICES, key) else { return };
    let Some(own) = key.split_once('/') else { return };
    for address in super::Taken::of(&service).addresses {
        let record = find::<IPAddress>(api, records::TABLE, &address.to_string());
        let other = record.as_deref().and_then(records::service);
        let other = other
            .and_then(|(namespace, name)| find::<Service>(api, SERVICES, &format!("{namespace}/{name}")));
        let holds = other.is_some_and(|other| has(&other, address));
        let wrong = if api.alloc.in_range(&api.store, address) {
            judge(own, address, record.as_deref(), holds)
        } else {
            Some(Wrong::OutOfRange)
        };
        let Some(wrong) = wrong else { continue };
        let (family, (namespace, name)) = (records::family(address), own);
        let told = match wrong {
            Wrong::OutOfRange => Some((
                "ClusterIPOutOfRange",
                format!(
                    "Cluster IP [{family}]: {address} is not within any configured Service CIDR; please recreate service"
                ),
            )),
            Wrong::Missing => Some((
                "ClusterIPNotAllocated",
                format!("Cluster IP [{family}]: {address} is not allocated; repairing"),
            )),
            Wrong::Shared => Some((
                "ClusterIPAlreadyAllocated",
                format!(
                    "Cluster IP [{family}]:{address} was assigned to multiple services; please recreate service"
                ),
            )),
            Wrong::Labels => None,
            Wrong::Reference | Wrong::Leaked | Wrong::NoService => Some((
                "ClusterIPNotAllocated",
                format!(
                    "the ClusterIP [{family}]: {address} for Service {namespace}/{name} has a wrong reference; repairing"
                ),
            )),
        };
        if let Some((reason, message)) = told {
            tracing::warn!(service = key, "{message}");
            warn(api, &About::of(&*service), COMPONENT, reason, message).await;
        }
        if matches!(wrong, Wrong::OutOfRange | Wrong::Shared) {
            continue;
        }
        if record.is_some() {
            records::remove(api, address).await;
        }
        if let Err(error) = records::add(api, address, namespace, name).await {
            tracing::warn!(service = key, %address, %error, "an address could not be mended");
        }
    }
}

/// Looks at one IPAddress.
async fn record(api: &Api, name: &str) {
    let Ok(address) = name.parse::<IpAddr>() else { return };
    let Some(record) = find::<IPAddress>(api, records::TABLE, name) else { return };
    let uid = record.metadata.uid.as_deref().unwrap_or_default();
    // Whoever has the address is there, or is being written at this moment: its own key is looked at.
    if !records::is_ours(&record) || api.alloc.owner(address).is_some_and(|owner| &*owner != uid) {
        return;
    }
    let named = records::service(&record).unwrap_or_default();
    let service = find::<Service>(api, SERVICES, &format!("{}/{}", named.0, named.1));
    let holds = service.as_ref().is_some_and(|service| has(service, address));
    let Some(wrong) = judge_record(&record, service.is_some(), holds) else { return };
    let of = format!("IPAddress: {name} for Service {}/{}", named.0, named.1);
    let (reason, message) = match wrong {
        Wrong::NoService => (
            "IPAddressNotAllocated",
            format!("IPAddress {name} appears to have been modified, not referencing a Service: cleaning up"),
        ),
        Wrong::Leaked => ("IPAddressNotAllocated", format!("{of} appears to have leaked: cleaning up")),
        _ => ("IPAddressWrongReference", format!("{of} has a wrong reference; cleaning up")),
    };
    tracing::warn!("{message}");
    warn(api, &About::of(&*record), COMPONENT, reason, message).await;
    records::remove(api, address).await;
    api.alloc.pools.lock().addresses.release(address, uid);
}

/// Says so if the server was started with other ranges than the cluster's.
async fn compare_own_ranges(api: &Api) {
    let Some(range) = find::<ServiceCIDR>(api, super::ranges::TABLE, "kubernetes") else { return };
    let held = range.spec.as_ref().and_then(|spec| spec.cidrs.clone()).unwrap_or_default();
    let own = api.alloc.ranges();
    if held != own {
        let message = format!(
            "The default ServiceCIDR [{}] does not match the controller flag configurations [{}]",
            held.join(" "),
            own.join(" ")
        );
        tracing::warn!("{message}");
        let component = "kubernetes-service-cidr-controller";
        let reason = "KubernetesDefaultServiceCIDRInconsistent";
        warn(api, &About::of(&*range), component, reason, message).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(yaml: &str) -> IPAddress {
        serde_saphyr::from_str(&format!("{{metadata: {{name: 10.96.0.7, {yaml}}}")).unwrap()
    }

    const LABELS: &str = "labels: {ipaddress.kubernetes.io/ip-family: IPv4, ipaddress.kubernetes.io/managed-by: ipallocator.k8s.io}}";

    #[test]
    fn a_service_and_its_address_name_each_other_or_are_mended() {
        let of = |parent: &str, labels: &str| record(&format!("{labels}, spec: {{parentRef: {{{parent}}}}}"));
        let address = "10.96.0.7".parse().unwrap();
        let own = ("a", "web");
        let ours = "resource: services, namespace: a, name: web";
        let other = "resource: services, namespace: a, name: other";
        for (given, holds, expected) in [
            (None, false, Some(Wrong::Missing)),
            (Some(of(ours, LABELS)), true, None),
            (Some(of(ours, "labels: {}}")), true, Some(Wrong::Labels)),
            (Some(of(other, LABELS)), true, Some(Wrong::Shared)),
            (Some(of(other, LABELS)), false, Some(Wrong::Reference)),
            (Some(of("resource: gateways, name: web", LABELS)), false, Some(Wrong::Reference)),
        ] {
            assert_eq!(judge(own, address, given.as_ref(), holds), expected, "{given:?}");
        }
        assert_eq!(judge_record(&of(ours, LABELS), false, false), Some(Wrong::Leaked));
        assert_eq!(judge_record(&of(ours, LABELS), true, false), Some(Wrong::Reference));
        assert_eq!(judge_record(&of(ours, LABELS), true, true), None);
        let gateway = of("resource: gateways, name: web", LABELS);
        assert_eq!(judge_record(&gateway, false, false), Some(Wrong::NoService));
    }
}
