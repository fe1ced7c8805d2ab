//! The end of namespaces, whatever is in them.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use serde_json::json;
use skiff_testkit::world::{Check, Dice};
use skiff_testkit::{World, given};

use super::{Scenario, ensure, put};

fn namespace(world: &World, name: &str) {
    put::<Namespace>(
        world,
        json!({"metadata": {"name": name}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}),
    );
}

/// The server lets nothing new into a namespace that goes.
fn is_open(world: &World) -> bool {
    let red = world.look(|truth| truth.get::<Namespace>("", "red"));
    red.is_some_and(|red| red.metadata.deletion_timestamp.is_none())
}

fn fill(world: &World, dice: &mut Dice) {
    let name = format!("it-{}", world.revision());
    let meta = json!({"name": name, "namespace": "red", "finalizers": if dice.percent(20) { vec!["a.io/b"] } else { vec![] }});
    match dice.below(3) {
        0 => put::<ConfigMap>(world, json!({ "metadata": meta })),
        1 => put::<Secret>(world, json!({ "metadata": meta })),
        _ => world.put(&given::pod("red", &name)),
    }
}

/// Whoever holds something with a finalizer lets go.
fn let_go(world: &World) {
    for map in world.look(|truth| truth.all::<ConfigMap>()) {
        let name = map.metadata.name.clone().unwrap();
        world.edit::<ConfigMap>("red", &name, |it| it["metadata"]["finalizers"] = json!([]));
    }
    for secret in world.look(|truth| truth.all::<Secret>()) {
        let name = secret.metadata.name.clone().unwrap();
        world.edit::<Secret>("red", &name, |it| it["metadata"]["finalizers"] = json!([]));
    }
}

#[test]
fn a_namespace_goes_when_all_in_it_has_gone() {
    let scenario = Scenario {
        name: "namespaces",
        schedules: 300,
        controllers: &["namespace"],
        begin: |world, dice| {
            namespace(world, "red");
            (0..dice.below(6)).for_each(|_| fill(world, dice));
            world.put(&given::pod("blue", "other"));
        },
        whim: |world, dice| match dice.below(4) {
            0 => world.delete::<Namespace>("", "red"),
            1 => let_go(world),
            _ if is_open(world) => fill(world, dice),
            _ => {}
        },
        finally: |world| {
            world.delete::<Namespace>("", "red");
            let_go(world);
        },
        always: || -> Check {
            Box::new(|truth| {
                let pods = truth.all::<Pod>();
                let inside = |pod: &Pod| pod.metadata.namespace.as_deref() == Some("red");
                let left = pods.iter().filter(|pod| inside(pod)).count()
                    + truth.all::<ConfigMap>().len()
                    + truth.all::<Secret>().len();
                let gone = truth.get::<Namespace>("", "red").is_none();
                ensure(!gone || left == 0, || format!("it is gone, and {left} objects of it are not"))
            })
        },
        end: |truth| {
            ensure(truth.get::<Namespace>("", "red").is_none(), || "the namespace is there".to_owned())?;
            ensure(truth.get::<Pod>("blue", "other").is_some(), || {
                "another namespace's pod is gone".to_owned()
            })
        },
    };
    scenario.run();
}
