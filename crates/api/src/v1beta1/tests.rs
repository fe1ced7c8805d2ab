//! Tests of the conversions: the article's objects word for word, and the round trips as properties.

mod fixtures;
mod roundtrip;

use k8s_openapi::api::core::v1;
use serde_json::{Value, json};

use super::*;

fn shown(row: &Row, v1: Value) -> String {
    let mut object = (row.read)(v1).unwrap();
    row.kind.clone_into(&mut object.meta_mut().kind);
    object.meta_mut().api_version = API_VERSION.to_owned();
    object.json()
}

fn v1_of(row: &Row, text: &str) -> Value {
    let mut object = row.parse(text.as_bytes()).unwrap();
    object.prepare();
    object.to_v1()
}

#[test]
fn the_articles_pod_is_shown_as_in_2014() {
    let mut pod = v1_of(Pod::ROW, fixtures::MASTER_POD);
    pod["metadata"]["namespace"] = json!("default");
    pod["metadata"]["creationTimestamp"] = json!("2014-10-20T10:00:00Z");
    pod["metadata"]["resourceVersion"] = json!("5");
    pod["metadata"]["uid"] = json!("0f4c");
    pod["status"] = json!({"phase": "Pending"});
    let mut object = (Pod::ROW.read)(pod).unwrap();
    let meta = object.meta_mut();
    meta.kind = "Pod".into();
    meta.api_version = API_VERSION.into();
    meta.self_link = "/api/v1beta1/pods/redis-master-pod".into();
    assert_eq!(object.json(), fixtures::MASTER_POD_ANSWER.replace("\n", ""));
}

#[test]
fn the_articles_controller_becomes_v1_and_keeps_its_name() {
    let controller = v1_of(ReplicationController::ROW, fixtures::SLAVE_CONTROLLER);
    assert_eq!(controller["metadata"]["name"], "redisSlaveController");
    assert_eq!(controller["spec"]["replicas"], 2);
    assert_eq!(controller["spec"]["selector"], json!({"name": "redisslave"}));
    let template = &controller["spec"]["template"];
    assert_eq!(template["metadata"]["labels"], json!({"name": "redisslave", "uses": "redis-master"}));
    let port = &template["spec"]["containers"][0]["ports"][0];
    assert_eq!(*port, json!({"containerPort": 6379, "hostPort": 6380, "protocol": "TCP"}));
}

#[test]
fn an_untouched_manifest_is_shown_as_an_empty_shell() {
    let text =
        shown(ReplicationController::ROW, v1_of(ReplicationController::ROW, fixtures::SLAVE_CONTROLLER));
    assert!(
        text.contains(
            r#""currentState":{"replicas":0,"replicaSelector":null,"podTemplate":{"desiredState":{"manifest":{"version":"","id":"","volumes":null,"containers":null,"restartPolicy":{}}}}}"#
        ),
        "{text}"
    );
}

