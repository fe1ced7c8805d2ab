//! A glance at the JSON must tell what the typed form tells.

use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::{Object, pod, volume};

fn object(pod: &Value) -> Object {
    Object::parse(Bytes::from(pod.to_string())).unwrap()
}

fn pods() -> Vec<Value> {
    let ready = |status: &str| {
        json!([{"type": "Initialized", "status": "True"},
        {"type": "Ready", "status": status, "lastTransitionTime": "2026-11-22T10:01:00Z"}])
    };
    let pin =
        |name: &str| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]});
    vec![
        json!({"metadata": {"name": "a", "namespace": "n"}}),
        json!({"metadata": {"name": "a", "namespace": "n", "annotations": null}, "spec": {"containers": [], "nodeName": ""},
               "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": ready("True")}}),
        json!({"metadata": {"name": "a", "namespace": "n"}, "status": {"phase": "Failed", "podIP": "10.0.0.1",
                   "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "conditions": ready("False")},
               "spec": {"containers": [], "nodeName": "one", "hostname": "h", "subdomain": "s", "volumes": [
                   {"name": "x", "emptyDir": {}},
                   {"name": "y", "persistentVolumeClaim": {"claimName": "c"}},
                   {"name": "z", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]}}),
        json!({"metadata": {"name": "a"}, "status": {"phase": "Pending", "conditions": null}, "spec": {"containers": [],
               "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                   {"nodeSelectorTerms": [pin("two"), pin("three")]}}}}}),
        json!({"metadata": {"name": "a"}, "status": {"phase": "Tired"}, "spec": {"containers": [],
               "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                   {"nodeSelectorTerms": [pin("two"), {"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}}}}),
        json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {"containers": [], "resourceClaims": [
                   {"name": "x", "resourceClaimName": "given"}, {"name": "y", "resourceClaimTemplateName": "t"},
                   {"name": "z", "resourceClaimTemplateName": "t"}]},
               "status": {"resourceClaimStatuses": [{"name": "y", "resourceClaimName": "a-y-1"}],
                   "extendedResourceClaimStatus": {"resourceClaimName": "a-extended", "requestMappings": []}}}),
    ]
}

#[test]
fn a_glance_at_the_json_tells_what_the_typed_form_tells() {
    for value in pods() {
        let object = object(&value);
        let typed = object.decode::<Pod>().unwrap();
        let facts = object.facts::<PodFacts>();
        assert_eq!(facts.node.as_deref(), pod::node_name(&typed), "{value}");
        let pinned = typed.spec.as_ref().and_then(|spec| pod::affinity::pinned(spec)?.first().copied());
        assert_eq!(facts.pinned.as_deref(), pinned, "{value}");
        assert_eq!(facts.is_finished(), pod::is_finished(&typed), "{value}");
        assert_eq!((facts.ready, facts.ready_since), (pod::is_ready(&typed), pod::ready_since(&typed)));
        assert!(facts.addresses.iter().map(|it| &**it).eq(pod::addresses(&typed)), "{value}");
        let claims: Vec<String> = volume::claims(&typed)
            .map(|(claim, _)| meta::key(typed.metadata.namespace.as_deref(), &claim).to_string())
            .collect();
        assert!(facts.claims.iter().map(|it| &**it).eq(claims.iter().map(String::as_str)), "{value}");
        let named: Vec<_> =
            pod::claims::of(&typed).iter().map(|claim| pod::claims::name(&typed, claim)).collect();
        let devices = facts.devices.as_deref().cloned().unwrap_or_default();
        assert_eq!(devices.unmade, named.iter().any(Result::is_err), "{value}");
        let named = named.into_iter().flatten().filter_map(pod::claims::Name::text);
        let named = pod::claims::extended(&typed).into_iter().chain(named);
        let keys: Vec<Box<str>> = named.map(|name| (&*meta::key(Some("n"), name)).into()).collect();
        assert_eq!(*devices.claims, *keys, "{value}");
    }
}

#[test]
fn only_some_annotations_are_kept_and_only_ports_with_names() {
    let value = json!({"metadata": {"name": "a", "annotations": {"other": "x", NOTED[0]: "7"}}, "spec": {
        "initContainers": [{"name": "i", "ports": [{"name": "no", "containerPort": 1}]},
            {"name": "s", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 2}]}],
        "containers": [{"name": "c", "ports": [{"containerPort": 3},
            {"name": "web", "protocol": "UDP", "containerPort": 4}]}]}});
    let object = object(&value);
    let facts = object.facts::<PodFacts>();
    assert_eq!((facts.note(NOTED[0]), facts.notes.len()), (Some("7"), 1));
    let port =
        |name: &str, protocol: &str, number| Port { name: name.into(), protocol: protocol.into(), number };
    assert_eq!(*facts.ports, [port("web", "UDP", 4), port("side", "TCP", 2)]);
}

#[test]
fn the_end_is_that_of_the_last_container_or_what_else_is_known() {
    let base = json!({"metadata": {"name": "a", "creationTimestamp": "2026-11-22T10:00:00Z"},
        "spec": {"containers": []}, "status": {"phase": "Failed"}});
    let container =
        |end: &str| json!({"restartCount": 2, "state": {"terminated": {"exitCode": 1, "finishedAt": end}}});
    for (change, end) in [
        (json!({}), Some("10:00:00")),
        (json!({"status": {"phase": "Running"}}), None),
        (
            json!({"metadata": {"deletionTimestamp": "2026-11-22T10:05:30Z", "deletionGracePeriodSeconds": 30}}),
            Some("10:05:00"),
        ),
        (
            json!({"status": {"conditions": [{"type": "Ready", "status": "False",
                "lastTransitionTime": "2026-11-22T10:03:00Z"}]}}),
            Some("10:03:00"),
        ),
        (
            json!({"status": {"containerStatuses": [container("2026-11-22T10:01:00Z"), container("2026-11-22T10:02:00Z")]}}),
            Some("10:02:00"),
        ),
    ] {
        let mut value = base.clone();
        json_patch::merge(&mut value, &change);
        let object = object(&value);
        let end = end.map(|end| format!("2026-11-22T{end}Z").parse::<Timestamp>().unwrap());
        assert_eq!(object.facts::<PodFacts>().ended, end, "{change}");
    }
}
