//! For the benchmark only: decisions per second, without a server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use skiff_api::Object;

use crate::cycle;
use crate::pod::Pending;
use crate::snapshot::Snapshot;

fn object(value: &serde_json::Value) -> Arc<Object> {
    Arc::new(Object::parse(value.to_string().into()).expect("the bench's own JSON is well-formed"))
}

/// Places `pods` plain pods on `nodes` empty nodes; the time it takes, decoding included.
///
/// # Panics
/// If a pod does not fit, which means that the numbers were chosen badly.
pub fn place(nodes: usize, pods: usize) -> Duration {
    let mut snapshot = Snapshot::default();
    for n in 0..nodes {
        let name = format!("node{n}");
        let value = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"}}});
        let node: Node = serde_json::from_value(value.clone()).expect("the bench's own JSON is a node");
        snapshot.put_node(&object(&value), &node);
    }
    let given: Vec<Arc<Object>> = (0..pods)
        .map(|n| {
            object(&json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("pod{n}"), "namespace": "default", "uid": format!("uid{n}"),
                    "labels": {"app": "plain"}},
                "spec": {"containers": [{"name": "c", "image": "pause:3",
                    "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}}}]}}))
        })
        .collect();
    let begun = Instant::now();
    let mut start = 0;
    for object in given {
        let pod = object.decode::<Pod>().expect("the bench's own JSON is a pod");
        let pending = Pending::new(object, pod);
        let node = cycle::choose(&pending, &snapshot, &mut start).expect("there is room for all");
        snapshot.place(Arc::clone(&pending.info), &node, true);
    }
    begun.elapsed()
}
