//! Clusters, and groups as how many of them must go and what each asks for; expected: the nodes, or why the group may not go.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::event::Event;
use crate::history::{LIKES, pending as like, steps};
use crate::plugins::tests::{cluster, pending};
use crate::snapshot::Member;

/// A group in the cluster with these pods, each a spec.
pub(crate) fn grouped(
    cluster: &mut Snapshot,
    least: Option<usize>,
    priority: i32,
    pods: &[&str],
) -> (PodGroup, Vec<Pending>) {
    let (key, uid): (Arc<str>, Arc<str>) = ("blue/gang".into(), "group".into());
    let group = PodGroup { key: Arc::clone(&key), uid, gang: least, priority, together: false };
    cluster.groups.followed = true;
    cluster.groups.put(group.clone());
    let pods: Vec<Pending> = pods
        .iter()
        .enumerate()
        .map(|(n, spec)| {
            let more = if spec.is_empty() { String::new() } else { format!(", {spec}") };
            pending(&format!(
                "{{metadata: {{name: g{n}, uid: g{n}}}, spec: {{priority: {priority}, schedulingGroup: {{podGroupName: gang}}{more}}}}}"
            ))
        })
        .collect();
    for pod in &pods {
        let member = Member { info: Arc::clone(&pod.info), scheduler: crate::NAME.into(), likeness: 1 };
        cluster.groups.join(&key, member);
    }
    (group, pods)
}

/// A group whose pods have their nodes already.
pub(crate) fn seat_group(cluster: &mut Snapshot, name: &str, priority: i32, together: bool) {
    let key: Arc<str> = format!("blue/{name}").into();
    cluster.groups.put(PodGroup {
        key: Arc::clone(&key),
        uid: name.into(),
        gang: Some(1),
        priority,
        together,
    });
    let pods: Vec<_> = cluster.nodes().flat_map(|node| node.pods.values()).cloned().collect();
    for info in pods.into_iter().filter(|info| info.group.as_ref() == Some(&key)) {
        cluster.groups.join(&key, Member { info, scheduler: crate::NAME.into(), likeness: 1 });
    }
}

pub(crate) fn cpus(number: &str) -> String {
    format!("containers: [{{name: c, image: app, resources: {{requests: {{cpu: '{number}'}}}}}}]")
}

fn standing(cluster: &Snapshot) -> Vec<usize> {
    cluster.nodes().map(|node| node.pods.len()).collect()
}

fn turn(nodes: &str, least: Option<usize>, pods: &[&str]) -> (String, Snapshot) {
    let mut cluster = cluster(nodes, "[]");
    let (group, pods) = grouped(&mut cluster, least, 0, pods);
    let outcome = place(&group, pods, &mut cluster, &Profile::default(), &mut Search::default());
    let mut nodes: Vec<String> = outcome.placed.iter().map(|each| each.node.to_string()).collect();
    nodes.sort();
    let why = outcome.refused.map(|why| format!("; {why}")).unwrap_or_default();
    (format!("{}{why}", nodes.join(" ")), cluster)
}

const TWO: &str = "[{metadata: {name: a}}, {metadata: {name: b}}]";

#[test]
fn a_gang_goes_as_a_whole() {
    let three = cpus("3");
    assert_eq!(turn(TWO, Some(2), &[&three, &three]).0, "a b");
}

#[test]
fn a_gang_that_does_not_fit_leaves_no_trace() {
    let three = cpus("3");
    let (said, cluster) = turn(TWO, Some(3), &[&three, &three, &three]);
    assert_eq!(said, "; minCount (3) cannot be satisfied: 2 scheduled, 0 remaining");
    assert_eq!(standing(&cluster), [0, 0]);
}

#[test]
fn a_gang_with_too_few_pods_is_not_even_tried() {
    assert_eq!(
        turn(TWO, Some(3), &["", ""]).0,
        "; minCount (3) cannot be satisfied: 0 scheduled, 2 remaining"
    );
}

#[test]
fn those_beyond_the_least_number_go_if_they_fit() {
    let three = cpus("3");
    let (said, cluster) = turn(TWO, Some(1), &[&three, &three, &three]);
    assert_eq!((said.as_str(), standing(&cluster)), ("a b", vec![1, 1]));
}

#[test]
fn pods_of_a_group_without_a_gang_go_each_by_itself() {
    let three = cpus("3");
    assert_eq!(turn(TWO, None, &[&three, &three, &three]).0, "a b");
    let nine = cpus("9");
    assert_eq!(turn(TWO, None, &[&nine]).0, "; minCount (1) cannot be satisfied: 0 scheduled, 0 remaining");
}

