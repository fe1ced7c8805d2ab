//! Server-side apply and field ownership, as clients see them.

use serde_json::{Value, json};
use skiff_apiserver::kinds::ALL;

use crate::given::{Answer, Client, Given, MAPS, kept, map, name, path, sample};

async fn apply(client: &Client, uri: &str, query: &str, body: &Value) -> Answer {
    let uri = format!("{uri}?{query}");
    let headers = [("content-type", "application/apply-patch+yaml")];
    client.send("PATCH", &uri, &headers, body.to_string().into_bytes()).await
}

/// Who owns an object's fields: manager, operation, subresource.
fn owners(answer: &Answer) -> Vec<(&str, &str, &str)> {
    let entries = answer.body["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries
        .iter()
        .map(|entry| {
            let part = |key: &str| entry[key].as_str().unwrap_or_default();
            (part("manager"), part("operation"), part("subresource"))
        })
        .collect()
}

fn fields<'a>(answer: &'a Answer, manager: &str) -> &'a Value {
    let entries = answer.body["metadata"]["managedFields"].as_array().unwrap();
    &entries.iter().find(|entry| entry["manager"] == manager).unwrap()["fieldsV1"]
}

#[tokio::test]
async fn every_kind_is_applied_by_two_managers_with_a_conflict() {
    let given = Given::new().await;
    let client = &given.client;
    for row in kept() {
        let name = name(row, "applied");
        let uri = format!("{}/{name}", path(row));
        let mut config = sample(row, name);
        config["metadata"]["annotations"] = json!({ "a": "1" });
        let created = apply(client, &uri, "fieldManager=one", &config).await.code(201);
        assert_eq!(owners(&created), [("one", "Apply", "")], "{}", row.kind);
        let again = apply(client, &uri, "fieldManager=one", &config).await.code(200);
        // The server itself may have written a status in between.
        let untouched = again.body["status"] == created.body["status"];
        assert_eq!(
            untouched,
            again.revision() == created.revision(),
            "{}: applying the same is no write",
            row.kind
        );

        let other = json!({ "apiVersion": config["apiVersion"], "kind": row.kind,
            "metadata": { "name": name, "annotations": { "a": "2", "b": "2" } } });
        let refused = apply(client, &uri, "fieldManager=two", &other).await.code(409);
        let why = "Apply failed with 1 conflict: conflict with \"one\": .metadata.annotations.a";
        assert_eq!((refused.message(), &refused.body["reason"]), (why, &json!("Conflict")), "{}", row.kind);
        let cause = json!({ "reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".metadata.annotations.a" });
        assert_eq!(refused.body["details"]["causes"], json!([cause]));

        let forced = apply(client, &uri, "fieldManager=two&force=true", &other).await.code(200);
        assert_eq!(forced.body["metadata"]["annotations"], json!({ "a": "2", "b": "2" }), "{}", row.kind);
        assert_eq!(
            fields(&forced, "two"),
            &json!({ "f:metadata": { "f:annotations": { "f:a": {}, "f:b": {} } } })
        );

        config["metadata"]["annotations"] = Value::Null;
        let left = apply(client, &uri, "fieldManager=one", &config).await.code(200);
        assert_eq!(left.body["metadata"]["annotations"], json!({ "a": "2", "b": "2" }), "{}", row.kind);
        let mut gone = other.clone();
        gone["metadata"].as_object_mut().unwrap().remove("annotations");
        let gone = apply(client, &uri, "fieldManager=two", &gone).await.code(200);
        assert_eq!(gone.body["metadata"]["annotations"], Value::Null, "{}", row.kind);
        client.delete(&format!("{uri}?gracePeriodSeconds=0")).await.code(200);
    }
}

#[tokio::test]
async fn plain_writes_are_owned_by_field_manager_or_user_agent() {
    let given = Given::new().await;
    let client = &given.client;
    let body = map("a", "1").to_string().into_bytes();
    let created = client.send("POST", MAPS, &[("user-agent", "curl/8 (x)")], body).await.code(201);
    assert_eq!(owners(&created), [("curl", "Update", "")]);
    assert_eq!(fields(&created, "curl"), &json!({ "f:data": { ".": {}, "f:k": {} } }));
    let entry = &created.body["metadata"]["managedFields"][0];
    assert_eq!((&entry["apiVersion"], &entry["fieldsType"]), (&json!("v1"), &json!("FieldsV1")));
    assert!(entry["time"].is_string());

    let uri = format!("{MAPS}/a?fieldManager=editor");
    let patched =
        client.patch(&uri, "merge-patch", &json!({ "data": { "k": "2", "l": "1" } })).await.code(200);
    assert_eq!(owners(&patched), [("curl", "Update", ""), ("editor", "Update", "")]);
    assert_eq!(fields(&patched, "curl"), &json!({ "f:data": {} }));
    assert_eq!(fields(&patched, "editor"), &json!({ "f:data": { "f:k": {}, "f:l": {} } }));

    let same = client.patch(&uri, "merge-patch", &json!({ "data": { "k": "2" } })).await.code(200);
    assert_eq!(same.revision(), patched.revision());
    let reset =
        client.patch(&uri, "merge-patch", &json!({ "metadata": { "managedFields": [{}] } })).await.code(200);
    assert!(owners(&reset).is_empty());
    let long = "x".repeat(129);
    let refused = client.post(&format!("{MAPS}?fieldManager={long}"), &map("b", "1")).await.code(422);
    assert!(refused.message().contains("fieldManager: Too long"), "{}", refused.message());
}

#[tokio::test]
async fn subresources_own_apart() {
    let given = Given::new().await;
    let client = &given.client;
    let row = ALL.iter().find(|row| row.kind == "Deployment").unwrap();
    let uri = format!("{}/web", path(row));
    let mut config = sample(row, "web");
    config["spec"]["replicas"] = 3.into();
    apply(client, &uri, "fieldManager=one", &config).await.code(201);

    let status = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "status": { "observedGeneration": 1 } });
    let answer = apply(client, &format!("{uri}/status"), "fieldManager=watcher", &status).await.code(200);
    assert_eq!(owners(&answer), [("one", "Apply", ""), ("watcher", "Apply", "status")]);
    assert_eq!(fields(&answer, "watcher"), &json!({ "f:status": { "f:observedGeneration": {} } }));

    let scale = json!({ "spec": { "replicas": 5 } });
    client.patch(&format!("{uri}/scale?fieldManager=scaler"), "merge-patch", &scale).await.code(200);
    let read = client.get(&uri).await.code(200);
    assert_eq!(read.body["spec"]["replicas"], 5);
    assert!(owners(&read).contains(&("scaler", "Update", "scale")));
    assert_eq!(fields(&read, "scaler"), &json!({ "f:spec": { "f:replicas": {} } }));
    let refused = apply(client, &uri, "fieldManager=one", &config).await.code(409);
    assert_eq!(
        refused.message(),
        "Apply failed with 1 conflict: conflict with \"scaler\" with subresource \"scale\" using apps/v1: .spec.replicas"
    );
    let scale = json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": { "name": "web" }, "spec": { "replicas": 7 } });
    apply(client, &format!("{uri}/scale"), "fieldManager=hpa", &scale).await.code(409);
    let forced =
        apply(client, &format!("{uri}/scale"), "fieldManager=hpa&force=true", &scale).await.code(200);
    assert_eq!(forced.body["spec"]["replicas"], 7);
    let read = client.get(&uri).await;
    assert!(owners(&read).contains(&("hpa", "Apply", "scale")), "{:?}", owners(&read));
}

