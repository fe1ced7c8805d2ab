//! For the benchmark only: decisions per second, without a server.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};
use skiff_api::Object;

use crate::cycle::{self, Search};
use crate::pod::Pending;
use crate::profile::Profile;
use crate::snapshot::Snapshot;

/// What the pods are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They ask for CPU and memory.
    Plain,
    /// Of ten groups; each is spread over zones and nodes, and wants its pods on different nodes and near the next group.
    Sociable,
}

fn object(value: &Value) -> Arc<Object> {
    Arc::new(Object::parse(value.to_string().into()).expect("the bench's own JSON is well-formed"))
}

fn pod(kind: Kind, number: usize) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("pod{number}"), "namespace": "default", "uid": format!("uid{number}"),
            "labels": {"app": "plain"}},
        "spec": {"containers": [{"name": "c", "image": "pause:3",
            "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}}}]}});
    if kind == Kind::Sociable {
        let group = number % 10;
        let own = json!({"matchLabels": {"app": format!("app{group}")}});
        pod["metadata"]["labels"] = own["matchLabels"].clone();
        let spread = |key: &str, skew: i32, action: &str| json!({"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": action, "labelSelector": own});
        pod["spec"]["topologySpreadConstraints"] = json!([
            spread("topology.kubernetes.io/zone", 2, "DoNotSchedule"),
            spread("kubernetes.io/hostname", 1, "ScheduleAnyway"),
        ]);
        pod["spec"]["affinity"] = json!({
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 10,
                "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": own}}]},
            "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "podAffinityTerm": {
                "topologyKey": "topology.kubernetes.io/zone",
                "labelSelector": {"matchLabels": {"app": format!("app{}", (group + 1) % 10)}}}}]},
        });
    }
    pod
}

/// The time that this thread has been on a processor: whoever else is busy on the machine does not count.
fn on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.expect("Linux tells how long a thread has run"))
}

/// Places `pods` pods on `nodes` empty nodes of ten zones; the processor time it takes, decoding included.
///
/// # Panics
/// If a pod does not fit, which means that the numbers were chosen badly.
pub fn place(kind: Kind, nodes: usize, pods: usize) -> Duration {
    let mut snapshot = Snapshot::default();
    for n in 0..nodes {
        let name = format!("node{n}");
        let zone = format!("zone{}", n % 10);
        let value = json!({"metadata": {"name": name,
                "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}},
            "status": {"allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"}}});
        let node: Node = serde_json::from_value(value.clone()).expect("the bench's own JSON is a node");
        snapshot.put_node(&object(&value), &node);
    }
    let given: Vec<Arc<Object>> = (0..pods).map(|n| object(&pod(kind, n))).collect();
    let begun = on_processor();
    let (profile, mut search) = (Profile::default(), Search::default());
    for object in given {
        let pod = object.decode::<Pod>().expect("the bench's own JSON is a pod");
        let pending = Pending::new(object, pod);
        profile.track(&pending, &mut snapshot);
        let node = cycle::choose(&pending, &snapshot, &profile, &mut search).expect("there is room for all");
        snapshot.place(Arc::clone(&pending.info), &node, true);
    }
    on_processor() - begun
}
