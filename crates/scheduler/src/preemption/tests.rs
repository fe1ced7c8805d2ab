//! Clusters as YAML; expected: the node, its victims in the order of their names, or the words of the refusal.

use super::*;
use crate::plugins::tests::{cluster, pending};

fn planned(nodes: &str, pods: &str, pod: &str) -> String {
    let mut cluster = cluster(nodes, pods);
    let pod = pending(pod);
    let profile = Profile::default();
    let Err(mut unfit) = cycle::choose(&pod, &cluster, &profile, &mut cycle::Search::default()) else {
        return "fits".to_owned();
    };
    let before: Vec<usize> = cluster.nodes().map(|node| node.pods.len()).collect();
    let plan = plan(&pod, &mut cluster, &profile, &mut unfit);
    let after: Vec<usize> = cluster.nodes().map(|node| node.pods.len()).collect();
    assert_eq!(before, after, "the snapshot is as it was");
    match plan {
        Some(plan) => {
            let mut names: Vec<String> =
                plan.victims.iter().map(|victim| victim.object.meta().name.to_string()).collect();
            names.sort();
            format!("{}: {}", plan.node, names.join(" "))
        }
        None => unfit.to_string(),
    }
}

const ONE: &str = "[{metadata: {name: a}}]";
const TWO: &str = "[{metadata: {name: a}}, {metadata: {name: b}}]";

fn pod(name: &str, node: &str, priority: i32, cpu: &str, more: &str) -> String {
    format!(
        "{{metadata: {{name: {name}, labels: {{app: {name}}}}}, status: {{{more}}}, spec: {{nodeName: {node}, priority: {priority}, \
         containers: [{{name: c, image: app, resources: {{requests: {{cpu: '{cpu}'}}}}}}]}}}}"
    )
}

fn wants(priority: i32, cpu: &str) -> String {
    format!(
        "spec: {{priority: {priority}, containers: [{{name: c, image: app, resources: {{requests: {{cpu: '{cpu}'}}}}}}]}}"
    )
}

#[test]
fn as_few_as_possible_go_and_the_least_important_ones() {
    let pods = format!(
        "[{}, {}, {}]",
        pod("low", "a", 1, "1", ""),
        pod("mid", "a", 5, "1", ""),
        pod("high", "a", 9, "2", "")
    );
    assert_eq!(planned(ONE, &pods, &wants(7, "1")), "a: low");
    assert_eq!(planned(ONE, &pods, &wants(7, "2")), "a: low mid");
    assert_eq!(
        planned(ONE, &pods, &wants(7, "3")),
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Insufficient cpu."
    );
    assert_eq!(
        planned(ONE, &pods, &wants(1, "1")),
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
    );
}

#[test]
fn the_node_where_it_hurts_least_is_taken() {
    let lower_priority = format!("[{}, {}]", pod("p1", "a", 5, "4", ""), pod("p2", "b", 3, "4", ""));
    assert_eq!(planned(TWO, &lower_priority, &wants(7, "1")), "b: p2");
    let fewer = format!(
        "[{}, {}, {}]",
        pod("p1", "a", 3, "2", ""),
        pod("p2", "a", 3, "2", ""),
        pod("p3", "b", 3, "4", "")
    );
    assert_eq!(planned(TWO, &fewer, &wants(7, "4")), "b: p3");
    let younger = format!(
        "[{}, {}]",
        pod("old", "a", 3, "4", "startTime: '2026-01-01T00:00:00Z'"),
        pod("young", "b", 3, "4", "startTime: '2026-02-01T00:00:00Z'")
    );
    assert_eq!(planned(TWO, &younger, &wants(7, "4")), "b: young");
}

#[test]
fn a_disruption_budget_keeps_pods_where_others_can_go() {
    let given = format!("[{}, {}]", pod("kept", "a", 1, "4", ""), pod("free", "b", 5, "4", ""));
    let mut cluster = cluster(TWO, &given);
    let labels = [("app".to_owned(), "kept".to_owned())].into_iter().collect();
    let budget = skiff_api::Object::parse(r#"{"metadata":{"name":"b","namespace":"blue"}}"#.into()).unwrap();
    cluster.budgets.put(&budget, Some(skiff_api::LabelSelector::of_map(&labels)), 0);
    let pod = pending(&wants(7, "4"));
    let profile = Profile::default();
    let mut unfit = cycle::choose(&pod, &cluster, &profile, &mut cycle::Search::default()).unwrap_err();
    let plan = plan(&pod, &mut cluster, &profile, &mut unfit).unwrap();
    assert_eq!(&*plan.node, "b");
}

#[test]
fn who_may_not_preempt_says_so() {
    let pods = format!("[{}]", pod("low", "a", 1, "4", ""));
    let never = wants(7, "1").replace("spec: {", "spec: {preemptionPolicy: Never, ");
    assert_eq!(
        planned(ONE, &pods, &never),
        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
    );
}

#[test]
fn a_pod_that_nobody_can_make_room_for_keeps_none_for_itself() {
    let mut cluster = cluster(ONE, &format!("[{}]", pod("high", "a", 9, "4", "")));
    let waiting = pending(&wants(7, "1"));
    cluster.nominate(Arc::clone(&waiting.info), "a");
    let mut unfit =
        cycle::choose(&waiting, &cluster, &Profile::default(), &mut cycle::Search::default()).unwrap_err();
    assert!(plan(&waiting, &mut cluster, &Profile::default(), &mut unfit).is_none());
    assert_eq!(cluster.nominated_node(waiting.info.uid()), None);
}

#[test]
fn room_that_is_being_made_is_kept_from_less_important_pods() {
    let mut cluster = cluster(ONE, "[]");
    let waiting = pending(&wants(7, "3"));
    cluster.nominate(Arc::clone(&waiting.info), "a");
    for (priority, fits) in [(5, false), (9, true)] {
        let mut other = pending(&wants(priority, "2"));
        other.info = Arc::new(PodInfo::new(
            Arc::new(skiff_api::Object::parse(r#"{"metadata":{"name":"o","uid":"o"}}"#.into()).unwrap()),
            &other.pod,
        ));
        let ghosts = cluster.conjure(&other);
        assert_eq!(
            cycle::choose(&other, &cluster, &Profile::default(), &mut cycle::Search::default()).is_ok(),
            fits,
            "priority {priority}"
        );
        cluster.banish(&ghosts);
    }
    assert!(cluster.nodes().all(|node| node.pods.is_empty()));
}

#[test]
fn pods_of_a_group_that_is_disrupted_as_a_whole_go_together() {
    let member = |name: &str, node: &str| {
        pod(name, node, 1, "4", "").replace("spec: {", "spec: {schedulingGroup: {podGroupName: low}, ")
    };
    let mut cluster = cluster(TWO, &format!("[{}, {}]", member("one", "a"), member("two", "b")));
    crate::group::tests::seat_group(&mut cluster, "low", 1, true);
    let (pod, profile) = (pending(&wants(7, "4")), Profile::default());
    let mut unfit = cycle::choose(&pod, &cluster, &profile, &mut cycle::Search::default()).unwrap_err();
    let plan = plan(&pod, &mut cluster, &profile, &mut unfit).unwrap();
    assert_eq!(plan.victims.len(), 2, "both go, though one node would do");
}
