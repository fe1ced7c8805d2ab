//! What stands behind a service.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Endpoints, Pod, ReplicationController, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::json;
use skiff_api::pod;
use skiff_testkit::world::Truth;
use skiff_testkit::{World, given};

use super::life::{exactly, kill_one, template};
use super::{Scenario, anything, ensure, put};

fn size(world: &World, replicas: u64) {
    world.edit::<ReplicationController>("blue", "web", |it| it["spec"]["replicas"] = replicas.into());
}

fn end(truth: &Truth<'_>) -> Result<(), String> {
    let pods = truth.all::<Pod>();
    exactly(&pods, 3, "final")?;
    let wanted: BTreeSet<String> =
        pods.iter().flat_map(|pod| pod::addresses(pod)).map(|address| address.to_string()).collect();
    let endpoints = truth.all::<Endpoints>();
    let subsets = endpoints.iter().flat_map(|it| it.subsets.iter().flatten());
    let listed: BTreeSet<String> =
        subsets.flat_map(|subset| subset.addresses.iter().flatten()).map(|it| it.ip.clone()).collect();
    let slices = truth.all::<EndpointSlice>();
    let ready = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    let ready = ready.filter(|it| it.conditions.as_ref().is_some_and(|it| it.ready == Some(true)));
    let sliced: BTreeSet<String> = ready.flat_map(|endpoint| endpoint.addresses.clone()).collect();
    ensure(wanted == listed && wanted == sliced, || {
        format!("pods {wanted:?}, endpoints {listed:?}, slices {sliced:?}")
    })
}

#[test]
fn endpoints_and_slices_come_to_know_the_ready_pods() {
    let scenario = Scenario {
        name: "services",
        schedules: 800,
        controllers: &["replicationcontroller", "endpoint", "endpointslice"],
        begin: |world, _| {
            let value = json!({"apiVersion": "v1", "kind": "ReplicationController",
                "metadata": {"name": "web", "namespace": "blue"}, "spec": {"replicas": 2, "selector": {"app": "web"},
                "template": template("web", "final")}});
            put::<ReplicationController>(world, value);
            let service = "{metadata: {name: web, namespace: blue}, spec: {clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], \
                           ipFamilies: [IPv4], selector: {app: web}, ports: [{port: 80, protocol: TCP}]}}";
            world.put(&given::yaml::<Service>(service));
        },
        whim: |world, dice| match dice.below(3) {
            0 => size(world, dice.below(5)),
            1 => {
                let port = 80 + dice.below(5);
                world.edit::<Service>("blue", "web", |it| it["spec"]["ports"][0]["port"] = port.into());
            }
            _ => kill_one(world, dice),
        },
        finally: |world| size(world, 3),
        always: anything,
        end,
    };
    scenario.run();
}
