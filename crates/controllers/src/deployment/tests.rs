//! Roll-outs simulated move by move: what each move does, and that no move breaks the promises.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use proptest::prelude::{Strategy, any, prop_assert, proptest};
use serde_json::json;

use super::plan::{Scene, Step, replicas};
use super::revision;

fn deployment(replicas: i32, image: &str, surge: &str, unavailable: &str) -> Deployment {
    let value = |text: &str| match text.parse::<i32>() {
        Ok(number) => json!(number),
        Err(_) => json!(text),
    };
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "blue", "uid": "d"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 2,
            "strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": value(surge), "maxUnavailable": value(unavailable)}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}}}))
    .unwrap()
}

/// A world without pods: sets become available as told.
#[derive(Default)]
struct World {
    sets: Vec<Arc<ReplicaSet>>,
    made: i64,
}

impl World {
    fn apply(&mut self, deployment: &Deployment) -> Vec<String> {
        let scene = Scene::new(deployment, &self.sets);
        let steps = scene.next(false);
        let mut told = Vec::new();
        let mut sets = self.sets.clone();
        for step in steps {
            match step {
                Step::Create(mut set) => {
                    self.made += 1;
                    told.push(format!("create {}", replicas(&set)));
                    let at = jiff::Timestamp::from_second(self.made).unwrap();
                    set.metadata.creation_timestamp =
                        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
                    set.metadata.uid = Some(self.made.to_string());
                    sets.push(Arc::from(set));
                }
                Step::Scale(set, size) => {
                    let revision = revision::of(&set);
                    told.push(format!("{revision}: {} to {size}", replicas(&set)));
                    put(&mut sets, scene.resized(&set, size));
                }
                Step::Update(set) => put(&mut sets, *set),
                Step::Delete(set) => {
                    told.push(format!("delete {}", revision::of(&set)));
                    sets.retain(|held| held.metadata.name != set.metadata.name);
                }
            }
        }
        self.sets = sets;
        told
    }

    /// So many pods of each set are available, at most as many as there are.
    fn available(&mut self, most: impl Fn(&ReplicaSet) -> i32) {
        for set in &mut self.sets {
            let mut changed = ReplicaSet::clone(set);
            let status = changed.status.get_or_insert_default();
            status.replicas = changed.spec.replicas.unwrap_or(0);
            status.available_replicas = Some(status.replicas.min(most(set)));
            *set = Arc::new(changed);
        }
    }

    fn total(&self) -> i32 {
        self.sets.iter().map(|set| replicas(set)).sum()
    }

    fn ready(&self) -> i32 {
        let of =
            |set: &Arc<ReplicaSet>| set.status.as_ref().and_then(|it| it.available_replicas).unwrap_or(0);
        self.sets.iter().map(of).sum()
    }

    fn settle(&mut self, deployment: &Deployment) {
        for _ in 0..200 {
            let before = self.sets.clone();
            self.apply(deployment);
            self.available(|_| i32::MAX);
            if before == self.sets {
                return;
            }
        }
        panic!("never at rest");
    }
}

fn put(sets: &mut [Arc<ReplicaSet>], set: ReplicaSet) {
    let place = sets.iter_mut().find(|held| held.metadata.name == set.metadata.name).unwrap();
    *place = Arc::new(set);
}

#[test]
fn a_new_template_replaces_the_old_one_pod_by_pod() {
    let mut world = World::default();
    let first = deployment(3, "web:1", "1", "0");
    assert_eq!(world.apply(&first), ["create 3"]);
    world.available(|_| 3);
    assert!(world.apply(&first).is_empty());
    let second = deployment(3, "web:2", "1", "0");
    assert_eq!(world.apply(&second), ["create 1"]);
    world.available(|set| if revision::of(set) == 1 { 3 } else { 0 });
    assert!(world.apply(&second).is_empty(), "waits for the new pod");
    world.available(|_| 3);
    assert_eq!(world.apply(&second), ["1: 3 to 2"]);
    world.available(|_| 3);
    assert_eq!(world.apply(&second), ["2: 1 to 2"]);
    world.settle(&second);
    let scene = Scene::new(&second, &world.sets);
    assert!(scene.is_complete());
    assert_eq!(scene.revision(), 2);
    // Back to the first template: its set is used again, with a new number.
    world.settle(&first);
    let scene = Scene::new(&first, &world.sets);
    assert_eq!((revision::of(scene.new.as_ref().unwrap()), world.sets.len()), (3, 2));
}

