//! Endpoint slices: for each service with a selector, its endpoints in objects of at most a hundred.
//!
//! The plan (`plan.rs`) keeps endpoints where they are, so that a change of one pod is a write of one slice.

use std::sync::Arc;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use skiff_api::names;
use skiff_client::cache::{Index, decode};
use skiff_client::controller::{Itself, Key, Next, Nobody, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write;

use crate::shared::pods::manager;
use crate::shared::service::{self, HEADLESS, Labelled, Selecting};
use crate::table::{Ctx, Row, on};

pub(crate) mod desired;
pub(crate) mod plan;

pub(crate) const CONTROLLER: Row = Row {
    name: "endpointslice-controller",
    component: "endpoint-slice-controller",
    wakes: &[
        on::<Service, Itself>(),
        on::<Pod, Selecting>(),
        on::<EndpointSlice, Labelled>().indexed(&[BY_SERVICE]),
        on::<Node, Nobody>(),
    ],
    may: &[
        ("create update delete", "endpointslices.discovery.k8s.io"),
        ("update", "services/finalizers"),
        ("create patch", "events"),
    ],
    workers: 5,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// The value of the label that says whose slices these are.
const MANAGER: &str = "endpointslice-controller.k8s.io";

/// Finds our slices by `namespace/service`.
const BY_SERVICE: Index = Index { name: "service", values: |slice| service::of_slice(slice, MANAGER) };

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let held = ctx.cache::<EndpointSlice>().by(&BY_SERVICE, key.as_str());
    let held: Vec<Arc<EndpointSlice>> = held.iter().filter_map(|slice| decode(slice)).collect();
    let service = ctx.get::<Service>(&key).filter(|service| service.metadata.deletion_timestamp.is_none());
    let Some(service) = service else {
        // They belong to the service and would be collected with it; doing it here is quicker.
        try_join_all(held.iter().map(|slice| ctx.delete(&**slice, DeleteOptions::default()))).await?;
        return Ok(Next::Rest);
    };
    let Some(selector) = service::selector(&service) else { return Ok(Next::Rest) };
    let pods = service::pods(&ctx, key.namespace().unwrap_or_default(), &selector, true);
    let zone = |node: &str| {
        let node = ctx.cache::<Node>().get(node)?;
        node.meta().labels.get("topology.kubernetes.io/zone").map(|zone| zone.to_string())
    };
    let groups = desired::groups(&service, &pods, &zone);
    let plan = plan::plan(&frame(&service), groups, held);
    match carry_out(&ctx, plan).await {
        Ok(()) => Ok(Next::Rest),
        Err(error) if write::is_terminating(&error) => Ok(Next::Rest),
        Err(error) => {
            if !write::is_conflict(&error) {
                let message =
                    format!("Error updating Endpoint Slices for Service {key}: {}", write::words(&error));
                ctx.event(reference(&*service), EventKind::Warning, "FailedToUpdateEndpointSlices", message);
            }
            Err(error.into())
        }
    }
}

/// What the slices of a service bear: its labels and ours.
fn frame(service: &Service) -> plan::Frame {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if service::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    let name = service.metadata.name.clone().unwrap_or_default();
    labels.insert(names::SERVICE_NAME.to_owned(), name.clone());
    labels.insert(names::MANAGED_BY.to_owned(), MANAGER.to_owned());
    plan::Frame {
        service: name,
        namespace: service.metadata.namespace.clone(),
        labels,
        owner: manager(service),
    }
}

pub(crate) async fn carry_out(ctx: &Ctx, plan: plan::Plan) -> write::Result<()> {
    try_join_all(plan.create.iter().map(|slice| ctx.create(slice))).await?;
    try_join_all(plan.update.iter().map(|slice| ctx.replace(slice))).await?;
    try_join_all(plan.delete.iter().map(|slice| ctx.delete(&**slice, DeleteOptions::default()))).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
