//! Clusters and pods given as YAML; expected: the node chosen, or the words of the refusal.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node as ApiNode, Pod, ReplicationController};
use serde_json::{Value, json};
use skiff_api::{LabelSelector, Object};

use crate::cycle::{self, Search};
use crate::pod::{Pending, PodInfo};
use crate::preemption;
use crate::profile::Profile;
use crate::snapshot::Snapshot;

mod hopes;
mod volumes;

fn object(value: &Value) -> Arc<Object> {
    Arc::new(Object::parse(value.to_string().into()).unwrap())
}

fn yaml(text: &str) -> Vec<Value> {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Nodes get 4 CPUs, 8 GiB, room for ten pods and their host name unless they say otherwise.
pub(crate) fn cluster(nodes: &str, pods: &str) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for given in yaml(nodes) {
        let name = given["metadata"]["name"].clone();
        let mut value = json!({"metadata": {"labels": {"kubernetes.io/hostname": name}},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}}});
        json_patch::merge(&mut value, &given);
        let node: ApiNode = serde_json::from_value(value.clone()).unwrap();
        snapshot.put_node(&object(&value), &node);
    }
    for (n, given) in yaml(pods).into_iter().enumerate() {
        let value = named(given, n);
        let pod: Pod = serde_json::from_value(value.clone()).unwrap();
        let node = pod.spec.as_ref().unwrap().node_name.clone().unwrap();
        snapshot.place(Arc::new(PodInfo::new(object(&value), &pod)), &node, false);
    }
    snapshot
}

fn named(given: Value, n: usize) -> Value {
    let mut value = json!({"metadata": {"name": format!("pod{n}"), "namespace": "blue", "uid": format!("uid{n}")},
        "spec": {"containers": [{"name": "c", "image": "app"}]}});
    json_patch::merge(&mut value, &given);
    value
}

/// A pod that wants a node.
pub(crate) fn pending(pod: &str) -> Pending {
    let value: Value = serde_saphyr::from_str(pod).unwrap();
    let value = named(value, 1000);
    let pod: Pod = serde_json::from_value(value.clone()).unwrap();
    Pending::new(object(&value), Arc::new(pod))
}

fn chosen(cluster: &mut Snapshot, pod: &str) -> String {
    let pod = pending(pod);
    let profile = Profile::default();
    profile.track(&pod, cluster);
    match cycle::choose(&pod, cluster, &profile, &mut Search::default()) {
        Ok(node) => node.to_string(),
        Err(mut unfit) => {
            if preemption::plan(&pod, cluster, &profile, &mut unfit).is_some() {
                unfit.preempts();
            }
            unfit.to_string()
        }
    }
}

#[track_caller]
fn check(nodes: &str, pods: &str, pod: &str, expected: &str) {
    assert_eq!(chosen(&mut cluster(nodes, pods), pod), expected);
}

const TWO: &str = "[{metadata: {name: a}}, {metadata: {name: b}}]";
const PORT: &str =
    "spec: {containers: [{name: c, image: app, ports: [{containerPort: 6379, hostPort: 6380}]}]}";

fn on(node: &str, spec: &str) -> String {
    format!("{{metadata: {{labels: {{app: web}}}}, spec: {{nodeName: {node}, {spec}}}}}")
}

fn asks(cpu: &str) -> String {
    format!("containers: [{{name: c, image: app, resources: {{requests: {{cpu: '{cpu}'}}}}}}]")
}

#[test]
fn a_third_pod_with_a_host_port_says_why_it_fits_on_neither_of_two_nodes() {
    let held = "containers: [{name: c, ports: [{containerPort: 6379, hostPort: 6380}]}]";
    let both = format!("[{}, {}]", on("a", held), on("b", held));
    let expected = "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports. \
        preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.";
    check(TWO, &both, PORT, expected);
    check(TWO, &format!("[{}]", on("a", held)), PORT, "b");
}

#[test]
fn reasons_are_counted_and_sorted() {
    let nodes = "[{metadata: {name: a}, spec: {unschedulable: true}},
        {metadata: {name: b}, spec: {taints: [{key: gpu, effect: NoSchedule}]}},
        {metadata: {name: c}}, {metadata: {name: d}, status: {allocatable: {cpu: '1'}}}]";
    let pods = format!("[{}]", on("c", &asks("3")));
    let pod = format!("spec: {{{}}}", asks("2"));
    let expected = "0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, \
        2 Insufficient cpu. preemption: 0/4 nodes are available: 1 No preemption victims found for incoming pod, \
        3 Preemption is not helpful for scheduling.";
    check(nodes, &pods, &pod, expected);
    check("[]", "[]", &pod, "no nodes available to schedule pods");
}

#[test]
fn a_full_node_takes_no_more_pods() {
    let nodes = "[{metadata: {name: a}, status: {allocatable: {pods: '1'}}}, {metadata: {name: b}}]";
    check(nodes, &format!("[{}]", on("a", &asks("1"))), "{}", "b");
}

#[test]
fn the_emptier_node_is_preferred() {
    check(TWO, &format!("[{}]", on("a", &asks("2"))), &format!("spec: {{{}}}", asks("1")), "b");
}

