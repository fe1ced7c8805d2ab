//! What a group is told, and which pods cannot be scheduled as one.

use super::*;
use crate::group::tests::grouped;
use crate::plugins::tests::{cluster, pending};

fn at(second: i64) -> Time {
    Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
}

#[test]
fn once_a_group_was_placed_that_stays_said() {
    let unsaid = PodGroup::default();
    let refused = |why: &str| (false, "Unschedulable", why.to_owned());
    let first = told(&unsaid, refused("no room"), at(1)).unwrap();
    assert_eq!(told(&first, refused("no room"), at(2)), None, "it says so already");
    let second = told(&first, refused("less room"), at(3)).unwrap();
    let condition = |group: &PodGroup| group.status.as_ref().unwrap().conditions.as_ref().unwrap()[0].clone();
    assert_eq!(condition(&second).message, "less room");
    assert_eq!(condition(&second).last_transition_time, at(1));
    let placed = told(&second, (true, "Scheduled", String::new()), at(4)).unwrap();
    assert_eq!(
        (condition(&placed).status.as_str(), condition(&placed).last_transition_time),
        ("True", at(4))
    );
    assert_eq!(told(&placed, refused("no room for more"), at(5)), None);
}

#[test]
fn pods_of_a_group_agree_on_who_schedules_them_and_how_much_they_matter() {
    let profiles = Profiles::default();
    let mut cluster = cluster("[{metadata: {name: a}}]", "[]");
    let (group, mut pods) = grouped(&mut cluster, Some(1), 0, &["", ""]);
    assert!(fellows(&group, &pods, &cluster, &profiles).is_ok());
    let why = |pods: &[Pending]| fellows(&group, pods, &cluster, &profiles).err().unwrap_or_default();
    pods.push(pending("{spec: {priority: 7}}"));
    assert_eq!(
        why(&pods),
        "all pods in a single pod group should have the same priority as the pod group's priority, got 7 and 0"
    );
    pods.pop();
    pods.push(pending("{spec: {schedulerName: other}}"));
    assert_eq!(
        why(&pods),
        "all pods in a single pod group should have the same .spec.schedulerName set, got: \"other\" and \"default-scheduler\""
    );
}
