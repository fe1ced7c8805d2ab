//! LoadBalancer services where no balancer is: the nodes' own addresses serve them, so that on a machine of one's own such
//! a service is reached from outside at the port it names. The nodes' proxies do the work; here is only said where.
//!
//! Name and events are those of upstream's `cloud-provider/controllers/service`. A service whose `loadBalancerClass` names
//! somebody else's balancer is left alone; with `--controllers=*,-service-lb-controller` all are.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Node, Service, ServiceStatus};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use skiff_api::Object;
use skiff_client::Change;
use skiff_client::cache::{Index, decode};
use skiff_client::controller::{Caches, How, Key, Next, Outcome};
use skiff_client::events::{EventKind, reference};

use crate::Settings;
use crate::shared::service::{self, Labelled};
use crate::table::{Ctx, Row, on};

mod plan;

pub(crate) const CONTROLLER: Row = Row {
    name: "service-controller",
    component: "service-controller",
    wakes: &[
        on::<Service, AllBalanced>().indexed(&[BALANCED]),
        on::<Node, OnNodes>(),
        on::<EndpointSlice, Labelled>().indexed(&[SLICES]),
    ],
    may: &[("patch", "services/status"), ("create patch", "events")],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// Finds the services that are ours to serve, all under one word.
const BALANCED: Index = Index {
    name: "balanced",
    values: |service| {
        decode(service).filter(|it| plan::is_ours(it)).map(|_| "yes".into()).into_iter().collect()
    },
};

/// Finds slices by `namespace/service`, whoever keeps them.
const SLICES: Index =
    Index { name: "of any service", values: |slice| service::of_any_slice(slice).into_iter().collect() };

/// The service that is the API servers'.
const SERVERS: &str = "default/kubernetes";

/// The services that are ours; few, even where services are many.
fn all(caches: &Caches) -> Vec<Arc<Object>> {
    caches.of::<Service>().by(&BALANCED, "yes")
}

/// A service that has come or gone, or whose ports are others now, may take ports from the others or leave them some.
struct AllBalanced;

impl How<Settings> for AllBalanced {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        if change.both().all(|service| (BALANCED.values)(service).is_empty()) {
            return Vec::new();
        }
        all(caches).iter().map(|service| service.meta().key().into()).collect()
    }
}

/// A node that serves from now on, or no longer, or elsewhere.
struct OnNodes;

impl How<Settings> for OnNodes {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        let all = all(caches);
        let site = |node: &Arc<Object>| decode::<Node>(node).map(|node| plan::Site::of(&node));
        if all.is_empty() || change.old.as_ref().and_then(site) == change.new.as_ref().and_then(site) {
            return Vec::new();
        }
        all.iter().map(|service| service.meta().key().into()).collect()
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(service) = ctx.get::<Service>(&key).filter(|service| plan::is_ours(service)) else {
        return Ok(Next::Rest);
    };
    let rivals: Vec<Arc<Service>> = all(ctx.caches()).iter().filter_map(|one| decode(one)).collect();
    let sites: Vec<plan::Site> = ctx.all::<Node>().iter().map(|node| plan::Site::of(node)).collect();
    let slices = |service: &str| -> Vec<Arc<EndpointSlice>> {
        let slices = ctx.cache::<EndpointSlice>().by(&SLICES, service);
        slices.iter().filter_map(|slice| decode(slice)).collect()
    };
    let here = plan::Here { rivals, sites, own: slices(key.as_str()), servers: slices(SERVERS) };
    let addresses = here.addresses(&service).unwrap_or_else(|why| {
        let message = format!("Error syncing load balancer: failed to ensure load balancer: {why}");
        ctx.event(reference(&*service), EventKind::Warning, "SyncLoadBalancerFailed", message);
        Vec::new()
    });
    let point = |address: String| LoadBalancerIngress {
        ip: Some(address),
        ip_mode: Some("VIP".to_owned()),
        ..LoadBalancerIngress::default()
    };
    let points: Vec<_> = addresses.into_iter().map(point).collect();
    let held = service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_deref());
    if held.unwrap_or_default() == points {
        return Ok(Next::Rest);
    }
    let served = !points.is_empty();
    let mut wanted = Service::clone(&service);
    wanted.status = Some(ServiceStatus {
        load_balancer: Some(LoadBalancerStatus { ingress: served.then_some(points) }),
        ..wanted.status.unwrap_or_default()
    });
    ctx.patch_status(&*service, &wanted).await?;
    if served {
        let message = "Ensured load balancer".to_owned();
        ctx.event(reference(&*service), EventKind::Normal, "EnsuredLoadBalancer", message);
    }
    Ok(Next::Rest)
}
