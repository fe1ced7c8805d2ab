//! What follows nodes: daemon sets, and pods that are driven out.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};
use skiff_api::pod;
use skiff_testkit::{World, given};

use super::life::{exactly, kill_one, template};
use super::{Scenario, anything, ensure, put};

/// There is a node of this name.
pub(super) fn node(world: &World, name: &str) {
    if world.look(|truth| truth.get::<Node>("", name)).is_none() {
        world.put(&given::node(name));
    }
}

fn taint(world: &World, name: &str, taints: Value) {
    world.edit::<Node>("", name, |node| node["spec"] = json!({ "taints": taints }));
}

fn image(world: &World, image: &str) {
    world.edit::<DaemonSet>("blue", "agent", |it| {
        it["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
    });
}

fn daemon(world: &World, surge: bool) {
    let (surge, unavailable) = if surge { (1, 0) } else { (0, 1) };
    let value = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "namespace": "blue"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template("agent", "first"),
            "updateStrategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}}});
    put::<DaemonSet>(world, value);
}

#[test]
fn every_node_comes_to_have_one_daemon() {
    let scenario = Scenario {
        name: "daemon",
        schedules: 1_500,
        controllers: &["daemonset", "podgc"],
        begin: |world, dice| {
            ["n1", "n2"].iter().for_each(|name| node(world, name));
            daemon(world, dice.percent(50));
        },
        whim: |world, dice| match dice.below(6) {
            0 => image(world, "b"),
            1 => node(world, "n4"),
            2 => world.delete::<Node>("", "n4"),
            3 => taint(world, "n2", json!([{"key": "evil", "effect": "NoExecute"}])),
            4 => node(world, "n3"),
            _ => kill_one(world, dice),
        },
        finally: |world| {
            world.delete::<Node>("", "n4");
            ["n1", "n2", "n3"].iter().for_each(|name| node(world, name));
            taint(world, "n2", json!([]));
            image(world, "final");
        },
        always: anything,
        end: |truth| {
            let pods = truth.all::<Pod>();
            exactly(&pods, 3, "final")?;
            let nodes: BTreeSet<&str> = pods.iter().filter_map(|pod| pod::node_name(pod)).collect();
            ensure(nodes.len() == 3, || format!("pods on {nodes:?}"))?;
            let status = truth.get::<DaemonSet>("blue", "agent").unwrap().status.clone().unwrap_or_default();
            let numbers =
                (status.desired_number_scheduled, status.number_ready, status.updated_number_scheduled);
            ensure(numbers == (3, 3, Some(3)), || format!("{status:?}"))
        },
    };
    scenario.run();
}

#[test]
fn who_does_not_bear_a_taint_is_driven_out() {
    let scenario = Scenario {
        name: "taints",
        schedules: 1_700,
        controllers: &["taint-eviction-controller"],
        begin: |world, _| {
            ["n1", "n2"].iter().for_each(|name| node(world, name));
            for n in 0..4 {
                let mut pod = given::pod("blue", &format!("p{n}"));
                let spec = pod.spec.as_mut().unwrap();
                spec.tolerations = Some(match n {
                    0 => given::yaml("[{key: evil, operator: Exists}]"),
                    1 => given::yaml(
                        "[{key: evil, operator: Exists, effect: NoExecute, tolerationSeconds: 60}]",
                    ),
                    _ => Vec::new(),
                });
                spec.node_name = Some(if n == 3 { "n2" } else { "n1" }.to_owned());
                world.put(&pod);
            }
        },
        whim: |world, dice| {
            let effect = *dice.pick(&["NoSchedule", "PreferNoSchedule"]);
            taint(world, "n1", json!([{"key": "mild", "effect": effect}]));
        },
        finally: |world| taint(world, "n1", json!([{"key": "evil", "effect": "NoExecute"}])),
        always: anything,
        end: |truth| {
            let pods = truth.all::<Pod>();
            let names: Vec<&str> = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
            ensure(names == ["p0", "p3"], || format!("{names:?} are there"))
        },
    };
    scenario.run();
}
