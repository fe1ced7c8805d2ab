//! Groups of Coscheduling: whatever fails, and whoever hears of it late, nobody waits for ever.

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use skiff_api::{Resource, pod};
use skiff_scheduler::Configuration;
use skiff_testkit::world::{Dice, Truth};
use skiff_testkit::{World, given};

use super::{Scenario, anything, ensure};

/// The scheduler with the plugin, among the controllers of a scenario.
pub(super) const NAME: &str = "kube-scheduler with Coscheduling";
/// One of them more than there are nodes.
const PODS: u64 = 4;
const NODES: [&str; 3] = ["one", "two", "three"];

/// How a scheduler of this name is configured.
pub(super) fn configuration(name: &str) -> Configuration {
    if name != NAME {
        return Configuration::default();
    }
    let file = "{apiVersion: kubescheduler.config.k8s.io/v1, kind: KubeSchedulerConfiguration, profiles:
        [{plugins: {multiPoint: {enabled: [{name: Coscheduling}], disabled: [{name: PrioritySort}]}}}]}";
    Configuration::parse(file.as_bytes()).unwrap()
}

fn begin(world: &World, _: &mut Dice) {
    NODES.iter().for_each(|name| world.put(&given::node(name)));
    let groups = Resource {
        group: "scheduling.x-k8s.io".into(),
        version: "v1alpha1".into(),
        plural: "podgroups".into(),
        kind: "PodGroup".into(),
        namespaced: true,
    };
    let group = json!({"apiVersion": "scheduling.x-k8s.io/v1alpha1", "kind": "PodGroup",
        "metadata": {"name": "gang", "namespace": "blue"}, "spec": {"minMember": 3, "scheduleTimeoutSeconds": 20}});
    world.put_custom(&groups, group);
}

/// A pod of the group comes; each takes a node for itself.
fn come(world: &World, name: &str) {
    let mut pod = given::pod("blue", name);
    pod.metadata.labels = Some([("scheduling.x-k8s.io/pod-group".to_owned(), "gang".to_owned())].into());
    let spec = pod.spec.as_mut().unwrap();
    spec.scheduler_name = Some("default-scheduler".to_owned());
    spec.restart_policy = Some("Always".to_owned());
    spec.containers[0].ports = Some(given::yaml("[{containerPort: 80, hostPort: 80}]"));
    world.put(&pod);
}

/// A pod that comes, or goes.
fn toggle(world: &World, dice: &mut Dice) {
    let name = format!("p{}", dice.below(PODS));
    if world.look(|truth| truth.get::<Pod>("blue", &name)).is_some() {
        world.delete::<Pod>("blue", &name);
    } else {
        come(world, &name);
    }
}

/// A node that takes no pods for a while.
fn cordon(world: &World, name: &str, closed: bool) {
    world.edit::<Node>("", name, |node| node["spec"] = json!({ "unschedulable": closed }));
}

fn finally(world: &World) {
    NODES.iter().for_each(|name| cordon(world, name, false));
    for n in 0..PODS {
        let name = format!("p{n}");
        if world.look(|truth| truth.get::<Pod>("blue", &name)).is_none() {
            come(world, &name);
        }
    }
}

fn end(truth: &Truth<'_>) -> Result<(), String> {
    let bound =
        truth.all::<Pod>().iter().filter(|pod| pod::is_active(pod) && pod::node_name(pod).is_some()).count();
    let all = truth.all::<Pod>().iter().filter(|pod| pod::is_active(pod)).count();
    // One that was bound though the scheduler heard that it failed may share its node.
    ensure(bound >= all.min(NODES.len()), || format!("{bound} of {all} have their place"))
}

#[test]
fn in_the_end_a_group_has_all_the_room_there_is() {
    let scenario = Scenario {
        name: "groups of Coscheduling",
        schedules: 200,
        controllers: &[NAME],
        begin,
        whim: |world, dice| match dice.below(8) {
            0..6 => toggle(world, dice),
            _ => {
                let name: &&str = dice.pick(&NODES);
                cordon(world, name, dice.percent(50));
            }
        },
        finally,
        always: anything,
        end,
    };
    scenario.run();
}