#[test]
fn those_that_are_placed_already_count() {
    let mut cluster = cluster(TWO, "[]");
    let four = cpus("4");
    let (group, pods) = grouped(&mut cluster, Some(2), 0, &[&four, &four, &four]);
    let mut pods = pods.into_iter();
    let first = pods.next().unwrap();
    cluster.place(Arc::clone(&first.info), "a", false);
    let waiting: Vec<String> =
        cluster.waiting(&group.key).map(|member| member.info.uid().to_string()).collect();
    assert_eq!(waiting.len(), 2);
    let outcome = place(&group, pods.collect(), &mut cluster, &Profile::default(), &mut Search::default());
    assert_eq!((outcome.placed.len(), outcome.left.len(), outcome.refused), (1, 1, None));
}

#[test]
fn a_refused_gang_hopes_for_room_and_for_itself() {
    let mut cluster = cluster(TWO, "[]");
    let three = cpus("3");
    let (group, pods) = grouped(&mut cluster, Some(3), 0, &[&three, &three, &three]);
    let gone = Arc::clone(&pods[0].info);
    let outcome = place(&group, pods, &mut cluster, &Profile::default(), &mut Search::default());
    let helps = |event: &Event| outcome.hopes.iter().any(|hope| hope.helps(event));
    assert!(helps(&Event::PodGone(gone)));
    assert!(helps(&Event::GroupGrew("blue/gang".into())));
    assert!(!helps(&Event::GroupGrew("blue/other".into())));
    assert!(!helps(&Event::ClassChanged));
}

#[test]
fn without_nodes_anything_may_help() {
    let mut cluster = cluster("[]", "[]");
    let (group, pods) = grouped(&mut cluster, Some(1), 0, &[""]);
    let outcome = place(&group, pods, &mut cluster, &Profile::default(), &mut Search::default());
    assert!(outcome.refused.is_some() && outcome.hopes.is_empty());
}

#[test]
fn a_pod_queues_when_its_group_is_there_and_large_enough() {
    let mut cluster = cluster(TWO, "[]");
    let profile = Profile::default();
    let alone = pending("{spec: {schedulingGroup: {podGroupName: other}}}");
    assert_eq!(profile.enqueue(&alone.info, &cluster), Ok(()), "nobody says what groups there are");
    let (group, pods) = grouped(&mut cluster, Some(3), 0, &["", ""]);
    let why = "waiting for pod's pod group \"other\" to appear in scheduling queue";
    assert_eq!(profile.enqueue(&alone.info, &cluster), Err(why.to_owned()));
    let why = "waiting for minCount pods from a gang to appear in scheduling queue";
    assert_eq!(profile.enqueue(&pods[0].info, &cluster), Err(why.to_owned()));
    let before = cluster.groups.version(&group.key);
    assert!(cluster.groups.put(PodGroup { gang: Some(2), ..group.clone() }), "it is content with less");
    assert!(cluster.groups.version(&group.key) > before);
    assert_eq!(profile.enqueue(&pods[0].info, &cluster), Ok(()));
    assert!(!cluster.groups.put(PodGroup { gang: Some(2), ..group.clone() }));
    cluster.groups.remove(&group.key);
    assert!(profile.enqueue(&pods[0].info, &cluster).is_err());
}

/// The same pod under a uid of its own.
fn renamed(pod: Pending, n: usize) -> Pending {
    let mut value: serde_json::Value = serde_json::from_slice(pod.info.object.bytes()).unwrap();
    value["metadata"]["uid"] = format!("member{n}").into();
    let object = Arc::new(skiff_api::Object::parse(value.to_string().into()).unwrap());
    Pending::new(object, pod.pod)
}

/// Who stands where.
fn standings(cluster: &Snapshot) -> std::collections::BTreeMap<String, String> {
    let pods = cluster.nodes().flat_map(|node| node.pods.keys().map(move |uid| (uid, &node.name)));
    pods.map(|(uid, node)| (uid.to_string(), node.to_string())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn in_any_cluster_enough_of_a_gang_goes_or_none(
        steps in steps(),
        least in 1..6_usize,
        likes in proptest::collection::vec(0..LIKES, 1..6),
    ) {
        let mut cluster = Snapshot::default();
        steps.iter().for_each(|step| step.apply(&mut cluster));
        let (group, _) = grouped(&mut cluster, Some(least), 0, &[]);
        let pods: Vec<Pending> = likes.iter().enumerate().map(|(n, kind)| renamed(like(*kind), n)).collect();
        let before = standings(&cluster);
        let wanted = pods.len();
        let outcome = place(&group, pods, &mut cluster, &Profile::default(), &mut Search::default());
        prop_assert_eq!(outcome.placed.len() + outcome.left.len(), wanted);
        if outcome.refused.is_some() {
            prop_assert!(outcome.placed.is_empty());
            prop_assert_eq!(standings(&cluster), before);
        } else {
            prop_assert!(outcome.placed.len() >= least);
            prop_assert_eq!(standings(&cluster).len(), before.len() + outcome.placed.len());
        }
    }
}