#[tokio::test]
async fn configurations_are_refused_in_upstreams_words() {
    let given = Given::new().await;
    let client = &given.client;
    let uri = format!("{MAPS}/a");
    let refused = apply(client, &uri, "", &map("a", "1")).await.code(422);
    assert_eq!(
        refused.message(),
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
    );
    let refused = client.patch(&format!("{uri}?force=true"), "merge-patch", &json!({})).await.code(422);
    assert_eq!(
        refused.message(),
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
    );
    for (config, code, why) in [
        (json!({ "kind": "ConfigMap" }), 400, "invalid object type: /, Kind=ConfigMap"),
        (
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "managedFields": [] } }),
            400,
            "metadata.managedFields must be nil",
        ),
        (
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "dada": 1 }),
            500,
            "failed to create typed patch object (default/a; /v1, Kind=ConfigMap): .dada: field not declared in schema",
        ),
        (
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "b" } }),
            400,
            "the name of the object (b) does not match the name on the URL (a)",
        ),
        (
            json!({ "apiVersion": "v1", "kind": "ConfigMap" }),
            400,
            "the name of the object (a based on URL) was undeterminable: name must be provided",
        ),
        (
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "uid": "u" } }),
            409,
            "Operation cannot be fulfilled on configmaps \"a\": uid mismatch: the provided object specified uid u, and no existing object was found",
        ),
    ] {
        let refused = apply(client, &uri, "fieldManager=x", &config).await;
        assert_eq!((refused.message(), refused.code), (why, code));
    }
    let yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n".to_vec();
    let headers = [("content-type", "application/apply-patch+yaml")];
    let dry = format!("{uri}?fieldManager=x&dryRun=All");
    client.send("PATCH", &dry, &headers, yaml.clone()).await.code(201);
    client.get(&uri).await.code(404);
    client.send("PATCH", &format!("{uri}?fieldManager=x"), &headers, yaml).await.code(201);
    let stale = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "resourceVersion": "1" } });
    apply(client, &uri, "fieldManager=x", &stale).await.code(409);
}

