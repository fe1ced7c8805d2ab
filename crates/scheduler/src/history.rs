//! Random histories of a cluster, for tests that compare what is kept current with what is computed anew.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node as ApiNode, Pod};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use skiff_api::Object;

use crate::pod::{Pending, PodInfo};
use crate::snapshot::Snapshot;

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Node { name: u8, zone: Option<u8>, rack: Option<u8>, like: u8 },
    NodeGone(u8),
    Namespace { name: u8, team: u8 },
    Pod { name: u8, node: u8, like: u8, leaving: bool },
    PodGone(u8),
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let option = || proptest::option::of(0..3_u8);
    let step = prop_oneof![
        3 => (0..6_u8, option(), option(), 0..6_u8)
            .prop_map(|(name, zone, rack, like)| Step::Node { name, zone, rack, like }),
        1 => (0..6_u8).prop_map(Step::NodeGone),
        1 => (0..3_u8, 0..2_u8).prop_map(|(name, team)| Step::Namespace { name, team }),
        6 => (0..12_u8, 0..6_u8, 0..LIKES, any::<bool>())
            .prop_map(|(name, node, like, leaving)| Step::Pod { name, node, like, leaving }),
        2 => (0..12_u8).prop_map(Step::PodGone),
    ];
    vec(step, 1..40)
}

fn object(value: &Value) -> Arc<Object> {
    Arc::new(Object::parse(value.to_string().into()).unwrap())
}

/// How many kinds of pods there are.
pub(crate) const LIKES: u8 = 14;

fn spec(like: u8) -> Value {
    let app = |n: u8| json!({"matchLabels": {"app": format!("app{n}")}});
    let term = |key: &str, n: u8| json!({"topologyKey": key, "labelSelector": app(n)});
    let required = |term: Value| json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]});
    let preferred = |weight: i32, term: Value| json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": weight, "podAffinityTerm": term}]});
    let spread = |key: &str, action: &str, more: Value| {
        let mut spread =
            json!({"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": action, "labelSelector": app(0)});
        json_patch::merge(&mut spread, &more);
        spread
    };
    let mut wide = term("zone", 1);
    wide["namespaceSelector"] = json!({"matchLabels": {"team": "team1"}});
    match like {
        0 => json!({}),
        1 => json!({"containers": [{"name": "c", "image": "app", "resources": {"requests": {"cpu": "1"}}}]}),
        2 => {
            json!({"containers": [{"name": "c", "image": "app", "ports": [{"containerPort": 80, "hostPort": 80}]}]})
        }
        3 => json!({"nodeSelector": {"zone": "zone1"}}),
        4 => json!({"tolerations": [{"key": "own", "operator": "Exists"}]}),
        5 => {
            json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 7,
            "preference": {"matchExpressions": [{"key": "rack", "operator": "Exists"}]}}]}}})
        }
        6 => json!({"affinity": {"podAntiAffinity": required(term("zone", 0))}}),
        7 => json!({"affinity": {"podAffinity": required(term("rack", 1))}}),
        8 => {
            json!({"affinity": {"podAffinity": preferred(5, wide.clone()), "podAntiAffinity": preferred(3, term("zone", 0))}})
        }
        9 => json!({"affinity": {"podAntiAffinity": required(wide)}}),
        10 => json!({"topologySpreadConstraints": [spread("zone", "DoNotSchedule", json!({}))]}),
        11 => json!({"nodeSelector": {"zone": "zone1"},
            "topologySpreadConstraints": [spread("zone", "DoNotSchedule", json!({"minDomains": 2})),
                spread("rack", "ScheduleAnyway", json!({"nodeTaintsPolicy": "Honor"}))]}),
        12 => json!({"topologySpreadConstraints": [spread("zone", "ScheduleAnyway", json!({})),
            spread("rack", "ScheduleAnyway", json!({"nodeAffinityPolicy": "Ignore"}))]}),
        _ => {
            json!({"containers": [{"name": "c", "image": "app", "resources": {"requests": {"memory": "1Gi", "cpu": "500m"}}}],
            "tolerations": [{"operator": "Exists"}]})
        }
    }
}

fn pod(name: u8, like: u8, leaving: bool) -> Value {
    let mut value = json!({
        "metadata": {"name": format!("pod{name}"), "namespace": format!("space{}", name % 3),
            "uid": format!("uid{name}"), "labels": {"app": format!("app{}", like % 2)}},
        "spec": {"containers": [{"name": "c", "image": "app"}]},
    });
    if leaving {
        value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    json_patch::merge(&mut value["spec"], &spec(like));
    value
}

/// A pod of some kind that wants a node.
pub(crate) fn pending(like: u8) -> Pending {
    let value = pod(100 + like, like, false);
    let pod: Pod = serde_json::from_value(value.clone()).unwrap();
    Pending::new(object(&value), Arc::new(pod))
}

impl Step {
    pub(crate) fn apply(&self, cluster: &mut Snapshot) {
        match self {
            Self::Node { name, zone, rack, like } => {
                let name = format!("node{name}");
                let mut value = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
                    "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}}});
                for (key, number) in [("zone", zone), ("rack", rack)] {
                    if let Some(number) = number {
                        value["metadata"]["labels"][key] = json!(format!("{key}{number}"));
                    }
                }
                let more = match like {
                    0 => json!({"spec": {"unschedulable": true}}),
                    1 => json!({"spec": {"taints": [{"key": "own", "effect": "NoSchedule"}]}}),
                    2 => json!({"spec": {"taints": [{"key": "own", "effect": "PreferNoSchedule"}]}}),
                    3 => json!({"status": {"images": [{"names": ["app:latest"], "sizeBytes": 700_000_000}]}}),
                    4 => json!({"status": {"allocatable": {"cpu": "1"}}}),
                    _ => json!({}),
                };
                json_patch::merge(&mut value, &more);
                let node: ApiNode = serde_json::from_value(value.clone()).unwrap();
                cluster.put_node(&object(&value), &node);
            }
            Self::NodeGone(name) => drop(cluster.remove_node(&format!("node{name}"))),
            Self::Namespace { name, team } => {
                let name = format!("space{name}");
                let value = json!({"metadata": {"name": name, "labels": {"team": format!("team{team}")}}});
                cluster.put_namespace(name.as_str().into(), Some(object(&value)));
            }
            Self::Pod { name, node, like, leaving } => {
                let value = pod(*name, *like, *leaving);
                let pod: Pod = serde_json::from_value(value.clone()).unwrap();
                cluster.place(Arc::new(PodInfo::new(object(&value), &pod)), &format!("node{node}"), false);
            }
            Self::PodGone(name) => {
                cluster.displace(&format!("uid{name}"));
            }
        }
    }
}
