//! Numbers kept current equal numbers counted from scratch.

use proptest::prelude::*;

use super::*;
use crate::history::{LIKES, pending, steps};
use crate::pod::Scope;
use crate::profile::Profile;

/// Groups with their keys, as pods of all kinds ask for them, and one that takes in everything.
fn groups() -> Vec<(Group, Vec<String>)> {
    let mut groups = vec![];
    for like in 0..LIKES {
        let pod = pending(like);
        for (term, _) in pod.info.terms.preferred.iter() {
            groups.push((term.scope.clone(), term.topology_key.to_string()));
        }
        for term in pod.info.terms.affinity.iter().chain(&pod.info.terms.anti) {
            groups.push((term.scope.clone(), term.topology_key.to_string()));
        }
    }
    let everything = Some(skiff_api::LabelSelector::everything());
    groups.push((Scope::within("space1", everything), "zone".to_owned()));
    let group = |(scope, key)| (Group { scopes: vec![scope], staying: false }, vec![key, "rack".to_owned()]);
    let mut groups: Vec<_> = groups.into_iter().map(group).collect();
    groups.extend(groups.clone().into_iter().map(|(group, keys)| (Group { staying: true, ..group }, keys)));
    groups
}

fn check(cluster: &Snapshot, groups: &[(Group, Vec<String>)]) {
    for (group, keys) in groups {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut ids = keys.iter().filter_map(|key| cluster.topology.id(key));
        assert_eq!(*cluster.tally(group, &keys), cluster.count(group, &mut ids), "{group:?}");
    }
    for key in ["zone", "rack"] {
        let mut topology = Topology::default();
        topology.cover(key);
        cluster.nodes().for_each(|node| drop(topology.enter(&node.labels)));
        assert_eq!(cluster.topology.nodes(key), topology.nodes(key));
        let values = |topology: &Topology| topology.id(key).and_then(|id| topology.of(id)).map(|it| it.nodes);
        assert_eq!(values(&cluster.topology), values(&topology));
        let id = cluster.topology.id(key).unwrap();
        for (one, other) in cluster.nodes().flat_map(|one| cluster.nodes().map(move |other| (one, other))) {
            let together = one.whereabouts.of(id) == other.whereabouts.of(id);
            assert_eq!(together, one.labels.get(key) == other.labels.get(key), "{} {}", one.name, other.name);
        }
    }
    let mut demands = Demands::default();
    for node in &cluster.nodes {
        node.pods.values().for_each(|pod| demands.add(pod, node, &cluster.topology));
    }
    assert_eq!(cluster.demands.numbers(), demands.numbers());
    let known = cluster.nodes.iter().filter(|node| node.known).count();
    assert_eq!((known, cluster.recent.len()), (cluster.len(), cluster.nodes.len()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn numbers_kept_current_equal_numbers_counted_from_scratch(steps in steps(), from in 0..20_usize) {
        let mut cluster = Snapshot::default();
        let groups = groups();
        for (n, step) in steps.iter().enumerate() {
            if n == from.min(steps.len() - 1) {
                for (group, keys) in &groups {
                    cluster.track(group, &keys.iter().map(String::as_str).collect::<Vec<_>>());
                }
            }
            step.apply(&mut cluster);
            if n >= from {
                check(&cluster, &groups);
            }
        }
    }

    #[test]
    fn a_decision_is_the_same_whether_its_groups_are_followed_or_not(steps in steps()) {
        let profile = Profile { percent: Some(100), ..Profile::default() };
        let mut cluster = Snapshot::default();
        steps.iter().for_each(|step| step.apply(&mut cluster));
        for like in 0..LIKES {
            let pod = pending(like);
            profile.track(&pod, &mut cluster);
            let followed = crate::classes::tests::judged(&pod, &cluster, &profile, None);
            cluster.forget_groups();
            let counted = crate::classes::tests::judged(&pod, &cluster, &profile, None);
            prop_assert_eq!(followed, counted);
        }
    }
}

#[test]
fn a_place_is_given_to_another_node_once_nobody_speaks_of_the_first() {
    let mut cluster = crate::plugins::tests::cluster("[{metadata: {name: a}}]", "[{spec: {nodeName: a}}]");
    cluster.remove_node("a");
    assert_eq!(cluster.nodes.len(), 1, "its pod is still there");
    cluster.displace("uid0");
    let again = crate::plugins::tests::cluster("[{metadata: {name: b}}]", "[]");
    assert_eq!(again.nodes.len(), 1);
    let id = cluster.id(&"b".into());
    assert_eq!((id, cluster.nodes.len()), (0, 1));
}

#[test]
fn a_pod_that_was_only_assumed_is_news_once_it_is_there_for_good() {
    let mut cluster = crate::plugins::tests::cluster("[{metadata: {name: a}}]", "[]");
    let pod = crate::plugins::tests::pending("{}").info;
    assert!(!cluster.place(Arc::clone(&pod), "a", true));
    assert!(cluster.place(Arc::clone(&pod), "a", false), "now it is bound");
    assert!(!cluster.place(pod, "a", false), "that is known");
}
