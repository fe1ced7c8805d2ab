//! What wakes a pod that was refused, and what does not.

use super::*;
use crate::event::{Event, Hope};

/// What those hope for who refuse the pod in the cluster.
fn hopes(cluster: &mut Snapshot, pod: &str) -> Vec<Hope> {
    let (pod, profile) = (pending(pod), Profile::default());
    profile.track(&pod, cluster);
    let unfit = cycle::choose(&pod, cluster, &profile, &mut Search::default()).unwrap_err();
    profile.hopes(&pod, cluster, &unfit.plugins)
}

/// What is told of a node that comes or changes.
fn node(cluster: &mut Snapshot, given: &str) -> Vec<Event> {
    let name: Value = serde_saphyr::from_str(given).unwrap();
    let mut value = json!({"metadata": {"labels": {"kubernetes.io/hostname": name["metadata"]["name"]}},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}}});
    json_patch::merge(&mut value, &name);
    let node: ApiNode = serde_json::from_value(value.clone()).unwrap();
    cluster.put_node(&object(&value), &node)
}

#[track_caller]
fn node_helps(nodes: &str, pods: &str, pod: &str, changed: &str, helps: bool) {
    let mut cluster = cluster(nodes, pods);
    let hopes = hopes(&mut cluster, pod);
    let events = node(&mut cluster, changed);
    assert!(!events.is_empty(), "nothing is told of {changed}");
    let helped = events.iter().any(|event| hopes.iter().any(|hope| hope.helps(event)));
    assert_eq!(helped, helps, "{pod}: {changed}");
}

#[test]
fn a_node_wakes_only_those_it_may_hold() {
    let big = format!("spec: {{{}}}", asks("6"));
    node_helps(TWO, "[]", &big, "metadata: {name: c}", false);
    node_helps(TWO, "[]", &big, "{metadata: {name: c}, status: {allocatable: {cpu: '8'}}}", true);
    node_helps(TWO, "[]", &big, "{metadata: {name: a}, status: {allocatable: {cpu: '5'}}}", false);
    node_helps(TWO, "[]", &big, "{metadata: {name: a}, status: {allocatable: {cpu: '6'}}}", true);
    node_helps(TWO, "[]", &big, "{metadata: {name: a, labels: {x: z}}}", false);
    let picky = "spec: {nodeSelector: {disk: ssd}}";
    node_helps(TWO, "[]", picky, "{metadata: {name: a, labels: {disk: hdd}}}", false);
    node_helps(TWO, "[]", picky, "{metadata: {name: a, labels: {disk: ssd}}}", true);
    node_helps(TWO, "[]", picky, "metadata: {name: c}", false);
    let tainted = "[{metadata: {name: a}, spec: {taints: [{key: own, effect: NoSchedule}]}}]";
    node_helps(tainted, "[]", "{}", "{metadata: {name: a}}", true);
    let other = "{metadata: {name: a}, spec: {taints: [{key: other, effect: NoSchedule}]}}";
    node_helps(tainted, "[]", "{}", other, false);
    node_helps(
        "[{metadata: {name: a}, spec: {unschedulable: true}}]",
        "[]",
        "{}",
        "{metadata: {name: a}}",
        true,
    );
}

#[track_caller]
fn end_helps(nodes: &str, pods: &str, pod: &str, gone: &str, helps: bool) {
    let mut cluster = cluster(nodes, pods);
    let hopes = hopes(&mut cluster, pod);
    let event = Event::PodGone(cluster.displace(gone).unwrap());
    assert_eq!(hopes.iter().any(|hope| hope.helps(&event)), helps, "{pod}: {gone}");
}

#[test]
fn a_pod_that_ends_wakes_only_those_it_was_in_the_way_of() {
    let one = "[{metadata: {name: a}}]";
    let ports = format!("[{{{PORT}}}, {}]", on("a", "containers: []"));
    let ports = ports.replacen("spec: {", "spec: {nodeName: a, ", 1);
    end_helps(one, &ports, PORT, "uid0", true);
    end_helps(one, &ports, PORT, "uid1", false);
    let far = "{metadata: {labels: {app: web}}, spec: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution:
        [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: web}}}]}}}}";
    let pods = "[{metadata: {labels: {app: web}}, spec: {nodeName: a}}, {metadata: {labels: {app: db}}, spec: {nodeName: a}}]";
    end_helps(one, pods, far, "uid0", true);
    end_helps(one, pods, far, "uid1", false);
    let spread = "{metadata: {labels: {app: web}}, spec: {topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname,
        whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}], nodeSelector: {kubernetes.io/hostname: a}}}";
    let two = "[{metadata: {name: a, labels: {kubernetes.io/hostname: a}}}]";
    let near = "{spec: {affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution:
        [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: cache}}}]}}}}";
    end_helps(two, pods, near, "uid0", false);
    // It is refused by nobody but for its group; what ends outside of the group does not matter.
    let full = "[{metadata: {labels: {app: web}}, spec: {nodeName: a}}, {metadata: {labels: {app: web}, namespace: red}, spec: {nodeName: b}}]";
    let skewed = spread.replace(", nodeSelector: {kubernetes.io/hostname: a}", "");
    let cordoned = "[{metadata: {name: a}}, {metadata: {name: b}, spec: {unschedulable: true}}]";
    end_helps(cordoned, full, &skewed, "uid0", true);
    end_helps(cordoned, full, &skewed, "uid1", false);
}

#[test]
fn a_claim_wakes_only_the_pods_that_use_it() {
    let pod = "spec: {volumes: [{name: v, persistentVolumeClaim: {claimName: data}}], containers: [{name: c, image: app}]}";
    let mut cluster = cluster(TWO, "[]");
    let hopes = hopes(&mut cluster, pod);
    let helps = |key: &str| hopes.iter().any(|hope| hope.helps(&Event::ClaimChanged(key.into())));
    assert!(helps("blue/data"));
    assert!(!helps("blue/other") && !helps("red/data"));
}
