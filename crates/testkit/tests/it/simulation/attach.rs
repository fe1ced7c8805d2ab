//! Volumes on their way: made on nodes, attached to them, grown.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{StorageClass, VolumeAttachment};
use serde_json::{Value, json};
use skiff_api::quantity::Quantity;
use skiff_api::volume::{LOCAL_PATH, LOCAL_PATH_ROOT, PROVISIONED_BY};
use skiff_api::{pod, volume};
use skiff_testkit::world::{Check, Dice, Truth};
use skiff_testkit::{World, given};

use super::{Scenario, anything, ensure, ensure_there, put};

fn claim(name: &str, class: &str, volume: Option<&str>) -> Value {
    let (phase, notes) = match volume {
        Some(_) => ("Bound", json!({"pv.kubernetes.io/bind-completed": "yes"})),
        None => ("Pending", json!({})),
    };
    json!({"metadata": {"name": name, "namespace": "blue", "annotations": notes}, "spec": {"storageClassName": class,
        "volumeMode": "Filesystem", "accessModes": ["ReadWriteOnce"], "volumeName": volume,
        "resources": {"requests": {"storage": "1Gi"}}}, "status": {"phase": phase, "capacity": {"storage": "1Gi"}}})
}

/// A claim and the volume that it is bound to.
fn bound(world: &World, name: &str, source: &Value, notes: &Value) {
    let volume = format!("v-{name}");
    put::<PersistentVolumeClaim>(world, claim(name, "", Some(&volume)));
    let uid =
        world.look(|truth| truth.get::<PersistentVolumeClaim>("blue", name).unwrap().metadata.uid.clone());
    let mut value = json!({"metadata": {"name": volume, "annotations": notes}, "spec": {"storageClassName": "",
        "volumeMode": "Filesystem", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
        "claimRef": {"kind": "PersistentVolumeClaim", "namespace": "blue", "name": name, "uid": uid},
        "persistentVolumeReclaimPolicy": "Retain"}, "status": {"phase": "Bound"}});
    skiff_api::patch::merge::apply(&mut value["spec"], source).unwrap();
    put::<PersistentVolume>(world, value);
}

/// Volumes and the nodes that they are to be attached to.
fn wanted(truth: &Truth<'_>) -> BTreeSet<(String, String)> {
    let placed = |pod: &Pod| {
        let (claim, _) = volume::claims(pod).next()?;
        Some((format!("v-{claim}"), pod::node_name(pod)?.to_owned()))
    };
    truth.all::<Pod>().iter().filter(|pod| !pod::is_finished(pod)).filter_map(|pod| placed(pod)).collect()
}

fn attached(truth: &Truth<'_>) -> Vec<(String, String)> {
    let place = |it: &VolumeAttachment| {
        (it.spec.source.persistent_volume_name.clone().unwrap_or_default(), it.spec.node_name.clone())
    };
    truth.all::<VolumeAttachment>().iter().map(|it| place(it)).collect()
}

/// The pod of a claim comes to a node, or goes.
fn move_pod(world: &World, dice: &mut Dice) {
    let name = format!("c{}", dice.below(2));
    if world.look(|truth| truth.get::<Pod>("blue", &name)).is_some() {
        return world.delete::<Pod>("blue", &name);
    }
    let mut pod = given::pod("blue", &name);
    let spec = pod.spec.as_mut().unwrap();
    spec.node_name = Some((*dice.pick(&["n1", "n2"])).to_owned());
    spec.volumes = Some(given::yaml(&format!("[{{name: v, persistentVolumeClaim: {{claimName: {name}}}}}]")));
    world.put(&pod);
}

#[test]
fn a_volume_is_attached_where_its_pod_is_and_nowhere_else() {
    let scenario = Scenario {
        name: "attached",
        schedules: 300,
        controllers: &["attachdetach"],
        begin: |world, dice| {
            ["n1", "n2"].iter().for_each(|name| world.put(&given::node(name)));
            for name in ["c0", "c1"] {
                let source = json!({"csi": {"driver": "x.io", "volumeHandle": name}});
                bound(world, name, &source, &json!({}));
            }
            move_pod(world, dice);
        },
        whim: |world, dice| match dice.below(3) {
            0 => {
                // The driver does its work.
                for it in world.look(|truth| truth.all::<VolumeAttachment>()) {
                    let name = it.metadata.name.clone().unwrap();
                    world.edit::<VolumeAttachment>("", &name, |it| it["status"] = json!({"attached": true}));
                }
            }
            _ => move_pod(world, dice),
        },
        finally: |_| {},
        always: || -> Check {
            Box::new(|truth| {
                let all = attached(truth);
                let volumes: BTreeSet<&String> = all.iter().map(|(volume, _)| volume).collect();
                ensure(volumes.len() == all.len(), || format!("one is attached twice: {all:?}"))
            })
        },
        end: |truth| {
            let (found, wanted) = (attached(truth).into_iter().collect::<BTreeSet<_>>(), wanted(truth));
            ensure(found == wanted, || format!("{found:?}, wanted {wanted:?}"))
        },
    };
    scenario.run();
}