#[tokio::test]
async fn what_admission_adds_to_a_list_does_not_make_a_second_apply_a_write() {
    let given = Given::new().await;
    let mut config = crate::given::pod("a");
    config["spec"]["tolerations"] = json!([{ "key": "mine", "operator": "Exists" }]);
    let uri = "/api/v1/namespaces/default/pods/a";
    let created = apply(&given.client, uri, "fieldManager=one", &config).await.code(201);
    assert_eq!(created.body["spec"]["tolerations"].as_array().map(Vec::len), Some(3));
    let again = apply(&given.client, uri, "fieldManager=one", &config).await.code(200);
    assert_eq!(again.body, created.body);
}

#[tokio::test]
async fn owners_in_another_version_see_a_write_in_theirs() {
    let given = Given::new().await;
    let client = &given.client;
    let uri =
        |version: &str| format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers/a");
    let scaler = |version: &str, more: Value| {
        let mut spec = json!({ "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" }, "maxReplicas": 5 });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler",
            "metadata": { "name": "a" }, "spec": spec })
    };
    let cpu = |percent: i64| {
        let target = json!({ "type": "Utilization", "averageUtilization": percent });
        json!({ "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": target } }] })
    };
    apply(client, &uri("v2"), "fieldManager=two", &scaler("v2", cpu(50))).await.code(201);
    // Version 1 says the same by another name, which is in conflict with what version 2 calls it.
    let other = scaler("v1", json!({ "targetCPUUtilizationPercentage": 60 }));
    let refused = apply(client, &uri("v1"), "fieldManager=one", &other).await.code(409);
    let why = "Apply failed with 1 conflict: conflict with \"two\": .spec.metrics";
    assert_eq!(refused.message(), why);
    let same = scaler("v1", json!({ "targetCPUUtilizationPercentage": 50 }));
    let shared = apply(client, &uri("v1"), "fieldManager=one", &same).await.code(200);
    assert_eq!(fields(&shared, "two")["f:spec"]["f:metrics"], json!({}));
    assert_eq!(fields(&shared, "one")["f:spec"]["f:targetCPUUtilizationPercentage"], json!({}));

    // A plain write takes the field from both.
    let change = json!({ "spec": { "targetCPUUtilizationPercentage": 70 } });
    let query = format!("{}?fieldManager=user", uri("v1"));
    let changed = client.patch(&query, "merge-patch", &change).await.code(200);
    assert_eq!(fields(&changed, "two")["f:spec"]["f:metrics"], Value::Null);
    assert_eq!(fields(&changed, "one")["f:spec"]["f:targetCPUUtilizationPercentage"], Value::Null);
    assert_eq!(fields(&changed, "two")["f:spec"]["f:maxReplicas"], json!({}));
}
