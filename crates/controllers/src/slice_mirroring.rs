//! Endpoints that people write themselves, for services without a selector, as slices: proxies read only those.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use skiff_api::names;
use skiff_client::cache::{Index, decode};
use skiff_client::controller::{Itself, Key, Next, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write;

use crate::endpoint_slices::carry_out;
use crate::endpoint_slices::desired::{Group, key};
use crate::endpoint_slices::plan::{self, Frame};
use crate::shared::pods::manager;
use crate::shared::service::{self, Labelled};
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "endpointslicemirroring-controller",
    component: "endpoint-slice-mirroring-controller",
    wakes: &[
        on::<Endpoints, Itself>(),
        on::<Service, Itself>(),
        on::<EndpointSlice, Labelled>().indexed(&[MIRRORED]),
    ],
    may: &[
        ("create update delete", "endpointslices.discovery.k8s.io"),
        ("update", "endpoints/finalizers"),
        ("create patch", "events"),
    ],
    workers: 2,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Annotation of old leader elections, which kept their record in Endpoints.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// More addresses of a subset than this are not mirrored.
const MOST: usize = 1000;

/// Finds our slices by `namespace/service`.
const MIRRORED: Index = Index { name: "mirrored", values: |slice| service::of_slice(slice, MANAGER) };

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let held = ctx.cache::<EndpointSlice>().by(&MIRRORED, key.as_str());
    let held: Vec<Arc<EndpointSlice>> = held.iter().filter_map(|slice| decode(slice)).collect();
    let service = ctx.get::<Service>(&key);
    let endpoints = ctx.get::<Endpoints>(&key).filter(|endpoints| wanted(endpoints));
    let (Some(_), Some(endpoints)) = (service.filter(|service| has_no_selector(service)), endpoints) else {
        try_join_all(held.iter().map(|slice| ctx.delete(&**slice, DeleteOptions::default()))).await?;
        return Ok(Next::Rest);
    };
    let subsets = endpoints.subsets.as_deref().unwrap_or_default();
    let skipped = skipped(subsets);
    if skipped > 0 {
        let message = format!(
            "A max of {MOST} addresses can be mirrored to EndpointSlices per Endpoints subset. {skipped} addresses were skipped"
        );
        ctx.event(reference(&*endpoints), EventKind::Warning, "TooManyAddressesToMirror", message);
    }
    let groups = groups(subsets);
    match carry_out(&ctx, plan::plan(&frame(&endpoints), groups, held)).await {
        Ok(()) => Ok(Next::Rest),
        Err(error) if write::is_terminating(&error) => Ok(Next::Rest),
        Err(error) => Err(error.into()),
    }
}

/// Endpoints that are meant for a service, and that nobody asked to leave alone.
fn wanted(endpoints: &Endpoints) -> bool {
    let meta = &endpoints.metadata;
    let skipped =
        meta.labels.as_ref().and_then(|labels| labels.get(SKIP)).is_some_and(|value| value == "true");
    let election = meta.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LEADER));
    !skipped && !election && meta.deletion_timestamp.is_none()
}

fn has_no_selector(service: &Service) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_none_or(BTreeMap::is_empty) && service.metadata.deletion_timestamp.is_none()
}

fn frame(endpoints: &Endpoints) -> Frame {
    let name = endpoints.metadata.name.clone().unwrap_or_default();
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(names::SERVICE_NAME.to_owned(), name.clone());
    labels.insert(names::MANAGED_BY.to_owned(), MANAGER.to_owned());
    Frame {
        service: name,
        namespace: endpoints.metadata.namespace.clone(),
        labels,
        owner: manager(endpoints),
    }
}

/// How many addresses are too many to be mirrored.
fn skipped(subsets: &[EndpointSubset]) -> usize {
    let count = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
    let all = |subset: &EndpointSubset| count(&subset.addresses) + count(&subset.not_ready_addresses);
    subsets.iter().map(|subset| all(subset).saturating_sub(MOST)).sum()
}

/// Subsets by address family and ports.
fn groups(subsets: &[EndpointSubset]) -> Vec<Group> {
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    for subset in subsets {
        let ports: Vec<EndpointPort> = subset
            .ports
            .iter()
            .flatten()
            .map(|port| EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(port.port),
                protocol: port.protocol.clone(),
                app_protocol: port.app_protocol.clone(),
            })
            .collect();
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let unready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        for (address, ready) in ready.chain(unready).take(MOST) {
            let family = if address.ip.contains(':') { "IPv6" } else { "IPv4" };
            let group = groups.entry((family.to_owned(), key(&ports))).or_insert_with(|| Group {
                family: family.to_owned(),
                ports: ports.clone(),
                endpoints: Vec::new(),
            });
            group.endpoints.push(endpoint(address, ready));
        }
    }
    groups.into_values().collect()
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn subsets_become_groups_by_family_and_ports() {
        let endpoints: Endpoints =
            serde_json::from_value(json!({"metadata": {"name": "db", "namespace": "blue"},
            "subsets": [{"addresses": [{"ip": "10.1.2.3"}, {"ip": "fd00::1"}],
                "notReadyAddresses": [{"ip": "10.1.2.4"}], "ports": [{"port": 5432}]}]}))
            .unwrap();
        let groups = groups(endpoints.subsets.as_deref().unwrap());
        let shown: Vec<(String, usize)> =
            groups.iter().map(|group| (group.family.clone(), group.endpoints.len())).collect();
        assert_eq!(shown, [("IPv4".to_owned(), 2), ("IPv6".to_owned(), 1)]);
        let plan = plan::plan(&frame(&endpoints), groups, Vec::new());
        assert_eq!((plan.create.len(), plan.create[0].metadata.generate_name.as_deref()), (2, Some("db-")));
    }
}
