//! Replication controllers and deployments.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::json;
use skiff_testkit::world::{Dice, Truth};
use skiff_testkit::{World, given};

use super::life::{exactly, kill_one, template};
use super::{Scenario, anything, ensure, put};

fn controller(world: &World) {
    let value = json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "web", "namespace": "blue"},
        "spec": {"replicas": 2, "selector": {"app": "web"}, "template": template("web", "final")}});
    put::<ReplicationController>(world, value);
}

fn size<K: skiff_api::Readable>(world: &World, replicas: u64) {
    world.edit::<K>("blue", "web", |it| it["spec"]["replicas"] = replicas.into());
}

#[test]
fn a_replication_controller_keeps_its_number() {
    let scenario = Scenario {
        name: "replication",
        schedules: 1_600,
        controllers: &["replication-controller"],
        begin: |world, _| controller(world),
        whim: |world, dice| match dice.below(4) {
            0 | 1 => size::<ReplicationController>(world, dice.below(5)),
            2 => kill_one(world, dice),
            _ => {
                let mut stray = given::pod("blue", &format!("stray-{}", world.revision()));
                stray.metadata.labels = Some([("app".to_owned(), "web".to_owned())].into());
                stray.spec.as_mut().unwrap().containers[0].image = Some("final".to_owned());
                world.put(&stray);
            }
        },
        finally: |world| size::<ReplicationController>(world, 3),
        always: anything,
        end: |truth| {
            exactly(&truth.all::<Pod>(), 3, "final")?;
            let status =
                truth.get::<ReplicationController>("blue", "web").unwrap().status.clone().unwrap_or_default();
            ensure((status.replicas, status.ready_replicas) == (3, Some(3)), || format!("{status:?}"))
        },
    };
    scenario.run();
}

fn deployment(world: &World, replicas: i32) {
    let value = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "blue"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": 600, "template": template("web", "first"), "strategy": {"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}}});
    put::<Deployment>(world, value);
}

fn image(world: &World, image: &str) {
    let container = |it: &mut serde_json::Value| {
        it["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
    };
    world.edit::<Deployment>("blue", "web", container);
}

fn rolled_out(truth: &Truth<'_>, count: usize) -> Result<(), String> {
    exactly(&truth.all::<Pod>(), count, "final")?;
    let deployment = truth.get::<Deployment>("blue", "web").unwrap();
    let status = deployment.status.clone().unwrap_or_default();
    let all = i32::try_from(count).ok();
    let numbers =
        [status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas];
    ensure(numbers.iter().all(|number| *number == all), || format!("{numbers:?}"))?;
    ensure(status.terminating_replicas == Some(0), || {
        format!("{:?} terminating", status.terminating_replicas)
    })?;
    let done = |it: &k8s_openapi::api::apps::v1::DeploymentCondition| {
        it.type_.as_deref() == Some("Progressing") && it.reason.as_deref() == Some("NewReplicaSetAvailable")
    };
    ensure(status.conditions.iter().flatten().any(done), || format!("{:?}", status.conditions))?;
    let sets = truth.all::<ReplicaSet>().len();
    ensure(sets <= 3, || format!("{sets} replica sets are kept, 2 wanted besides the current one"))
}

/// However late the news of what was just written: all sets together ask for no more pods than there may be.
fn within_surge(truth: &Truth<'_>, most: i32) -> Result<(), String> {
    let sizes: Vec<i32> =
        truth.all::<ReplicaSet>().iter().map(|set| set.spec.replicas.unwrap_or(1)).collect();
    ensure(sizes.iter().sum::<i32>() <= most, || format!("sets of {sizes:?} pods, {most} in all are allowed"))
}

#[test]
fn a_rollout_comes_to_the_last_image() {
    let scenario = Scenario {
        name: "rollout",
        schedules: 250,
        controllers: &["deployment", "replicaset"],
        begin: |world, _| deployment(world, 4),
        whim: |world, dice| image(world, ["a", "b", "c"][usize::try_from(dice.below(3)).unwrap()]),
        finally: |world| image(world, "final"),
        // Availability is not promised here: pods that ended a moment ago and are not seen yet are counted, by upstream's
        // controller too. With what is seen it is kept, as the property tests of the plan show.
        always: || Box::new(|truth| within_surge(truth, 4 + 1)),
        end: |truth| rolled_out(truth, 4),
    };
    scenario.run();
}

#[test]
fn a_deployment_comes_to_what_was_wanted_last() {
    let scenario = Scenario {
        name: "deployment",
        schedules: 250,
        controllers: &["deployment", "replicaset"],
        begin: |world, _| deployment(world, 2),
        whim: |world, dice| match dice.below(6) {
            0 => image(world, ["a", "b", "c"][usize::try_from(dice.below(3)).unwrap()]),
            1 | 2 => size::<Deployment>(world, dice.below(6)),
            3 => world.edit::<Deployment>("blue", "web", |it| it["spec"]["paused"] = true.into()),
            4 => {
                let sets = world.look(|truth| truth.all::<ReplicaSet>());
                if let Some(set) = sets.first() {
                    world.delete::<ReplicaSet>("blue", set.metadata.name.as_deref().unwrap());
                }
            }
            _ => kill_one(world, dice),
        },
        finally: |world| {
            size::<Deployment>(world, 3);
            image(world, "final");
            world.edit::<Deployment>("blue", "web", |it| it["spec"]["paused"] = false.into());
        },
        always: anything,
        end: |truth| rolled_out(truth, 3),
    };
    scenario.run();
}

#[test]
fn a_budget_knows_its_pods() {
    let scenario = Scenario {
        name: "budget",
        schedules: 200,
        controllers: &["deployment", "replicaset", "disruption"],
        begin: |world, _| {
            deployment(world, 2);
            let budget = "{metadata: {name: web, namespace: blue}, spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}}";
            world.put(&given::yaml::<PodDisruptionBudget>(budget));
        },
        whim: |world: &World, dice: &mut Dice| match dice.below(3) {
            0 => size::<Deployment>(world, dice.below(5)),
            1 => image(world, "b"),
            _ => kill_one(world, dice),
        },
        finally: |world| {
            size::<Deployment>(world, 3);
            image(world, "final");
        },
        always: anything,
        end: |truth| {
            rolled_out(truth, 3)?;
            let status =
                truth.get::<PodDisruptionBudget>("blue", "web").unwrap().status.clone().unwrap_or_default();
            let found = [
                status.expected_pods,
                status.desired_healthy,
                status.current_healthy,
                status.disruptions_allowed,
            ];
            ensure(found == [Some(3), Some(2), Some(3), Some(1)], || format!("{found:?}"))
        },
    };
    scenario.run();
}
