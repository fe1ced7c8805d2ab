//! Stateful sets.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::json;
use skiff_testkit::World;
use skiff_testkit::world::{Check, Truth};

use super::life::{exactly, kill_one, template};
use super::{Scenario, anything, ensure, put};

fn set(world: &World, policy: &str) {
    let value = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "blue"},
        "spec": {"replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "revisionHistoryLimit": 2,
            "podManagementPolicy": policy, "template": template("db", "first"),
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}});
    put::<StatefulSet>(world, value);
}

/// Three pods and their claims, of a set whose claims go with pods that it is scaled below. Nothing is renewed: a pod that is
/// missing for that when the set shrinks leaves its claim behind, as upstream.
fn with_claims(world: &World, policy: &str) {
    set(world, policy);
    world.edit::<StatefulSet>("blue", "db", |it| {
        it["spec"]["replicas"] = 3.into();
        it["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        it["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {}}]);
        it["spec"]["persistentVolumeClaimRetentionPolicy"] =
            json!({"whenDeleted": "Retain", "whenScaled": "Delete"});
    });
    let uid = world.look(|truth| truth.get::<StatefulSet>("blue", "db").unwrap().metadata.uid.clone());
    let owner = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": uid, "controller": true}]);
    for n in 0..3 {
        let claim = json!({"metadata": {"name": format!("data-db-{n}"), "namespace": "blue"}, "spec": {}});
        put::<PersistentVolumeClaim>(world, claim);
        let mut pod = template("db", "first");
        let meta = json!({"name": format!("db-{n}"), "namespace": "blue", "labels": {"app": "db"}, "ownerReferences": owner});
        pod["metadata"] = meta;
        pod["spec"]["nodeName"] = "anywhere".into();
        pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        put::<Pod>(world, pod);
    }
}

fn wish(world: &World, replicas: u64, image: &str) {
    world.edit::<StatefulSet>("blue", "db", |it| {
        it["spec"]["replicas"] = replicas.into();
        it["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
    });
}

fn end(truth: &Truth<'_>) -> Result<(), String> {
    let pods = truth.all::<Pod>();
    exactly(&pods, 3, "final")?;
    let names: Vec<&str> = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
    ensure(names == ["db-0", "db-1", "db-2"], || format!("{names:?}"))?;
    let set = truth.get::<StatefulSet>("blue", "db").unwrap();
    let status = set.status.clone().unwrap_or_default();
    let done = status.current_revision == status.update_revision
        && (status.replicas, status.ready_replicas, status.updated_replicas) == (3, Some(3), Some(3));
    ensure(done, || format!("{status:?}"))
}

#[test]
fn an_ordered_set_has_no_gaps_but_the_one_it_mends() {
    let scenario = Scenario {
        name: "ordered",
        schedules: 1_000,
        controllers: &["statefulset"],
        begin: |world, _| set(world, "OrderedReady"),
        whim: |world, dice| wish(world, dice.below(5), ["a", "b"][usize::try_from(dice.below(2)).unwrap()]),
        finally: |world| wish(world, 3, "final"),
        always: || -> Check {
            Box::new(|truth| {
                let pods = truth.all::<Pod>();
                let ordinal =
                    |name: &str| name.strip_prefix("db-").and_then(|number| number.parse::<usize>().ok());
                let numbers: Vec<usize> =
                    pods.iter().filter_map(|pod| ordinal(pod.metadata.name.as_deref()?)).collect();
                let most = numbers.iter().max().map_or(0, |last| last + 1);
                ensure(most - numbers.len() <= 1, || format!("pods {numbers:?}: more than one is missing"))
            })
        },
        end,
    };
    scenario.run();
}

#[test]
fn a_parallel_set_comes_to_what_was_wanted_last() {
    let scenario = Scenario {
        name: "parallel",
        schedules: 900,
        controllers: &["statefulset"],
        begin: |world, _| set(world, "Parallel"),
        whim: |world, dice| match dice.below(3) {
            0 => kill_one(world, dice),
            1 => wish(world, dice.below(5), "a"),
            _ => wish(world, dice.below(5), "b"),
        },
        finally: |world| wish(world, 3, "final"),
        always: anything,
        end,
    };
    scenario.run();
}

#[test]
fn a_claim_goes_with_the_pod_that_the_set_was_scaled_below() {
    let scenario = Scenario {
        name: "claims",
        schedules: 300,
        controllers: &["statefulset"],
        begin: |world, dice| {
            let policy = *dice.pick(&["OrderedReady", "Parallel"]);
            with_claims(world, policy);
        },
        // Somebody else writes to a claim: what the controller knows of it is old for a while.
        whim: |world, dice| {
            let (claim, mark) = (format!("data-db-{}", dice.below(3)), world.revision().to_string());
            world.edit::<PersistentVolumeClaim>("blue", &claim, |it| {
                it["metadata"]["annotations"] = json!({ "mark": mark });
            });
        },
        finally: |world| {
            world.edit::<StatefulSet>("blue", "db", |it| it["spec"]["replicas"] = 1.into());
        },
        always: anything,
        end: |truth| {
            exactly(&truth.all::<Pod>(), 1, "first")?;
            let claims = truth.all::<PersistentVolumeClaim>();
            let names: Vec<&str> = claims.iter().filter_map(|claim| claim.metadata.name.as_deref()).collect();
            ensure(names == ["data-db-0"], || format!("{names:?} are there"))
        },
    };
    scenario.run();
}
