//! Claims for devices: those of pods alone, and one that they share.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimTemplate};
use serde_json::json;
use skiff_api::pod;
use skiff_api::pod::claims::{self, PROTECTION};
use skiff_testkit::world::{Check, Dice, Truth};
use skiff_testkit::{World, given};

use super::{Scenario, ensure, ensure_there, put};

fn template(world: &World) {
    ensure_there::<ResourceClaimTemplate>(
        world,
        "blue",
        "t",
        json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate",
            "metadata": {"name": "t", "namespace": "blue"}, "spec": {"spec": {}}}),
    );
}

/// A pod that comes, or goes.
fn toggle(world: &World, dice: &mut Dice) {
    let name = format!("p{}", dice.below(4));
    if world.look(|truth| truth.get::<Pod>("blue", &name)).is_some() {
        return world.delete::<Pod>("blue", &name);
    }
    let mut pod = given::pod("blue", &name);
    let spec = pod.spec.as_mut().unwrap();
    spec.restart_policy = Some(if dice.percent(40) { "Never" } else { "Always" }.to_owned());
    spec.resource_claims = Some(given::yaml(
        "[{name: own, resourceClaimTemplateName: t}, {name: shared, resourceClaimName: shared}]",
    ));
    world.put(&pod);
}

/// What the scheduler does: devices are allocated for a claim and it is reserved for a pod.
fn allocate(world: &World, dice: &mut Dice) {
    let pods: Vec<Arc<Pod>> = world.look(|truth| truth.all::<Pod>());
    let waiting: Vec<&Arc<Pod>> = pods.iter().filter(|pod| pod::is_active(pod)).collect();
    if waiting.is_empty() {
        return;
    }
    let pod = dice.pick(&waiting);
    let names = claims::of(pod).iter().filter_map(|claim| claims::name(pod, claim).ok()?.text());
    let names: Vec<&str> = names.collect();
    let name = *dice.pick(&names);
    let held = world.look(|truth| truth.get::<ResourceClaim>("blue", name));
    let Some(held) = held.filter(|held| held.metadata.deletion_timestamp.is_none()) else { return };
    if claims::is_reserved_for(&held, pod) {
        return;
    }
    let mut consumers = claims::consumers(&held).to_vec();
    consumers.push(claims::consumer(pod));
    world.edit::<ResourceClaim>("blue", name, |claim| {
        claim["metadata"]["finalizers"] = json!([PROTECTION]);
        claim["status"] = json!({ "allocation": {}, "reservedFor": consumers });
    });
}

fn may_use(pod: &Pod) -> bool {
    let before_its_node = pod.metadata.deletion_timestamp.is_some() && pod::node_name(pod).is_none();
    !pod::is_finished(pod) && !before_its_node
}

/// Nobody loses devices that they may use.
fn kept() -> Check {
    let before: Mutex<HashMap<String, BTreeSet<String>>> = Mutex::default();
    Box::new(move |truth| {
        let pods = truth.all::<Pod>();
        let alive: BTreeSet<&str> =
            pods.iter().filter(|pod| may_use(pod)).filter_map(|pod| pod.metadata.uid.as_deref()).collect();
        let mut before = before.lock().unwrap();
        let mut now = HashMap::new();
        for claim in truth.all::<ResourceClaim>() {
            let uid = claim.metadata.uid.clone().unwrap();
            let users = claims::consumers(&claim).iter().map(|it| it.uid.clone());
            let users = if claims::is_allocated(&claim) { users.collect() } else { BTreeSet::new() };
            now.insert(uid, users);
        }
        for (claim, users) in before.iter() {
            let left = now.get(claim);
            let lost = users
                .iter()
                .find(|it| alive.contains(it.as_str()) && !left.is_some_and(|left| left.contains(*it)));
            if let Some(lost) = lost {
                return Err(format!("{lost} has lost {claim}"));
            }
        }
        *before = now;
        Ok(())
    })
}

fn end(truth: &Truth<'_>) -> Result<(), String> {
    let all = truth.all::<ResourceClaim>();
    for pod in truth.all::<Pod>().iter().filter(|pod| pod::is_active(pod)) {
        for claim in claims::of(pod) {
            let name = claims::name(pod, claim).map_err(|error| error.to_string())?;
            let held = all.iter().find(|held| held.metadata.name.as_deref() == name.text());
            let held = held.ok_or_else(|| format!("{name:?} is not there"))?;
            if let claims::Name::Made(_) = name {
                claims::is_for(held, pod).map_err(|error| error.to_string())?;
            }
            let reserved = !claims::is_allocated(held) || claims::is_reserved_for(held, pod);
            ensure(reserved || pod::node_name(pod).is_none(), || format!("{name:?} is used unreserved"))?;
        }
    }
    let pods = truth.all::<Pod>();
    let using: BTreeSet<&str> =
        pods.iter().filter(|pod| may_use(pod)).filter_map(|pod| pod.metadata.uid.as_deref()).collect();
    for claim in &all {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        let owners = claim.metadata.owner_references.iter().flatten();
        let orphan =
            owners.clone().next().is_some() && !owners.clone().any(|it| using.contains(it.uid.as_str()));
        ensure(!orphan, || format!("{name} has survived its pod"))?;
        let ghost = claims::consumers(claim).iter().find(|it| !using.contains(it.uid.as_str()));
        ensure(ghost.is_none(), || format!("{name} is reserved for {ghost:?}"))?;
        let idle = claims::is_allocated(claim) && claims::consumers(claim).is_empty();
        ensure(!idle, || format!("{name} is allocated for nobody"))?;
    }
    Ok(())
}

#[test]
fn pods_have_their_claims_and_nobody_keeps_devices_that_nobody_uses() {
    let scenario = Scenario {
        name: "resource claims",
        schedules: 400,
        controllers: &["resourceclaim-controller"],
        begin: |world, dice| {
            put::<ResourceClaim>(
                world,
                json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
                    "metadata": {"name": "shared", "namespace": "blue"}, "spec": {}, "status": {}}),
            );
            if dice.percent(70) {
                template(world);
            }
            toggle(world, dice);
        },
        whim: |world, dice| match dice.below(8) {
            0..4 => toggle(world, dice),
            4..7 => allocate(world, dice),
            _ => world.delete::<ResourceClaimTemplate>("blue", "t"),
        },
        finally: template,
        always: kept,
        end,
    };
    scenario.run();
}