#[test]
fn a_service_has_one_port_there_and_several_here() {
    let service = v1_of(Service::ROW, fixtures::MASTER_SERVICE);
    assert_eq!(service["spec"]["ports"], json!([{"port": 6379, "protocol": "TCP"}]));
    let two = json!({"metadata": {"name": "s"}, "spec": {"clusterIP": "10.0.0.7", "ports": [
        {"name": "a", "port": 80, "targetPort": "web"}, {"name": "b", "port": 81, "targetPort": 8081}]}});
    let text = shown(Service::ROW, two);
    assert!(text.contains(r#""port":80,"protocol":"TCP","selector":null,"containerPort":"web""#), "{text}");
    assert!(text.contains(r#""portalIP":"10.0.0.7","portName":"a","ports":["#), "{text}");
}

#[test]
fn an_unset_container_port_is_shown_as_zero() {
    assert!(
        shown(Service::ROW, v1_of(Service::ROW, fixtures::MASTER_SERVICE)).contains(r#""containerPort":0"#)
    );
}

#[test]
fn old_words_are_understood_and_repeated_in_answers() {
    let text = r#"{"id": "p", "desiredState": {"manifest": {"containers": [{"name": "c", "image": "i",
        "command": ["serve"], "entrypoint": ["/bin/app"], "cpu": 250, "memory": 1048576,
        "env": [{"key": "OLD", "value": "1"}], "imagePullPolicy": "pullnever",
        "volumeMounts": [{"name": "v", "path": "/data", "mountType": "HOST"}]}],
        "volumes": [{"name": "v"}]}}}"#;
    let pod = v1_of(Pod::ROW, text);
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["args"], json!(["serve"]));
    assert_eq!(container["command"], json!(["/bin/app"]));
    assert_eq!(container["resources"]["limits"], json!({"cpu": "250m", "memory": "1048576"}));
    assert_eq!(container["imagePullPolicy"], "Never");
    assert_eq!(pod["spec"]["volumes"], json!([{"name": "v", "emptyDir": {}}]));
    let text = shown(Pod::ROW, pod);
    for part in [
        r#""env":[{"name":"OLD","key":"OLD","value":"1"}]"#,
        r#""volumeMounts":[{"name":"v","mountPath":"/data","path":"/data"}]"#,
        r#""imagePullPolicy":"PullNever""#,
        r#""source":{"hostDir":null,"emptyDir":{},"persistentDisk":null}"#,
        r#""memory":1048576,"cpu":250"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn endpoints_are_flat_there_and_grouped_here() {
    let text = r#"{"id": "s", "endpoints": ["10.1.0.2:80", "10.1.0.3:80", "[fd00::1]:81"]}"#;
    let endpoints = v1_of(Endpoints::ROW, text);
    assert_eq!(endpoints["subsets"][0]["addresses"], json!([{"ip": "10.1.0.2"}, {"ip": "10.1.0.3"}]));
    assert_eq!(endpoints["subsets"][1]["ports"], json!([{"port": 81, "protocol": "TCP"}]));
    let text = shown(Endpoints::ROW, endpoints);
    assert!(text.contains(r#""endpoints":["10.1.0.2:80","10.1.0.3:80","[fd00::1]:81"]"#), "{text}");
}

#[test]
fn a_minion_shows_cores_and_bytes() {
    let node = json!({"metadata": {"name": "minion-1"}, "status": {
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        "capacity": {"cpu": "2", "memory": "1Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True"}]}});
    let text = shown(Minion::ROW, node);
    assert!(
        text.contains(r#""hostIP":"10.0.0.1","resources":{"capacity":{"cpu":2,"memory":1073741824}}"#),
        "{text}"
    );
    assert!(text.contains(r#""status":{"conditions":[{"kind":"Ready","status":"Full"}]}"#), "{text}");
}

#[test]
fn a_running_pod_tells_about_its_containers_and_its_net() {
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "minion-1", "containers": []}, "status": {
        "phase": "Running", "podIP": "10.1.0.2", "hostIP": "10.0.0.1",
        "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 3,
            "state": {"terminated": {"exitCode": 7, "reason": "Error"}}}]}});
    let text = shown(Pod::ROW, pod);
    for part in [
        r#""status":"Running","host":"minion-1","podIP":"10.1.0.2","info":{"c":{"state":{"termination":{"exitCode":7,"reason":"Error"}},"restartCount":3,"image":"i","ready":true}"#,
        r#""net":{"state":{"running":{}},"restartCount":0,"podIP":"10.1.0.2","image":""}"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("hostIP"), "only a cloud provider told it: {text}");
}

