//! Every kind lives the same life: created, read, listed, watched, printed, replaced, patched, deleted.

use serde_json::{Value, json};
use skiff_apiserver::kinds::ALL;
use skiff_apiserver::{Options, User};

use crate::cluster::Cluster;
use crate::given::{self, Client, Given, kept, path, sample};

#[tokio::test]
async fn every_kind_is_created_read_replaced_patched_listed_and_deleted() {
    let given = Given::new().await;
    let client = &given.client;
    // Definitions have a life of their own, in `custom.rs`.
    for row in kept().filter(|row| row.kind != "CustomResourceDefinition") {
        let (collection, name) = (path(row), given::name(row, "sample"));
        let object = format!("{collection}/{name}");
        let created = client.post(&collection, &sample(row, name)).await.code(201);
        assert_eq!(created.body["kind"], row.kind);
        assert!(created.body["metadata"]["uid"].is_string(), "{}", row.kind);
        client.post(&collection, &sample(row, name)).await.code(409);

        let read = client.get(&object).await.code(200);
        assert_eq!(read.body, created.body);
        let unchanged = client.put(&object, &read.body).await.code(200);
        assert_eq!(
            unchanged.revision(),
            read.revision(),
            "{}: an update that changes nothing is none",
            row.kind
        );

        let mut changed = read.body.clone();
        changed["metadata"]["annotations"] = json!({ "a": "b" });
        let replaced = client.put(&object, &changed).await.code(200);
        assert!(replaced.revision() > read.revision());
        changed["metadata"]["annotations"] = json!({ "a": "c" });
        let stale = client.put(&object, &changed).await.code(409);
        assert_eq!(stale.body["reason"], "Conflict");

        for (kind, patch) in [
            ("merge-patch", json!({ "metadata": { "annotations": { "merge": "1" } } })),
            ("strategic-merge-patch", json!({ "metadata": { "annotations": { "strategic": "1" } } })),
            ("json-patch", json!([{ "op": "add", "path": "/metadata/annotations/json", "value": "1" }])),
        ] {
            client.patch(&object, kind, &patch).await.code(200);
        }
        let read = client.get(&object).await;
        let annotations = json!({ "a": "b", "merge": "1", "strategic": "1", "json": "1" });
        assert_eq!(read.body["metadata"]["annotations"], annotations);

        let list = client.get(&format!("{collection}?labelSelector=app%3Dx")).await.code(200);
        assert_eq!(list.body["kind"], row.list_kind);
        assert_eq!(list.names(), [name]);
        assert_eq!(list.body["items"][0], read.body);
        client.get(&format!("{collection}?fieldSelector=metadata.name%3D{name}")).await.code(200);

        let table = client.send(
            "GET",
            &collection,
            &[("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")],
            vec![],
        );
        let table = table.await.code(200);
        let columns = table.body["columnDefinitions"].as_array().unwrap().len();
        for line in table.body["rows"].as_array().unwrap() {
            assert_eq!(line["cells"].as_array().unwrap().len(), columns, "{}", row.kind);
        }

        client.delete(&format!("{object}?gracePeriodSeconds=0")).await.code(200);
        let after = client.get(&object).await;
        if row.kind == "Namespace" {
            assert_eq!(after.body["status"]["phase"], "Terminating");
        } else if row.kind.starts_with("PersistentVolume") {
            // Kept until its controller has seen that nobody uses it.
            assert!(after.body["metadata"]["deletionTimestamp"].is_string(), "{}", after.body);
        } else {
            assert_eq!(after.code, 404, "{}", after.body);
        }
    }
}

#[tokio::test]
async fn dry_runs_answer_and_store_nothing() {
    let given = Given::new().await;
    for row in kept() {
        let collection = path(row);
        let name = given::name(row, "dry");
        let created =
            given.client.post(&format!("{collection}?dryRun=All"), &sample(row, name)).await.code(201);
        assert_eq!(created.body["metadata"]["resourceVersion"], Value::Null);
        given.client.get(&format!("{collection}/{name}")).await.code(404);
    }
    given.client.post("/api/v1/namespaces?dryRun=Some", &json!({})).await.code(422);
}

#[tokio::test]
async fn unknown_fields_are_dropped_told_or_refused() {
    let given = Given::new().await;
    let mut body = crate::given::map("a", "1");
    body["dada"] = json!({});
    let url = crate::given::MAPS;
    let refused = given.client.post(&format!("{url}?fieldValidation=Strict"), &body).await.code(400);
    assert_eq!(
        refused.message(),
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dada\""
    );
    let warned = given.client.post(&format!("{url}?dryRun=All"), &body).await.code(201);
    assert_eq!(warned.warnings, ["299 - \"unknown field \\\"dada\\\"\""]);
    let silent = given.client.post(&format!("{url}?fieldValidation=Ignore"), &body).await.code(201);
    assert!(silent.warnings.is_empty());
    assert_eq!(silent.body["dada"], Value::Null);
}

