//! Who goes for a group; expected: the victims in the order of their names, or why nobody goes.

use super::*;
use crate::group::tests::{cpus, grouped, seat_group};
use crate::plugins::tests::cluster;

const TWO: &str = "[{metadata: {name: a}}, {metadata: {name: b}}]";

fn pod(name: &str, node: &str, priority: i32, cpu: &str) -> String {
    format!(
        "{{metadata: {{name: {name}, uid: {name}, labels: {{app: {name}}}}}, spec: {{nodeName: {node}, priority: {priority}, {}}}}}",
        cpus(cpu)
    )
}

fn planned_in(cluster: &mut Snapshot, least: usize, priority: i32, pods: &[&str]) -> String {
    let (group, pods) = grouped(cluster, Some(least), priority, pods);
    let standing =
        |cluster: &Snapshot| -> Vec<usize> { cluster.nodes().map(|node| node.pods.len()).collect() };
    let before = standing(cluster);
    let plan = plan_group(&group, &pods, cluster, &Profile::default(), &mut Search::default());
    assert_eq!(before, standing(cluster), "the snapshot is as it was");
    match plan {
        Ok(plan) => {
            let name = |(pod, _): &(Arc<PodInfo>, Arc<str>)| pod.object.meta().name.to_string();
            let mut names: Vec<String> = plan.victims.iter().map(name).collect();
            names.sort();
            names.join(" ")
        }
        Err(why) => why.unwrap_or_default(),
    }
}

fn planned(pods: &[String], least: usize, priority: i32, asks: &[&str]) -> String {
    planned_in(&mut cluster(TWO, &format!("[{}]", pods.join(", "))), least, priority, asks)
}

#[test]
fn as_few_as_possible_go_and_the_least_important_ones() {
    let pods = [pod("low", "a", 1, "2"), pod("mid", "a", 5, "2"), pod("other", "b", 3, "4")];
    let two = cpus("2");
    assert_eq!(planned(&pods, 1, 7, &[&two]).split(' ').count(), 1);
    assert_eq!(planned(&pods, 4, 7, &[&two, &two, &two, &two]), "low mid other");
}

#[test]
fn nobody_goes_for_a_group_that_would_not_fit_all_the_same() {
    let pods = [pod("low", "a", 1, "2"), pod("high", "b", 9, "4")];
    let three = cpus("3");
    assert_eq!(
        planned(&pods, 2, 7, &[&three, &three]),
        "minCount (2) cannot be satisfied: 1 scheduled, 0 remaining"
    );
    assert_eq!(planned(&pods, 1, 1, &[&three]), "No preemption victims found for incoming preemptor");
    let never = format!("preemptionPolicy: Never, {three}");
    assert_eq!(planned(&pods, 1, 7, &[&never]), "not eligible due to preemptionPolicy=Never.");
}

#[test]
fn who_is_elsewhere_and_does_no_harm_stays() {
    let pods = [pod("near", "a", 1, "4"), pod("far", "b", 1, "4")];
    let picky = format!("nodeSelector: {{kubernetes.io/hostname: a}}, {}", cpus("4"));
    assert_eq!(planned(&pods, 1, 7, &[&picky]), "near");
}

#[test]
fn a_group_that_is_disrupted_as_a_whole_goes_as_a_whole() {
    let member = |name: &str, node: &str| {
        let pod = pod(name, node, 1, "4");
        pod.replace("spec: {", "spec: {schedulingGroup: {podGroupName: low}, ")
    };
    let text = format!("[{}, {}]", member("one", "a"), member("two", "b"));
    let picky = format!("nodeSelector: {{kubernetes.io/hostname: a}}, {}", cpus("4"));
    for (together, expected) in [(false, "one"), (true, "one two")] {
        let mut cluster = cluster(TWO, &text);
        seat_group(&mut cluster, "low", 1, together);
        assert_eq!(planned_in(&mut cluster, 1, 7, &[&picky]), expected);
    }
}