#[test]
fn recreate_ends_all_old_pods_first_and_history_is_bounded() {
    let mut world = World::default();
    let recreate = |image: &str| {
        let mut deployment = deployment(2, image, "0", "0");
        let strategy = deployment.spec.strategy.as_mut().unwrap();
        strategy.type_ = Some("Recreate".to_owned());
        strategy.rolling_update = None;
        deployment
    };
    world.settle(&recreate("web:1"));
    assert_eq!(world.apply(&recreate("web:2")), ["1: 2 to 0"]);
    let scene_waits = Scene::new(&recreate("web:2"), &world.sets).next(true).is_empty();
    assert!(scene_waits, "an old pod is still there");
    assert_eq!(world.apply(&recreate("web:2")), ["create 2"]);
    for n in 3..8 {
        world.settle(&recreate(&format!("web:{n}")));
    }
    assert_eq!(world.sets.len(), 3, "the current one and two to go back to");
}

#[test]
fn scaling_in_the_middle_is_shared_in_proportion() {
    let mut world = World::default();
    world.settle(&deployment(10, "web:1", "3", "2"));
    let next = deployment(10, "web:2", "3", "2");
    world.apply(&next);
    world.available(|set| if revision::of(set) == 1 { 10 } else { 0 });
    world.apply(&next);
    let sizes = |world: &World| world.sets.iter().map(|set| replicas(set)).collect::<Vec<_>>();
    assert_eq!(sizes(&world), [8, 3]);
    world.available(|set| if revision::of(set) == 1 { 8 } else { 0 });
    world.apply(&next);
    assert_eq!(sizes(&world), [8, 5]);
    let bigger = deployment(15, "web:2", "3", "2");
    world.apply(&bigger);
    assert_eq!(sizes(&world), [11, 7], "upstream's own example");
}

#[test]
fn a_paused_deployment_only_scales() {
    let mut world = World::default();
    world.settle(&deployment(2, "web:1", "1", "0"));
    let mut paused = deployment(2, "web:2", "1", "0");
    paused.spec.paused = Some(true);
    assert!(world.apply(&paused).is_empty());
    paused.spec.replicas = Some(4);
    assert_eq!(world.apply(&paused), ["1: 2 to 4"]);
}

proptest! {
    /// Whatever fails to become available in between: never more than wanted plus surge, never fewer available than
    /// promised by our own doing, and at rest once all is well.
    #[test]
    fn promises_hold(wanted in 1..12_i32, surge in 0..4_i32, unavailable in 0..4_i32,
                     luck in proptest::collection::vec(any::<u8>().prop_map(i32::from), 1..40)) {
        let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
        let mut world = World::default();
        let old = deployment(wanted, "web:1", &surge.to_string(), &unavailable.to_string());
        world.settle(&old);
        let new = deployment(wanted, "web:2", &surge.to_string(), &unavailable.to_string());
        for (n, luck) in luck.into_iter().enumerate() {
            let before = world.ready();
            world.apply(&new);
            prop_assert!(world.total() <= wanted + surge, "{} pods", world.total());
            // Pods that were available and are still asked for stay so.
            let left: i32 = world.sets.iter().map(|set| {
                let held = set.status.as_ref().and_then(|it| it.available_replicas).unwrap_or(0);
                held.min(replicas(set))
            }).sum();
            prop_assert!(left >= before.min(wanted - unavailable), "{left} of {before} at {n}");
            world.available(|set| if revision::of(set) == 1 { i32::MAX } else { luck % (wanted + 1) });
        }
        world.settle(&new);
        prop_assert!(Scene::new(&new, &world.sets).is_complete());
    }
}