#[tokio::test]
async fn discovery_names_every_kind_in_both_forms() {
    let given = Given::new().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let mut aggregated = given.client.send("GET", "/api", &[("accept", accept)], vec![]).await.code(200).body;
    let others = given.client.send("GET", "/apis", &[("accept", accept)], vec![]).await.code(200).body;
    aggregated["items"].as_array_mut().unwrap().extend(others["items"].as_array().unwrap().clone());
    for row in ALL {
        let resource = row.resource();
        let root = if row.group.is_empty() {
            "/api/v1".to_owned()
        } else {
            format!("/apis/{}", resource.api_version())
        };
        let old = given.client.get(&root).await.code(200).body;
        let named = |list: &Value, key: &str| list.as_array().unwrap().iter().any(|r| r[key] == row.plural);
        assert!(named(&old["resources"], "name"), "{}", row.kind);
        if row.kind == "Pod" {
            let pods = old["resources"].as_array().unwrap().iter().find(|it| it["name"] == "pods").unwrap();
            assert_eq!(pods["storageVersionHash"], "xPOwRZ+Yhw8=", "as upstream's");
        }
        let items = aggregated["items"].as_array().unwrap();
        let group =
            items.iter().find(|g| g["metadata"]["name"].as_str().unwrap_or_default() == row.group).unwrap();
        let versions = group["versions"].as_array().unwrap();
        let version = versions.iter().find(|it| it["version"] == row.version).unwrap();
        assert!(named(&version["resources"], "resource"), "{}", row.kind);
    }
}

#[tokio::test]
async fn component_statuses_are_read_and_never_written() {
    let given = Given::new().await;
    let client = &given.client;
    let url = "/api/v1/componentstatuses";
    let list = client.get(url).await.code(200);
    assert_eq!(list.names(), ["controller-manager", "etcd-0", "scheduler"]);
    assert_eq!(list.warnings, ["299 - \"v1 ComponentStatus is deprecated in v1.19+\""]);
    let one = client.get(&format!("{url}/etcd-0")).await.code(200).body;
    assert_eq!(
        (&one["kind"], &one["conditions"]),
        (&json!("ComponentStatus"), &json!([{ "type": "Healthy", "status": "True", "message": "ok" }]))
    );
    client.get(&format!("{url}/none")).await.code(404);
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = client.send("GET", url, &accept, vec![]).await.code(200).body;
    assert_eq!(table["rows"][0]["cells"], json!(["controller-manager", "Healthy", "ok", null]));
    client.post(url, &json!({ "metadata": { "name": "a" } })).await.code(405);
    client.delete(&format!("{url}/etcd-0")).await.code(405);
    client.get(&format!("{url}?watch=1")).await.code(405);
}

#[tokio::test]
async fn namespaces_go_one_by_one() {
    let given = Given::new().await;
    given.client.delete("/api/v1/namespaces").await.code(405);
    let list = given.client.get("/api/v1").await.code(200).body;
    let namespaces = list["resources"].as_array().unwrap().iter().find(|it| it["name"] == "namespaces");
    assert!(!namespaces.unwrap()["verbs"].to_string().contains("deletecollection"));
}

#[tokio::test]
async fn what_is_answered_and_not_kept_has_no_table() {
    let given = Given::new().await;
    let review = json!({ "spec": { "nonResourceAttributes": { "path": "/", "verb": "get" } } });
    let url = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let post = async |accept: &str| {
        given.client.send("POST", url, &[("accept", accept)], review.to_string().into_bytes()).await
    };
    assert_eq!(post(table).await.code(406).body["reason"], "NotAcceptable");
    post(&format!("{table},application/json")).await.code(201);
}

#[tokio::test]
async fn the_note_of_an_event_may_change() {
    let given = Given::new().await;
    let row = ALL.iter().find(|row| row.group == "events.k8s.io").unwrap();
    given.client.post(&path(row), &sample(row, "a")).await.code(201);
    let url = format!("{}/a", path(row));
    let patch = json!({ "note": "another" });
    let patched = given.client.patch(&url, "strategic-merge-patch", &patch).await.code(200);
    assert_eq!(patched.body["note"], "another");
}

#[tokio::test]
async fn dependents_of_replication_controllers_and_jobs_stay_unless_somebody_says_otherwise() {
    let cluster = Cluster::with(Options { garbage_collector: true, ..Options::in_memory() }).await;
    let client = &Client::of(&cluster, User::new("admin", ["system:masters"]));
    let held = async |kind: &str, query: &str| {
        let row = kept().find(|row| row.kind == kind).unwrap();
        client.post(&path(row), &sample(row, "a")).await.code(201);
        let gone = client.delete(&format!("{}/a{query}", path(row))).await.code(200);
        let left = client.get(&format!("{}/a", path(row))).await;
        let finalizers = left.body["metadata"]["finalizers"].clone();
        let none = json!({ "metadata": { "finalizers": null } });
        client.patch(&format!("{}/a", path(row)), "merge-patch", &none).await;
        (left.code, finalizers, gone.warnings.len())
    };
    assert_eq!(held("ReplicationController", "").await, (200, json!(["orphan"]), 0));
    assert_eq!(held("ReplicationController", "?propagationPolicy=Background").await.0, 404);
    assert_eq!(held("Job", "").await, (200, json!(["orphan"]), 1));
    assert_eq!(held("Job", "?orphanDependents=false").await, (404, Value::Null, 0));
    assert_eq!(held("ReplicaSet", "").await, (404, Value::Null, 0));
}
