//! The scheduler and claims for devices: whatever fails, and whoever hears of it late, no device has two masters.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice};
use serde_json::json;
use skiff_api::pod::{self, claims};
use skiff_testkit::world::{Check, Dice, Truth};
use skiff_testkit::{World, given};

use super::{Scenario, ensure, put};

/// The scheduler, among the controllers of a scenario.
pub(super) const NAME: &str = "kube-scheduler";
const PODS: u64 = 4;
const GROUP: &str = "resource.k8s.io/v1";

/// One of the two slices of a pool that all nodes reach; there is a device for each pod, and one that they share.
fn slice(n: u64) -> ResourceSlice {
    let devices = if n == 0 { "[{name: d0}, {name: d1}, {name: d2}]" } else { "[{name: d3}, {name: d4}]" };
    given::yaml(&format!(
        "{{metadata: {{name: f{n}}}, spec: {{driver: d, allNodes: true, devices: {devices},
        pool: {{name: fabric, generation: 1, resourceSliceCount: 2}}}}}}"
    ))
}

fn begin(world: &World, _: &mut Dice) {
    for name in ["one", "two"] {
        world.put(&given::node(name));
    }
    let asks = json!({ "devices": { "requests": [{ "name": "r", "exactly": { "deviceClassName": "c", "count": 1 } }] } });
    put::<DeviceClass>(
        world,
        json!({ "apiVersion": GROUP, "kind": "DeviceClass", "metadata": { "name": "c" }, "spec": {} }),
    );
    put::<ResourceClaimTemplate>(
        world,
        json!({ "apiVersion": GROUP, "kind": "ResourceClaimTemplate",
        "metadata": { "name": "t", "namespace": "blue" }, "spec": { "spec": asks } }),
    );
    put::<ResourceClaim>(
        world,
        json!({ "apiVersion": GROUP, "kind": "ResourceClaim",
        "metadata": { "name": "shared", "namespace": "blue" }, "spec": asks, "status": {} }),
    );
    (0..2).for_each(|n| world.put(&slice(n)));
}

/// A pod that comes, or goes.
fn toggle(world: &World, dice: &mut Dice) {
    let name = format!("p{}", dice.below(PODS));
    if world.look(|truth| truth.get::<Pod>("blue", &name)).is_some() {
        return world.delete::<Pod>("blue", &name);
    }
    let mut pod = given::pod("blue", &name);
    let spec = pod.spec.as_mut().unwrap();
    spec.scheduler_name = Some("default-scheduler".to_owned());
    spec.restart_policy = Some(if dice.percent(40) { "Never" } else { "Always" }.to_owned());
    spec.resource_claims = Some(given::yaml(
        "[{name: own, resourceClaimTemplateName: t}, {name: shared, resourceClaimName: shared}]",
    ));
    world.put(&pod);
}

/// A slice that is written anew, or not there for a while.
fn rewrite(world: &World, dice: &mut Dice) {
    let n = dice.below(2);
    if world.look(|truth| truth.get::<ResourceSlice>("", &format!("f{n}"))).is_some() {
        world.delete::<ResourceSlice>("", &format!("f{n}"));
    } else {
        world.put(&slice(n));
    }
}

fn finally(world: &World) {
    for n in 0..2 {
        if world.look(|truth| truth.get::<ResourceSlice>("", &format!("f{n}"))).is_none() {
            world.put(&slice(n));
        }
    }
}

/// No device is given to two claims, nobody is bound before its claims have devices and are kept for it, nor loses them
/// while it runs.
fn always() -> Check {
    Box::new(|truth| {
        let mut masters = BTreeMap::new();
        let all = truth.all::<ResourceClaim>();
        for claim in &all {
            let allocation = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
            let given = allocation.and_then(|given| given.devices.as_ref()?.results.as_ref());
            for result in given.into_iter().flatten() {
                let name = claim.metadata.name.clone().unwrap_or_default();
                if let Some(other) = masters.insert(result.device.clone(), name.clone()) {
                    return Err(format!("{} is given to {other} and to {name}", result.device));
                }
            }
        }
        for pod in
            truth.all::<Pod>().iter().filter(|pod| pod::is_active(pod) && pod::node_name(pod).is_some())
        {
            for claim in claims::of(pod) {
                // A status that the node wrote anew does not name it for a while.
                let Ok(name) = claims::name(pod, claim).map(claims::Name::text) else { continue };
                let held = all.iter().find(|held| held.metadata.name.as_deref() == name);
                let has =
                    held.is_some_and(|held| claims::is_allocated(held) && claims::is_reserved_for(held, pod));
                ensure(has, || format!("{:?} is bound without {name:?}", pod.metadata.name))?;
            }
        }
        Ok(())
    })
}

fn end(truth: &Truth<'_>) -> Result<(), String> {
    let pods: Vec<Arc<Pod>> = truth.all::<Pod>();
    let waits = pods.iter().find(|pod| pod::is_active(pod) && pod::node_name(pod).is_none());
    ensure(waits.is_none(), || format!("{:?} waits", waits.map(|pod| &pod.metadata.name)))
}

#[test]
fn no_device_has_two_masters_and_in_the_end_all_pods_have_theirs() {
    let scenario = Scenario {
        name: "scheduler and claims",
        schedules: 200,
        controllers: &["resourceclaim-controller", NAME],
        begin,
        whim: |world, dice| match dice.below(8) {
            0..6 => toggle(world, dice),
            _ => rewrite(world, dice),
        },
        finally,
        always,
        end,
    };
    scenario.run();
}
