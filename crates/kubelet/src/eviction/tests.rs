//! Who goes, who stays and what is said, by table.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::admit::{is_critical, refuse};
use super::assess::Shortage;
use super::limits::{Scope, exceeded, scope};
use super::message::low;
use super::rank::{Candidate, order};
use super::settings::{Least, Threshold};
use super::signal::{Pressure, Signal};
use super::usage::{ContainerUse, PodUse, Space};

const MI: u64 = 1 << 20;

fn pod(name: &str, priority: i32, requests: Value) -> Pod {
    let container = json!({ "name": "c", "resources": { "requests": requests } });
    let spec = json!({ "priority": priority, "containers": [container] });
    serde_json::from_value(json!({ "metadata": { "name": name, "uid": name }, "spec": spec })).unwrap()
}

fn space(bytes: u64, inodes: u64) -> Space {
    Space { bytes, inodes }
}

fn container(memory: u64, root: u64, logs: u64) -> ContainerUse {
    ContainerUse { memory, root: space(root, root / MI), logs: space(logs, 1) }
}

fn uses(memory: u64, root: u64, logs: u64, volume: u64) -> PodUse {
    PodUse {
        containers: [("c".to_owned(), container(memory, root, logs))].into(),
        volumes: [("v".to_owned(), space(volume, volume / MI))].into(),
        processes: memory / MI,
    }
}

/// The names of the pods, who goes first before the others.
fn ranked(signal: Signal, apart: bool, pods: &[(Pod, Option<PodUse>)]) -> String {
    let mut candidates: Vec<Candidate<'_>> =
        pods.iter().map(|(pod, usage)| Candidate { pod, usage: usage.as_ref() }).collect();
    order(signal, apart, &mut candidates);
    let names: Vec<&str> = candidates.iter().map(|one| crate::pod::name(one.pod)).collect();
    names.join(" ")
}

#[test]
fn under_memory_pressure_who_exceeds_its_request_goes_first_then_the_lower_priority_then_the_greater_excess()
{
    let asks = |amount: &str| json!({ "memory": amount });
    let pods = [
        (pod("within", -10, asks("100Mi")), Some(uses(100 * MI, 0, 0, 0))),
        (pod("high", 100, asks("10Mi")), Some(uses(500 * MI, 0, 0, 0))),
        (pod("little", 0, asks("10Mi")), Some(uses(20 * MI, 0, 0, 0))),
        (pod("much", 0, asks("300Mi")), Some(uses(320 * MI, 0, 0, 0))),
        (pod("effort", 0, json!({})), Some(uses(15 * MI, 0, 0, 0))),
        (pod("unknown", 50, asks("1Gi")), None),
    ];
    assert_eq!(ranked(Signal::MemoryAvailable, false, &pods), "unknown much effort little high within");
}

#[test]
fn under_disk_pressure_what_counts_is_what_is_on_that_disk() {
    let asks = |amount: &str| json!({ "ephemeral-storage": amount });
    let pods = [
        (pod("layer", 0, json!({})), Some(uses(0, 50 * MI, 0, 0))),
        (pod("volume", 0, json!({})), Some(uses(0, 0, 0, 40 * MI))),
        (pod("logs", 0, json!({})), Some(uses(0, 0, 30 * MI, 0))),
        (pod("asked", 0, asks("1Gi")), Some(uses(0, 500 * MI, 1, 100 * MI))),
    ];
    let rank = |signal, apart| ranked(signal, apart, &pods);
    assert_eq!(rank(Signal::NodeFsAvailable, false), "layer volume logs asked");
    assert_eq!(rank(Signal::ImageFsAvailable, false), "layer volume logs asked");
    assert_eq!(rank(Signal::NodeFsAvailable, true), "volume logs layer asked");
    assert_eq!(rank(Signal::ImageFsAvailable, true), "layer volume logs asked");
    // Nobody asks for inodes.
    assert_eq!(rank(Signal::NodeFsInodesFree, true), "asked volume layer logs");
}

#[test]
fn under_pid_pressure_priority_decides_and_then_the_number_of_processes() {
    let pods = [
        (pod("many", 10, json!({})), Some(uses(900 * MI, 0, 0, 0))),
        (pod("few", 0, json!({})), Some(uses(2 * MI, 0, 0, 0))),
        (pod("some", 0, json!({})), Some(uses(30 * MI, 0, 0, 0))),
    ];
    assert_eq!(ranked(Signal::PidAvailable, false, &pods), "some few many");
}

fn shortage(signal: Signal, least: u64, available: u64) -> Shortage {
    let threshold = Threshold { signal, least: Least::Amount(least), grace: Duration::ZERO, reclaim: None };
    Shortage { threshold, least, available }
}

