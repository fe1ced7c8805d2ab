//! Claims and volumes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use serde_json::json;
use skiff_testkit::World;
use skiff_testkit::world::{Check, Dice, Truth};

use super::{Scenario, ensure, put};

fn claim(world: &World, name: &str) {
    if world.look(|truth| truth.get::<PersistentVolumeClaim>("blue", name)).is_some() {
        return;
    }
    let value = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "blue"},
        "spec": {"storageClassName": "", "volumeMode": "Filesystem", "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}, "status": {"phase": "Pending"}});
    put::<PersistentVolumeClaim>(world, value);
}

fn volume(world: &World, name: &str) {
    let value = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec":
        {"storageClassName": "", "volumeMode": "Filesystem", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"},
        "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/x"}}, "status": {"phase": "Pending"}});
    put::<PersistentVolume>(world, value);
}

fn bound(truth: &Truth<'_>) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    for claim in truth.all::<PersistentVolumeClaim>() {
        let name = claim.metadata.name.clone().unwrap_or_default();
        let Some(volume) = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()) else { continue };
        if let Some(other) = found.insert(volume.clone(), name.clone()) {
            return Err(format!("{volume} is for {other} and {name}"));
        }
    }
    Ok(found)
}

#[test]
fn no_volume_is_given_twice_and_every_claim_gets_one() {
    let scenario = Scenario {
        name: "volumes",
        schedules: 800,
        controllers: &["persistentvolume-binder", "pvc-protection", "pv-protection"],
        begin: |world, _| {
            (0..8).for_each(|n| volume(world, &format!("v{n}")));
            claim(world, "a");
        },
        whim: |world: &World, dice: &mut Dice| match dice.below(3) {
            0 => claim(world, "b"),
            1 => claim(world, "c"),
            _ => world
                .delete::<PersistentVolumeClaim>("blue", ["a", "b"][usize::try_from(dice.below(2)).unwrap()]),
        },
        finally: |_| {},
        always: || -> Check { Box::new(|truth| bound(truth).map(drop)) },
        end: |truth| {
            let claims = truth.all::<PersistentVolumeClaim>();
            let pairs = bound(truth)?;
            let phase =
                |claim: &PersistentVolumeClaim| claim.status.as_ref().and_then(|status| status.phase.clone());
            let well = claims.iter().all(|claim| phase(claim).as_deref() == Some("Bound"));
            ensure(well && pairs.len() == claims.len(), || format!("{pairs:?} of {} claims", claims.len()))?;
            for (volume, claim) in pairs {
                let volume = truth.get::<PersistentVolume>("", &volume).unwrap();
                let held = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()?.name.clone());
                ensure(held.as_ref() == Some(&claim), || format!("{claim} has a volume of {held:?}"))?;
            }
            Ok(())
        },
    };
    scenario.run();
}
