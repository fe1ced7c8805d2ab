//! Endpoints: for each service with a selector, the addresses and ports behind it, in one object.
//!
//! The older form; slices carry the truth for proxies. Old clients and the 2014 API read this one.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta};
use skiff_client::controller::{Itself, Key, Next, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write;

use crate::shared::seen::Seen;
use crate::shared::service::{self, HEADLESS, Selecting};
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "endpoint-controller",
    component: "endpoint-controller",
    wakes: &[on::<Service, Itself>(), on::<Pod, Selecting>(), on::<Endpoints, Itself>()],
    may: &[("create update delete", "endpoints"), ("create patch", "events")],
    workers: 5,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// More addresses than this are cut off, ready ones last.
const MOST: usize = 1000;

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let held = ctx.get::<Endpoints>(&key);
    let Some(service) = ctx.get::<Service>(&key) else { return forget(&ctx, held.as_deref()).await };
    let Some(selector) = service::selector(&service) else { return Ok(Next::Rest) };
    let unready = service::publishes_unready(&service);
    let pods = service::pods(&ctx, key.namespace().unwrap_or_default(), &selector, unready);
    let (subsets, cut) = cut(subsets(&service, &pods));
    let wanted = wanted(&service, held.as_deref(), subsets, cut);
    let result = match &held {
        Some(held) if **held == wanted => return Ok(Next::Rest),
        Some(_) => ctx.replace(&wanted).await,
        None => ctx.create(&wanted).await,
    };
    match result {
        Ok(_) => Ok(Next::Rest),
        Err(error) if write::is_terminating(&error) => Ok(Next::Rest),
        Err(error) => {
            if !write::is_conflict(&error) {
                let (reason, what) = match held {
                    Some(_) => ("FailedToUpdateEndpoint", "update endpoint"),
                    None => ("FailedToCreateEndpoint", "create endpoint for service"),
                };
                let message = format!("Failed to {what} {key}: {}", write::words(&error));
                ctx.event(reference(&wanted), EventKind::Warning, reason, message);
            }
            Err(error.into())
        }
    }
}

/// The service is gone: so are endpoints that this controller made.
async fn forget(ctx: &Ctx, held: Option<&Endpoints>) -> Outcome {
    let ours = |endpoints: &&Endpoints| {
        let labels = endpoints.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|manager| manager == MANAGER)
    };
    if let Some(held) = held.filter(ours) {
        ctx.delete(held, DeleteOptions::default()).await?;
    }
    Ok(Next::Rest)
}

/// The object as it should be, all that is not ours kept.
fn wanted(service: &Service, held: Option<&Endpoints>, subsets: Vec<EndpointSubset>, cut: bool) -> Endpoints {
    let mut endpoints = held.cloned().unwrap_or_else(|| Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        ..Endpoints::default()
    });
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if service::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    endpoints.metadata.labels = Some(labels);
    let annotations = endpoints.metadata.annotations.get_or_insert_default();
    if cut {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    } else {
        annotations.remove(OVER_CAPACITY);
    }
    if annotations.is_empty() {
        endpoints.metadata.annotations = None;
    }
    endpoints.subsets = (!subsets.is_empty()).then_some(subsets);
    endpoints
}

/// An address with whether it is ready.
type Address = (bool, EndpointAddress);
type Ports = Vec<EndpointPort>;

/// Addresses with the same ports share a subset; subsets and what is in them are sorted, so that equal sets of pods
/// give equal objects.
fn subsets(service: &Service, pods: &[Seen]) -> Vec<EndpointSubset> {
    let spec = service.spec.as_ref();
    let wanted = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let family = spec.and_then(|spec| spec.ip_families.as_ref()).and_then(|families| families.first());
    let v6 = family.is_some_and(|family| family == "IPv6");
    let mut by_ports: BTreeMap<String, (Ports, Vec<Address>)> = BTreeMap::new();
    for pod in pods {
        let Some(ip) = pod.addresses.iter().find(|ip| ip.contains(':') == v6) else { continue };
        let mut ports: Ports = Vec::new();
        for port in wanted {
            let Some(number) = service::target_port(pod, port) else { continue };
            ports.push(EndpointPort {
                name: port.name.clone(),
                port: number,
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
                app_protocol: port.app_protocol.clone(),
            });
        }
        if ports.is_empty() && !(wanted.is_empty() && service::is_headless(service)) {
            continue;
        }
        ports.sort_by(|a, b| (&a.name, a.port, &a.protocol).cmp(&(&b.name, b.port, &b.protocol)));
        let address = EndpointAddress {
            ip: ip.to_string(),
            hostname: service::hostname(pod, service),
            node_name: pod.node.as_deref().map(str::to_owned),
            target_ref: Some(service::target(pod)),
        };
        let ready = service::publishes_unready(service) || pod.ready;
        // The ports as text are the key: they need an order of their own.
        let key = format!("{:?}", ports.iter().map(|p| (&p.name, p.port, &p.protocol)).collect::<Vec<_>>());
        by_ports.entry(key).or_insert_with(|| (ports, Vec::new())).1.push((ready, address));
    }
    let subset = |(ports, mut addresses): (Ports, Vec<Address>)| {
        addresses.sort_by(|(_, a), (_, b)| a.ip.cmp(&b.ip));
        let (ready, unready): (Vec<Address>, Vec<Address>) =
            addresses.into_iter().partition(|(ready, _)| *ready);
        let list = |addresses: Vec<Address>| {
            let addresses: Vec<EndpointAddress> = addresses.into_iter().map(|(_, address)| address).collect();
            (!addresses.is_empty()).then_some(addresses)
        };
        EndpointSubset {
            addresses: list(ready),
            not_ready_addresses: list(unready),
            ports: (!ports.is_empty()).then_some(ports),
        }
    };
    by_ports.into_values().map(subset).collect()
}

/// Keeps at most [`MOST`] addresses, ready ones first; true if some were left out.
fn cut(mut subsets: Vec<EndpointSubset>) -> (Vec<EndpointSubset>, bool) {
    let mut room = MOST;
    let mut cut = false;
    let mut shorten = |list: &mut Option<Vec<EndpointAddress>>| {
        if let Some(addresses) = list {
            cut |= addresses.len() > room;
            addresses.truncate(room);
            room -= addresses.len();
        }
        list.take_if(|addresses| addresses.is_empty());
    };
    subsets.iter_mut().for_each(|subset| shorten(&mut subset.addresses));
    subsets.iter_mut().for_each(|subset| shorten(&mut subset.not_ready_addresses));
    subsets.retain(|subset| subset.addresses.is_some() || subset.not_ready_addresses.is_some());
    (subsets, cut)
}

#[cfg(test)]
mod tests;