fn ask(world: &World, gibibytes: u64) {
    world.edit::<PersistentVolumeClaim>("blue", "a", |it| {
        let wanted = &mut it["spec"]["resources"]["requests"]["storage"];
        let held = Quantity::parse(wanted.as_str().unwrap_or("0")).unwrap();
        let more = Quantity::parse(&format!("{gibibytes}Gi")).unwrap();
        // Nobody may ask for less than before.
        if more > held {
            *wanted = format!("{gibibytes}Gi").into();
        }
    });
}

#[test]
fn a_folder_grows_to_what_was_asked_for_last() {
    let scenario = Scenario {
        name: "grown",
        schedules: 300,
        controllers: &["persistentvolume-expander"],
        begin: |world, _| {
            let source = json!({"hostPath": {"path": "/x"}});
            let notes = json!({});
            bound(world, "a", &source, &notes);
            world.edit::<PersistentVolume>("", "v-a", |it| {
                it["metadata"]["annotations"][PROVISIONED_BY] = LOCAL_PATH.into();
            });
        },
        whim: |world, dice| ask(world, 1 + dice.below(6)),
        finally: |world| ask(world, 8),
        always: || -> Check {
            Box::new(|truth| {
                let claim = truth.get::<PersistentVolumeClaim>("blue", "a").unwrap();
                let held = volume::storage(claim.status.as_ref().and_then(|status| status.capacity.as_ref()));
                let there = truth.get::<PersistentVolume>("", "v-a").map(|it| volume::capacity(&it));
                ensure(there.is_none_or(|there| held <= there), || "it says more than there is".to_owned())
            })
        },
        end: |truth| {
            let claim = truth.get::<PersistentVolumeClaim>("blue", "a").unwrap();
            let held = volume::storage(claim.status.as_ref().and_then(|status| status.capacity.as_ref()));
            ensure(held == volume::requested(&claim), || format!("{held:?}"))
        },
    };
    scenario.run();
}

fn host(world: &World) {
    let mut node = given::node("n1");
    node.metadata.annotations = Some([(LOCAL_PATH_ROOT.to_owned(), "/srv".to_owned())].into());
    if world.look(|truth| truth.get::<Node>("", "n1")).is_none() {
        world.put(&node);
    }
}

#[test]
fn every_claim_gets_a_folder_and_folders_go_with_their_claims() {
    let scenario = Scenario {
        name: "folders",
        schedules: 300,
        controllers: &["persistentvolume-binder", "local-path-provisioner"],
        begin: |world, _| {
            host(world);
            put::<StorageClass>(
                world,
                json!({"metadata": {"name": "local-path"}, "provisioner": LOCAL_PATH, "reclaimPolicy": "Delete",
                    "volumeBindingMode": "Immediate"}),
            );
        },
        whim: |world, dice| {
            let name = format!("c{}", dice.below(3));
            match dice.below(4) {
                0 => world.delete::<PersistentVolumeClaim>("blue", &name),
                1 => world.delete::<Node>("", "n1"),
                2 => host(world),
                _ => ensure_there::<PersistentVolumeClaim>(
                    world,
                    "blue",
                    &name,
                    claim(&name, "local-path", None),
                ),
            }
        },
        finally: |world| {
            host(world);
            ensure_there::<PersistentVolumeClaim>(world, "blue", "last", claim("last", "local-path", None));
        },
        always: anything,
        end: |truth| {
            let bound = |claim: &PersistentVolumeClaim| {
                let own = format!("pvc-{}", claim.metadata.uid.as_deref().unwrap_or_default());
                let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
                phase == Some("Bound") && volume::volume_name(claim) == Some(own.as_str())
            };
            let claims = truth.all::<PersistentVolumeClaim>();
            let well = claims.iter().filter(|claim| bound(claim)).count();
            ensure(well == claims.len(), || format!("{well} of {} claims are bound", claims.len()))?;
            // Those on their way out wait for their node, which is nobody's business here.
            let volumes = truth.all::<PersistentVolume>();
            let stay = volumes.iter().filter(|it| it.metadata.deletion_timestamp.is_none()).count();
            ensure(stay == claims.len(), || format!("{stay} volumes for {} claims", claims.len()))
        },
    };
    scenario.run();
}
