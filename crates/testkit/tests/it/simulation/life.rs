//! What scheduler and nodes do with pods: they are placed, begin, become ready, end, are cleared away; one step at a time,
//! whoever is next.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};
use skiff_api::pod;
use skiff_testkit::World;
use skiff_testkit::world::Dice;

/// Pods with this annotation fail more often than not.
pub(super) const FLAKY: &str = "flaky";

enum Act {
    Place(String),
    Begin,
    Ready,
    Finish,
    Fail,
    Clear,
}

/// Something happens to some pod, some time; false if there is nothing to do for anybody.
pub(super) async fn step(world: &World, dice: &mut Dice) -> bool {
    tokio::time::sleep(dice.moment(2_000)).await;
    world.collect();
    let mut acts = world.look(|truth| {
        let nodes: Vec<String> =
            truth.all::<Node>().iter().filter_map(|node| node.metadata.name.clone()).collect();
        let pods = truth.all::<Pod>();
        pods.into_iter().filter_map(|pod| Some((act(&pod, &nodes, dice)?, pod))).collect::<Vec<_>>()
    });
    if acts.is_empty() {
        return false;
    }
    let chosen = usize::try_from(dice.below(acts.len() as u64)).unwrap();
    let (act, pod) = acts.swap_remove(chosen);
    perform(world, &act, &pod, dice);
    true
}

/// What is next for a pod.
fn act(pod: &Arc<Pod>, nodes: &[String], dice: &mut Dice) -> Option<Act> {
    let held = pod.metadata.finalizers.as_ref().is_some_and(|list| !list.is_empty());
    if pod.metadata.deletion_timestamp.is_some() {
        return match (held, pod::is_finished(pod)) {
            (true, false) => Some(Act::Fail),
            (true, true) => None,
            (false, _) => Some(Act::Clear),
        };
    }
    let spec = pod.spec.as_ref()?;
    match pod::phase(pod) {
        // Whoever is named places it.
        "Pending" if pod::node_name(pod).is_none() && spec.scheduler_name.is_some() => None,
        "Pending" if pod::node_name(pod).is_none() => match pod::affinity::pinned(spec) {
            Some(pinned) => {
                let wanted = pinned.first().map(|name| (*name).to_owned())?;
                nodes.contains(&wanted).then_some(Act::Place(wanted))
            }
            None if nodes.is_empty() => Some(Act::Place("anywhere".to_owned())),
            None => Some(Act::Place(dice.pick(nodes).clone())),
        },
        "Pending" => Some(Act::Begin),
        "Running" if !pod::is_ready(pod) => Some(Act::Ready),
        "Running" if spec.restart_policy.as_deref() == Some("Never") => Some(Act::Finish),
        _ => None,
    }
}

fn perform(world: &World, act: &Act, pod: &Pod, dice: &mut Dice) {
    let namespace = pod.metadata.namespace.as_deref().unwrap();
    let name = pod.metadata.name.as_deref().unwrap();
    let now = world.look(|truth| truth.now());
    let condition = |ready: bool| json!([{"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": now}]);
    let finished = |phase: &str, code: i32| {
        json!({"phase": phase, "conditions": condition(false), "containerStatuses": [{"name": "c", "ready": false,
            "restartCount": 0, "image": "", "imageID": "",
            "state": {"terminated": {"exitCode": code, "finishedAt": now}}}]})
    };
    let number: u64 = name.bytes().map(u64::from).sum::<u64>() % 250;
    let address = format!("10.0.{}.{}", dice.below(250), number + 1);
    let status = |mut status: Value| {
        world.edit::<Pod>(namespace, name, |pod| {
            // Nodes leave what others say of a pod's claims as it is.
            if let Some(claims) = pod["status"].get_mut("resourceClaimStatuses") {
                status["resourceClaimStatuses"] = claims.take();
            }
            pod["status"] = status;
        });
    };
    match act {
        Act::Place(node) => {
            world.edit::<Pod>(namespace, name, |pod| pod["spec"]["nodeName"] = node.as_str().into());
        }
        Act::Begin => status(json!({"phase": "Running", "startTime": now, "podIP": address,
            "podIPs": [{"ip": address}], "conditions": condition(false)})),
        Act::Ready => world.edit::<Pod>(namespace, name, |pod| pod["status"]["conditions"] = condition(true)),
        Act::Finish => {
            let flaky = pod.metadata.annotations.as_ref().is_some_and(|notes| notes.contains_key(FLAKY));
            let fails = flaky && dice.percent(60);
            status(if fails { finished("Failed", 1) } else { finished("Succeeded", 0) });
        }
        Act::Fail => status(finished("Failed", 137)),
        Act::Clear => world.end_pod(namespace, name),
    }
}

/// A template whose pods run for ever, with this image.
pub(super) fn template(app: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}},
        "spec": {"restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "containers": [{"name": "c", "image": image}]}})
}

/// Deletes one of the pods.
pub(super) fn kill_one(world: &World, dice: &mut Dice) {
    let pods: Vec<Arc<Pod>> = world.look(|truth| truth.all::<Pod>());
    if !pods.is_empty() {
        let pod = dice.pick(&pods);
        world.delete::<Pod>("blue", pod.metadata.name.as_deref().unwrap());
    }
}

/// Whether there are exactly so many pods, all active and ready, all with this image.
pub(super) fn exactly(pods: &[Arc<Pod>], count: usize, image: &str) -> Result<(), String> {
    let well = |pod: &&Arc<Pod>| {
        let spec = pod.spec.as_ref().unwrap();
        pod::is_active(pod) && pod::is_ready(pod) && spec.containers[0].image.as_deref() == Some(image)
    };
    let found = pods.iter().filter(well).count();
    super::ensure(found == count && pods.len() == count, || {
        format!("{found} of {} pods are well, {count} wanted", pods.len())
    })
}
