//! A workload whose size follows what its pods use.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use serde_json::json;
use skiff_testkit::World;
use skiff_testkit::world::Check;

use super::life::{exactly, kill_one, template};
use super::{Scenario, ensure, put};

/// All pods together use so many thousandths of a processor from now on.
fn load(world: &World, cpu: u64) {
    world.edit::<ConfigMap>("blue", "load", |it| it["data"]["cpu"] = cpu.to_string().into());
}

#[test]
fn a_workload_grows_and_shrinks_with_its_load() {
    let scenario = Scenario {
        name: "autoscale",
        schedules: 100,
        controllers: &["horizontalpodautoscaling", "deployment", "replicaset"],
        begin: |world, dice| {
            put::<ConfigMap>(
                world,
                json!({"metadata": {"name": "load", "namespace": "blue"}, "data": {"cpu": "200"}}),
            );
            let replicas = 1 + dice.below(5);
            put::<Deployment>(
                world,
                json!({"metadata": {"name": "web", "namespace": "blue"}, "spec": {"replicas": replicas,
                    "selector": {"matchLabels": {"app": "web"}}, "revisionHistoryLimit": 2, "progressDeadlineSeconds": 600,
                    "template": template("web", "final"), "strategy": {"type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}}}),
            );
            put::<HorizontalPodAutoscaler>(
                world,
                json!({"metadata": {"name": "web", "namespace": "blue"}, "spec": {"minReplicas": 1, "maxReplicas": 5,
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                    "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                        "target": {"type": "AverageValue", "averageValue": "100m"}}}]}}),
            );
        },
        whim: |world, dice| match dice.below(3) {
            0 => kill_one(world, dice),
            _ => load(world, 100 + dice.below(900)),
        },
        finally: |world| load(world, 300),
        always: || -> Check {
            Box::new(|truth| {
                let wanted = truth.get::<Deployment>("blue", "web").and_then(|it| it.spec.replicas);
                ensure(wanted.is_none_or(|wanted| (1..=5).contains(&wanted)), || {
                    format!("{wanted:?} are wanted")
                })
            })
        },
        end: |truth| exactly(&truth.all::<Pod>(), 3, "final"),
    };
    scenario.run();
}
