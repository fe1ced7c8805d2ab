//! Groups and their pods, one after the other; expected: who waits, who goes, and the words of the refusal.

use serde_json::json;
use skiff_base::Clock;

use super::*;
use crate::config::Pauses;
use crate::plugins::PrioritySort;
use crate::plugins::tests::{cluster, pending};
use crate::snapshot::{Answer, Word};

const NODES: &str = "[{metadata: {name: one}}, {metadata: {name: two}}]";

struct World {
    plugin: Coscheduling,
    cluster: Snapshot,
    queue: Queue,
}

impl World {
    /// A group in a cluster of two nodes of 4 CPUs.
    fn new(args: &Value, spec: &Value) -> Self {
        let mut errors = Errors::new();
        let plugin = read(args, &mut errors);
        assert!(errors.is_empty(), "{:?}", errors.list());
        let queue = Queue::new(Pauses::default(), Arc::new(PrioritySort), Clock::system());
        let world = Self { plugin, cluster: cluster(NODES, "[]"), queue };
        world.group(spec);
        world
    }

    fn group(&self, spec: &Value) -> Option<Event> {
        let group = json!({"metadata": {"name": "gang", "namespace": "blue", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": spec});
        let new = Some(Arc::new(Object::parse(group.to_string().into()).unwrap()));
        self.plugin.followed(&Change { old: None, new })
    }

    /// A pod comes.
    fn pod(&self, name: &str) -> Pending {
        let pod = pending(&format!(
            "{{metadata: {{name: {name}, uid: {name}, labels: {{scheduling.x-k8s.io/pod-group: gang}}}},
            spec: {{containers: [{{name: c, image: app, resources: {{requests: {{cpu: '1'}}}}}}]}}}}"
        ));
        self.plugin.sees(Some(&pod.info.object), pod.info.uid());
        pod
    }

    /// A pod has its room on a node.
    fn permit(&mut self, pod: &Pending) -> Permit {
        self.cluster.place(Arc::clone(&pod.info), "one", true);
        self.plugin.permit(pod, &mut self.cluster, &self.queue)
    }

    /// A pod waits there.
    fn wait(&mut self, pod: &Pending) -> Answer {
        let Permit::Wait(longest) = self.permit(pod) else { panic!("it waits for the others") };
        self.cluster.waiting.enter(&pod.info, &"one".into(), vec![(NAME, longest)])
    }

    fn admit(&self, pod: &Pending) -> String {
        self.plugin.admit(pod, &self.cluster).err().unwrap_or_default()
    }
}

fn told(answer: &mut Answer) -> String {
    match answer.try_recv() {
        Ok(Word::Go) => "goes".to_owned(),
        Ok(Word::No(by)) => format!("{}: {}", by.plugin, by.why),
        Ok(Word::Bound) => "is bound".to_owned(),
        Err(_) => "waits".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn pods_wait_until_as_many_have_room_as_the_group_needs() {
    let mut world = World::new(&Value::Null, &json!({"minMember": 3}));
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| world.pod(name));
    let mut answers = [world.wait(&a), world.wait(&b)];
    assert_eq!(answers.each_mut().map(told), ["waits", "waits"]);
    assert_eq!(world.permit(&c), Permit::Allow);
    assert_eq!(answers.each_mut().map(told), ["goes", "goes"]);
    assert_eq!(world.permit(&d), Permit::Allow, "those beyond the least number go by themselves");
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_the_groups_or_else_the_arguments() {
    let seconds = |seconds| Permit::Wait(Duration::from_secs(seconds));
    for (args, spec, expected) in [
        (Value::Null, json!({"minMember": 2}), seconds(60)),
        (json!({"permitWaitingTimeSeconds": 10}), json!({"minMember": 2}), seconds(10)),
        (
            json!({"permitWaitingTimeSeconds": 10}),
            json!({"minMember": 2, "scheduleTimeoutSeconds": 5}),
            seconds(5),
        ),
        (
            json!({"permitWaitingTimeSeconds": 10}),
            json!({"minMember": 2, "scheduleTimeoutSeconds": 0}),
            seconds(10),
        ),
    ] {
        let mut world = World::new(&args, &spec);
        let pod = world.pod("a");
        assert_eq!(world.permit(&pod), expected, "{args} {spec}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_group_pods_are_rejected_and_without_a_label_they_are_let_go() {
    let mut world = World::new(&Value::Null, &json!({"minMember": 2}));
    let pod = world.pod("a");
    world.plugin.groups.lock().remove("blue/gang");
    assert_eq!(world.admit(&pod), "");
    assert_eq!(world.permit(&pod), Permit::Reject("PodGroup not found".to_owned()));
    assert_eq!(world.plugin.post_filter(&pod, &mut world.cluster).as_deref(), Some("can not find pod group"));
    assert_eq!(world.permit(&pending("{metadata: {uid: z}}")), Permit::Allow);
}

#[tokio::test(start_paused = true)]
async fn too_few_pods_are_not_tried_and_the_last_one_wakes_them() {
    let world = World::new(&Value::Null, &json!({"minMember": 2}));
    let a = world.pod("a");
    assert_eq!(
        world.admit(&a),
        "pre-filter pod a cannot find enough sibling pods, current pods number: 1, minMember of group: 2"
    );
    let b = pending("{metadata: {name: b, uid: b, labels: {scheduling.x-k8s.io/pod-group: gang}}}");
    let event = world.plugin.sees(Some(&b.info.object), b.info.uid()).expect("the group is complete");
    assert!(world.plugin.hope(&a, &world.cluster).helps(&event));
    assert!(!world.plugin.hope(&a, &world.cluster).helps(&Event::Siblings("blue/other".into())));
    assert_eq!((world.admit(&a), world.admit(&b)), (String::new(), String::new()));
    world.plugin.sees(None, b.info.uid());
    assert!(world.admit(&a).contains("current pods number: 1"));
    assert!(world.group(&json!({"minMember": 1})).is_some(), "it is content with less");
    assert!(world.group(&json!({"minMember": 1})).is_none(), "nothing has changed");
    assert_eq!(world.admit(&a), "");
}

#[tokio::test(start_paused = true)]
async fn the_nodes_must_have_free_what_the_group_needs_its_own_pods_included() {
    let mut world =
        World::new(&Value::Null, &json!({"minMember": 1, "minResources": {"cpu": "9", "memory": "1Gi"}}));
    let a = world.pod("a");
    assert_eq!(world.admit(&a), "resource gap: map[cpu:1000m]");
    world.group(&json!({"minMember": 30, "minResources": {"cpu": "8"}}));
    (0..30).for_each(|n| drop(world.pod(&format!("p{n}"))));
    assert_eq!(world.admit(&a), "resource gap: map[pods:10]");
    world.group(&json!({"minMember": 2, "minResources": {"cpu": "8"}}));
    world.cluster.place(Arc::clone(&a.info), "one", true);
    assert_eq!(world.admit(&a), "", "what it takes up itself counts as free");
    let other = pending(
        "{metadata: {uid: o}, spec: {containers: [{name: c, image: app, resources: {requests: {cpu: '1'}}}]}}",
    );
    world.cluster.place(other.info, "two", false);
    assert_eq!(world.admit(&a), "", "it was looked for a moment ago");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(world.admit(&a), "resource gap: map[cpu:1000m]");
}

#[tokio::test(start_paused = true)]
async fn where_one_fits_nowhere_those_who_wait_give_their_room_back() {
    let args = json!({"podGroupBackoffSeconds": 10});
    let mut world = World::new(&args, &json!({"minMember": 3}));
    let [a, b, c] = ["a", "b", "c"].map(|name| world.pod(name));
    let mut answers = [world.wait(&a), world.wait(&b)];
    let words = world.plugin.post_filter(&c, &mut world.cluster);
    let expected = "PodGroup blue/gang gets rejected due to Pod c is unschedulable even after PostFilter";
    assert_eq!(words.as_deref(), Some(expected));
    let rejected = "Coscheduling: optimistic rejection in PostFilter";
    assert_eq!(answers.each_mut().map(told), [rejected, rejected]);
    assert_eq!(world.admit(&c), "podGroup blue/gang failed recently");
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(world.admit(&c), "");
}

#[tokio::test(start_paused = true)]
async fn if_only_few_are_missing_the_others_wait_for_those_that_are_left() {
    for (tolerated, expected) in [(10, "Coscheduling: optimistic rejection in PostFilter"), (34, "waits")] {
        let args = json!({"podGroupRejectPercentage": tolerated});
        let mut world = World::new(&args, &json!({"minMember": 3}));
        let [a, b, c] = ["a", "b", "c"].map(|name| world.pod(name));
        let mut answers = [world.wait(&a), world.wait(&b)];
        world.plugin.post_filter(&c, &mut world.cluster);
        assert_eq!(answers.each_mut().map(told), [expected, expected], "{tolerated}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_its_room_back_takes_the_others_along() {
    let mut world = World::new(&Value::Null, &json!({"minMember": 3}));
    let [a, b] = ["a", "b"].map(|name| world.pod(name));
    let mut answers = [world.wait(&a), world.wait(&b)];
    world.cluster.waiting.gone("a");
    world.plugin.unreserve(&a, &mut world.cluster);
    assert_eq!(answers.each_mut().map(told), [": removed", "Coscheduling: rejection in Unreserve"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_of_a_group_to_have_room_calls_the_others() {
    let mut world = World::new(&Value::Null, &json!({"minMember": 3}));
    let [a, b] = ["a", "b"].map(|name| world.pod(name));
    let uid = b.info.uid();
    world.queue.put(uid, uid, 0, 1);
    world.queue.next().await;
    world.queue.give_back(uid, crate::queue::Failure::Unfit(vec![Hope::new(|_| false)]));
    assert_eq!(world.queue.lengths(), (0, 0, 1));
    world.wait(&a);
    assert_eq!(world.queue.lengths(), (1, 0, 0));
}

#[test]
fn who_is_more_important_goes_first_then_the_older_group_then_by_name() {
    let world = World::new(&Value::Null, &json!({"minMember": 3}));
    world.pod("a");
    let key = |name: &str| Arc::<str>::from(name);
    let rank =
        |uid: &str, key: &Arc<str>, priority, since| world.plugin.rank(&Asking { uid, key, priority, since });
    let born = 1_767_225_600_000_000;
    let of_group = rank("a", &key("blue/a"), 0, born + 5);
    assert!(rank("x", &key("blue/x"), 1, born + 9) < of_group);
    assert!(of_group < rank("x", &key("blue/0"), 0, born + 1), "the group is older");
    assert!(rank("x", &key("blue/0"), 0, born) < of_group, "of the same age, by name");
    assert!(rank("x", &key("blue/x"), 0, born - 1) < of_group);
}

#[test]
fn faults_of_the_arguments_are_told() {
    let mut errors = Errors::new();
    let args = json!({"permitWaitingTimeSeconds": -1, "podGroupBackoffSeconds": -2, "podGroupRejectPercentage": 101});
    read(&args, &mut errors);
    let told: Vec<String> = errors.list().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "permitWaitingTimeSeconds: Invalid value: -1: must be greater than 0",
            "podGroupBackoffSeconds: Invalid value: -2: must be greater than 0",
            "podGroupRejectPercentage: Invalid value: 101: must be between 0 and 100",
        ]
    );
}