#[test]
fn selectors_affinity_and_taints_choose_nodes() {
    let nodes =
        "[{metadata: {name: a, labels: {disk: ssd}}, spec: {taints: [{key: own, effect: NoExecute}]}},
        {metadata: {name: b, labels: {disk: hdd}}}, {metadata: {name: c, labels: {disk: ssd}},
        spec: {taints: [{key: rather, effect: PreferNoSchedule}]}}]";
    check(nodes, "[]", "spec: {nodeSelector: {disk: hdd}}", "b");
    check(nodes, "[]", "spec: {nodeSelector: {disk: ssd}}", "c");
    check(nodes, "[]", "spec: {nodeSelector: {disk: ssd}, tolerations: [{key: own, operator: Exists}]}", "a");
    check(nodes, "[]", "{}", "b");
    let prefers =
        "spec: {affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100,
        preference: {matchExpressions: [{key: disk, operator: In, values: [ssd]}]}}]}},
        tolerations: [{key: rather, operator: Exists}]}";
    check(nodes, "[]", prefers, "c");
    let expected = "0/3 nodes are available: 1 node(s) had untolerated taint(s), \
        2 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are available: \
        3 Preemption is not helpful for scheduling.";
    check(nodes, "[]", "spec: {nodeSelector: {disk: tape}}", expected);
}

#[test]
fn pods_of_one_controller_are_spread_by_default() {
    let held = "[{metadata: {labels: {app: web}}, spec: {nodeName: a}}]";
    let mut cluster = cluster(TWO, held);
    let controller = json!({"metadata": {"name": "web", "namespace": "blue", "uid": "rc"},
        "spec": {"selector": {"app": "web"}}});
    let typed: ReplicationController = serde_json::from_value(controller.clone()).unwrap();
    let selector = LabelSelector::of_map(&typed.spec.unwrap().selector.unwrap());
    cluster.selectors.owner(&object(&controller), Some(selector));
    // The other node is fuller, and still better.
    let filler = named(
        json!({"spec": {"nodeName": "b", "containers": [{"name": "c",
        "resources": {"requests": {"cpu": "500m"}}}]}}),
        7,
    );
    let pod: Pod = serde_json::from_value(filler.clone()).unwrap();
    cluster.place(Arc::new(PodInfo::new(object(&filler), &pod)), "b", false);
    let pod = "metadata: {labels: {app: web}, ownerReferences: [{apiVersion: v1,
        kind: ReplicationController, name: web, uid: rc, controller: true}]}";
    assert_eq!(chosen(&mut cluster, pod), "b");
}

#[test]
fn a_hard_spread_constraint_refuses_the_crowded_domain() {
    let nodes = "[{metadata: {name: a, labels: {zone: east}}}, {metadata: {name: b, labels: {zone: west}},
        spec: {unschedulable: true}}, {metadata: {name: c}}]";
    let pod =
        "{metadata: {labels: {app: web}}, spec: {topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone,
        whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}]}}";
    check(nodes, "[]", pod, "a");
    let expected = "0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints, \
        1 node(s) didn't match pod topology spread constraints (missing required label), \
        1 node(s) were unschedulable. preemption: 0/3 nodes are available: \
        1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.";
    check(nodes, &format!("[{}]", on("a", "containers: []")), pod, expected);
}

#[test]
fn affinity_between_pods_draws_and_repels() {
    let term = "[{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: web}}}]";
    let held = format!("[{}]", on("a", &asks("2")));
    let near = format!(
        "spec: {{affinity: {{podAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {term}}}}}}}"
    );
    let far = near.replace("podAffinity", "podAntiAffinity");
    check(TWO, &held, &near, "a");
    check(TWO, &held, &far, "b");
    // A pod there keeps the likes of the new one away.
    let guard = format!(
        "[{{spec: {{nodeName: b, affinity: {{podAntiAffinity:
        {{requiredDuringSchedulingIgnoredDuringExecution: {term}}}}}}}}}]"
    );
    check(TWO, &guard, "metadata: {labels: {app: web}}", "a");
    let refused = chosen(&mut cluster("[{metadata: {name: b}}]", &guard), "metadata: {labels: {app: web}}");
    assert!(refused.contains("1 node(s) didn't satisfy existing pods anti-affinity rules."), "{refused}");
    // The first of a group that wants to be together may begin anywhere.
    let first = format!("{{metadata: {{labels: {{app: web}}}}, {near}}}");
    check("[{metadata: {name: b}}]", "[]", &first, "b");
    check(
        "[{metadata: {name: b}}]",
        "[]",
        &near,
        "0/1 nodes are available: 1 node(s) didn't match pod affinity rules. \
         preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
    );
}

#[test]
fn a_node_with_the_image_is_preferred_among_equals() {
    let nodes = "[{metadata: {name: a}}, {metadata: {name: b}, status: {images: [{names: ['app:latest'],
        sizeBytes: 900000000}]}}]";
    check(nodes, "[]", "{}", "b");
}

#[test]
fn sums_follow_pods_that_come_and_go() {
    let mut cluster = cluster(TWO, &format!("[{}, {}]", on("a", &asks("3")), on("b", &asks("3"))));
    let pod = format!("spec: {{{}}}", asks("2"));
    assert!(chosen(&mut cluster, &pod).contains("2 Insufficient cpu"));
    assert!(cluster.displace("uid1").is_some());
    assert_eq!(chosen(&mut cluster, &pod), "b");
    assert!(cluster.forget("uid0").is_none(), "a bound pod is not forgotten with an assumption");
    cluster.remove_node("b");
    assert!(chosen(&mut cluster, &pod).starts_with("0/1 nodes"));
}
