//! Given policies, namespaces and pods; expected the elements of the kernel's sets, and when the frame no longer fits.

use serde_json::json;

use super::model::{Pod, Policy, Way};
use super::plan::{Frame, Known};
use super::table::SetId;
use crate::family::Family;
use crate::ledger::Set as _;

/// Namespaces a (team: red) and b (team: blue); pods web and db of a on this node, client of b and one of a elsewhere.
fn known(policies: &[(&str, &str)]) -> Known {
    let mut known = Known::default();
    for (name, team) in [("a", "red"), ("b", "blue")] {
        known.namespaces.insert(name.to_owned(), [("team".to_owned(), team.to_owned())].into());
    }
    for (key, app, address, node) in [
        ("a/web", "web", "10.1.0.1", "n1"),
        ("a/db", "db", "10.1.0.2", "n1"),
        ("a/far", "web", "10.2.0.3", "n2"),
        ("b/client", "client", "10.2.0.4", "n2"),
    ] {
        known.pods.insert(key.into(), pod(key, app, address, node).unwrap());
    }
    for (name, spec) in policies {
        let policy = format!("{{metadata: {{name: {name}, namespace: a}}, spec: {spec}}}");
        let policy = serde_saphyr::from_str(&policy).unwrap();
        known.policies.insert(format!("a/{name}").as_str().into(), Policy::of(&policy).unwrap().into());
    }
    known
}

fn pod(key: &str, app: &str, address: &str, node: &str) -> Option<Pod> {
    let (namespace, name) = key.split_once('/').unwrap();
    let pod = json!({
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": app } },
        "spec": { "nodeName": node, "containers": [{ "name": "c", "ports": [
            { "name": "http", "containerPort": 8080 }, { "name": "dns", "containerPort": 53, "protocol": "UDP" },
        ] }] },
        "status": { "phase": "Running", "podIP": address },
    });
    Pod::of(&serde_json::from_value(pod).unwrap(), "n1")
}

/// `set last byte of the address [protocol port] [-> group]`, sorted.
fn shown(known: &Known, frame: &Frame) -> Vec<String> {
    let entries = known.pods.values().flat_map(|pod| known.elements(frame, pod, Family::Four));
    let mut lines: Vec<String> = entries
        .map(|(set, key, value)| {
            let port = key.get(8..10).map(|port| u16::from_be_bytes([port[0], port[1]]));
            let rest = match (set, port, value.first()) {
                (SetId::Named(_), Some(port), _) => format!(" {} {port}", key[4]),
                (_, _, Some(group)) => format!(" -> {group}"),
                _ => String::new(),
            };
            format!("{} {}{rest}", set.name(), key[3])
        })
        .collect();
    lines.sort();
    lines.dedup();
    lines
}

fn check(policies: &[(&str, &str)], expected: &[&str]) {
    let known = known(policies);
    assert_eq!(shown(&known, &known.frame()), expected, "{policies:?}");
}

#[test]
fn who_is_under_no_policy_needs_nothing() {
    check(&[], &[]);
    check(&[("elsewhere", "{podSelector: {matchLabels: {app: client}}}")], &[]);
}

#[test]
fn a_policy_without_rules_isolates_inward_only() {
    check(&[("deny", "{podSelector: {}}")], &["in 1 -> 1", "in 2 -> 1", "itself 1", "itself 2"]);
    let both = "{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress, Egress]}";
    check(&[("deny", both)], &["in 2 -> 1", "itself 2", "out 2 -> 2"]);
    check(
        &[("out", "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress]}")],
        &["itself 2", "out 2 -> 1"],
    );
}

#[test]
fn peers_are_chosen_by_their_labels_their_namespaces_or_both() {
    let rule =
        |from: &str| format!("{{podSelector: {{matchLabels: {{app: db}}}}, ingress: [{{from: [{from}]}}]}}");
    for (from, expected) in [
        ("{podSelector: {matchLabels: {app: web}}}", &["peers-0-in0 1", "peers-0-in0 3"][..]),
        ("{namespaceSelector: {matchLabels: {team: blue}}}", &["peers-0-in0 4"]),
        ("{namespaceSelector: {}, podSelector: {matchLabels: {app: client}}}", &["peers-0-in0 4"]),
        ("{namespaceSelector: {matchLabels: {team: blue}}, podSelector: {matchLabels: {app: web}}}", &[]),
        ("{ipBlock: {cidr: 10.0.0.0/8}}", &[]),
    ] {
        check(&[("allow", &rule(from))], &[&["in 2 -> 1", "itself 2"], expected].concat());
    }
}

#[test]
fn a_named_port_is_what_the_pod_that_is_talked_to_calls_so() {
    let inward = "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: http}]}]}";
    check(&[("in", inward)], &["in 2 -> 1", "itself 2", "named-0-in0 1 6 8080", "named-0-in0 2 6 8080"]);
    let outward = "{podSelector: {matchLabels: {app: db}}, egress: [{ports: [{port: dns, protocol: UDP}]}], policyTypes: [Egress]}";
    let all =
        ["named-0-out0 1 17 53", "named-0-out0 2 17 53", "named-0-out0 3 17 53", "named-0-out0 4 17 53"];
    check(&[("out", outward)], &[&["itself 2"][..], &all, &["out 2 -> 1"]].concat());
}

#[test]
fn each_family_knows_a_pods_addresses_of_its_own() {
    let mut known = known(&[("deny", "{podSelector: {matchLabels: {app: db}}}")]);
    let db = known.pods.get_mut("a/db").unwrap();
    db.addresses.push("fd00:1::2".parse().unwrap());
    let (frame, db) = (known.frame(), &known.pods["a/db"]);
    for (family, bytes) in [(Family::Four, 4), (Family::Six, 16)] {
        let entries = known.elements(&frame, db, family);
        let sizes: Vec<usize> = entries.iter().map(|(_, key, _)| key.len()).collect();
        assert_eq!(sizes, [bytes, 2 * bytes], "{family:?}");
    }
}

#[test]
fn pods_under_the_same_policies_share_a_group() {
    let policies =
        [("all", "{podSelector: {}}"), ("db", "{podSelector: {matchLabels: {app: db}}, ingress: [{}]}")];
    let known = known(&policies);
    let frame = known.frame();
    let groups: Vec<Vec<usize>> =
        frame.groups.keys().map(|(_, group)| group.iter().copied().collect()).collect();
    assert_eq!(groups, [vec![0], vec![0, 1]]);
    assert!(frame.groups.keys().all(|(way, _)| *way == Way::In));
}

#[test]
fn the_frame_fits_until_a_pod_here_is_under_other_policies() {
    let known = known(&[
        ("web", "{podSelector: {matchLabels: {app: web}}}"),
        ("job", "{podSelector: {matchLabels: {app: job}}}"),
    ]);
    let frame = known.frame();
    assert_eq!(frame.policies.len(), 1);
    for (app, node, holds) in
        [("web", "n1", true), ("other", "n1", true), ("job", "n2", true), ("job", "n1", false)]
    {
        assert_eq!(frame.holds(&known, &pod("a/new", app, "10.1.0.9", node).unwrap()), holds, "{app} {node}");
    }
}