#[test]
fn a_pod_is_told_what_was_short_and_what_it_used() {
    let told =
        |shortage: &Shortage, pod: &Pod, usage: Option<&PodUse>| low(shortage, &Candidate { pod, usage });
    let used = uses(150 * MI, 3 * MI, 2 * MI, 0);
    let memory = shortage(Signal::MemoryAvailable, 100 * MI, 95_832 << 10);
    let begin = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 95832Ki. ";
    assert_eq!(told(&memory, &pod("p", 0, json!({})), None), begin);
    assert_eq!(
        told(&memory, &pod("p", 0, json!({ "memory": "65536Ki" })), Some(&used)),
        format!("{begin}Container c was using 150Mi, request is 64Mi, has larger consumption of memory. ")
    );
    assert_eq!(told(&memory, &pod("p", 0, json!({ "memory": "150Mi" })), Some(&used)), begin);
    let mut whole = pod("p", 0, json!({}));
    whole.spec.as_mut().unwrap().resources =
        serde_json::from_value(json!({ "requests": { "memory": "100Mi" } })).unwrap();
    assert_eq!(
        told(&memory, &whole, Some(&used)),
        format!(
            "{begin}Pod p was using 150Mi, request is 100Mi, has larger consumption of memory. \
             Container c was using 150Mi, request is 0, has larger consumption of memory. "
        )
    );
    let disk = shortage(Signal::ImageFsAvailable, 1 << 30, 1000 * MI);
    assert_eq!(
        told(&disk, &pod("p", 0, json!({})), Some(&used)),
        "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 1000Mi. \
         Container c was using 5Mi, request is 0, has larger consumption of ephemeral-storage. "
    );
    let inodes = shortage(Signal::NodeFsInodesFree, 5000, 1234);
    assert_eq!(
        told(&inodes, &pod("p", 0, json!({})), Some(&used)),
        "The node was low on resource: inodes. Threshold quantity: 5k, available: 1234. "
    );
}

fn limited(spec: Value) -> Pod {
    serde_json::from_value(json!({ "metadata": { "name": "p" }, "spec": spec })).unwrap()
}

fn takes(name: &str, limit: &str) -> Value {
    json!({ "name": name, "resources": { "limits": { "ephemeral-storage": limit } } })
}

#[test]
fn pods_are_held_to_the_limits_of_their_volumes_their_containers_and_all_of_them() {
    let volume = |source: Value| {
        limited(json!({ "containers": [{ "name": "c" }], "volumes": [{ "name": "v", "emptyDir": source }] }))
    };
    let bounded = volume(json!({ "sizeLimit": "4096Ki" }));
    assert_eq!(scope(&bounded), Some(Scope::Volumes));
    assert_eq!(exceeded(&bounded, &uses(0, 99 * MI, 0, 4 * MI), false), None);
    assert_eq!(
        exceeded(&bounded, &uses(0, 0, 0, 4 * MI + 1), false).unwrap(),
        "Usage of EmptyDir volume \"v\" exceeds the limit \"4Mi\". "
    );
    for free in [json!({}), json!({ "sizeLimit": "0" }), json!({ "medium": "Memory", "sizeLimit": "1Mi" })] {
        assert_eq!(scope(&volume(free)), None);
    }

    let pod =
        limited(json!({ "containers": [takes("c", "10Mi"), takes("other", "5Mi"), { "name": "free" }] }));
    assert_eq!(scope(&pod), Some(Scope::Everything));
    assert_eq!(exceeded(&pod, &uses(0, 6 * MI, 4 * MI, 5 * MI), false), None);
    assert_eq!(
        exceeded(&pod, &uses(0, 6 * MI, 4 * MI, 5 * MI + 1), false).unwrap(),
        "Pod ephemeral local storage usage exceeds the total limit of containers 15Mi. "
    );
    assert_eq!(
        exceeded(&pod, &uses(0, 7 * MI, 4 * MI, 0), false).unwrap(),
        "Container c exceeded its local ephemeral storage limit \"10Mi\". "
    );
    // What is written over images on a disk of their own is not the container's own limit's matter.
    assert_eq!(exceeded(&pod, &uses(0, 7 * MI, 4 * MI, 0), true), None);

    let init = limited(json!({ "initContainers": [takes("i", "20Mi")], "containers": [takes("c", "1Mi")] }));
    assert_eq!(
        exceeded(&init, &uses(0, 0, 0, 21 * MI), false).unwrap(),
        "Pod ephemeral local storage usage exceeds the total limit of containers 20Mi. "
    );
}

#[test]
fn a_node_that_is_short_lets_in_who_is_critical_and_for_memory_alone_who_asked_for_some() {
    let memory = Pressure { memory: true, ..Pressure::default() };
    let both = Pressure { disk: true, ..memory };
    let effort = pod("p", 0, json!({}));
    let burstable = pod("p", 0, json!({ "memory": "1Mi" }));
    let system = pod("p", 2_000_000_000, json!({}));
    let mut from_file = effort.clone();
    from_file.metadata.annotations =
        Some([("kubernetes.io/config.source".to_owned(), "file".to_owned())].into());
    let mut hardy = effort.clone();
    hardy.spec.as_mut().unwrap().tolerations = serde_json::from_value(json!([
        { "key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule" }
    ]))
    .unwrap();
    let refused = |pod: &Pod, pressure| refuse(pod, pressure).map(|verdict| verdict.message);
    assert_eq!(refused(&effort, Pressure::default()), None);
    assert_eq!(
        refused(&effort, memory).unwrap(),
        "Pod was rejected: The node had condition: [MemoryPressure]. "
    );
    for pod in [&burstable, &hardy] {
        assert_eq!(refused(pod, memory), None);
        assert_eq!(
            refused(pod, both).unwrap(),
            "Pod was rejected: The node had condition: [MemoryPressure DiskPressure]. "
        );
    }
    for pod in [&system, &from_file] {
        assert_eq!(refused(pod, both), None);
        assert!(is_critical(pod));
    }
    assert!(!is_critical(&burstable));
}