#[test]
fn bodies_of_another_kind_or_version_are_refused() {
    let message = |text: &str| Pod::ROW.parse(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(message(r#"{"kind": "Service", "id": "x"}"#), "data of kind 'Service', obj of type 'Pod'");
    assert!(message(r#"{"kind": "Pod", "apiVersion": "v1beta3"}"#).contains("v1beta3"));
    assert!(message(r#"{"labels": ["x"]}"#).starts_with("labels: "), "{}", message(r#"{"labels": ["x"]}"#));
    assert!(Minion::ROW.parse(br#"{"kind": "Node", "id": "m"}"#).is_ok());
}

#[test]
fn lists_have_items_and_a_minion_list_has_them_twice() {
    let minion = (Minion::ROW.read)(json!({"metadata": {"name": "m"}})).unwrap();
    let text = List::new(Minion::ROW, vec![minion]).json();
    let item = r#"{"id":"m","creationTimestamp":null,"resources":{},"status":{}}"#;
    let expected = format!(
        r#"{{"kind":"MinionList","creationTimestamp":null,"apiVersion":"v1beta1","minions":[{item}],"items":[{item}]}}"#
    );
    assert_eq!(text, expected);
    let kind::Parsed::List(list) = Minion::ROW.parse_any(text.as_bytes()).unwrap() else { panic!("{text}") };
    assert_eq!(list.items.len(), 1);
    assert!(List::new(Pod::ROW, Vec::new()).json().ends_with(r#""items":[]}"#));
}

#[test]
fn rows_are_found_in_both_spellings_and_by_old_and_new_words() {
    for (segment, kind) in [
        ("replicationControllers", "ReplicationController"),
        ("replicationcontrollers", "ReplicationController"),
        ("nodes", "Minion"),
        ("pods", "Pod"),
    ] {
        assert_eq!(by_segment(segment).unwrap().kind, kind);
    }
    assert!(by_segment("Pods").is_none());
    assert_eq!(by_kind("Node").unwrap().segment, "minions");
}

#[test]
fn an_events_status_survives_in_an_annotation_nobody_of_2014_sees() {
    let text = r#"{"id": "e", "status": "Running", "source": "kubelet", "involvedObject": {"kind": "Pod", "resourceVersion": 7}}"#;
    let event = v1_of(Event::ROW, text);
    assert_eq!(event["metadata"]["annotations"][event::STATUS], "Running");
    assert_eq!(event["involvedObject"]["resourceVersion"], "7");
    let text = shown(Event::ROW, event);
    assert!(
        text.contains(r#""status":"Running","source":"kubelet""#) && !text.contains("annotations"),
        "{text}"
    );
}

#[test]
fn only_what_a_put_changes_is_changed() {
    let stored = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "uid": "u", "resourceVersion": "9",
            "finalizers": ["keep/me"], "labels": {"a": "b"}},
        "spec": {"nodeName": "m", "tolerations": [{"operator": "Exists"}], "initContainers": [{"name": "i", "image": "x"}],
            "volumes": [{"name": "token", "projected": {"sources": []}}],
            "containers": [{"name": "c", "image": "old:1", "imagePullPolicy": "IfNotPresent", "startupProbe": {"grpc": {"port": 1}},
                "resources": {"limits": {"memory": "64Mi"}, "requests": {"memory": "64Mi"}},
                "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets", "readOnly": true}]}]}});
    let body = shown(Pod::ROW, stored.clone());
    assert!(!body.contains("token"), "what 2014 has no word for is not shown: {body}");
    let sent = Pod::ROW.parse(body.replace("old:1", "new:1").as_bytes()).unwrap();
    let mut expected = stored.clone();
    expected["spec"]["containers"][0]["image"] = json!("new:1");
    assert_eq!((Pod::ROW.update)(stored, sent.as_ref()).unwrap(), expected);
}

#[test]
fn a_file_of_profile_a_does_not_unset_what_it_cannot_say() {
    let stored: Value =
        serde_json::to_value(Kind::to_v1(&Service::from_v1(&v1::Service::default()))).unwrap();
    let mut stored = stored;
    stored["metadata"]["name"] = json!("s");
    stored["spec"] = json!({"clusterIP": "10.0.0.7", "clusterIPs": ["10.0.0.7"], "type": "NodePort",
        "sessionAffinity": "ClientIP", "selector": {"a": "b"}, "ports": [{"port": 1, "protocol": "TCP", "targetPort": 5, "nodePort": 30000}]});
    let sent = Service::ROW.parse(br#"{"id": "s", "port": 2, "selector": {"a": "b"}}"#).unwrap();
    let merged = (Service::ROW.update)(stored.clone(), sent.as_ref()).unwrap();
    stored["spec"]["ports"][0]["port"] = json!(2);
    assert_eq!(merged["spec"], stored["spec"]);
}
