//! Configurations of a custom resource that has two versions, between which a webhook converts: who owns what is said in the
//! version in which it was written, and is the same for all who read it.

use serde_json::{Value, json};

use crate::given::{Answer, Client, Given};
use crate::watches::Lines;
use crate::webhooks::Server;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// `spec.image` is `spec.picture` in the second version.
fn converted(_: &str, request: &Value) -> Value {
    let version = request["desiredAPIVersion"].as_str().unwrap();
    let (from, to) = if version.ends_with("/v2") { ("image", "picture") } else { ("picture", "image") };
    let object = |object: &Value| {
        let mut object = object.clone();
        object["apiVersion"] = version.into();
        if let Some(spec) = object["spec"].as_object_mut()
            && let Some(value) = spec.remove(from)
        {
            spec.insert(to.to_owned(), value);
        }
        object
    };
    let objects: Vec<Value> = request["objects"].as_array().unwrap().iter().map(object).collect();
    json!({ "result": { "status": "Success" }, "convertedObjects": objects })
}

/// A cluster that serves both versions.
async fn given(server: &Server) -> Given {
    let given = Given::new().await;
    let version = |name: &str, field: &str| {
        json!({
            "name": name, "served": true, "storage": name == "v1",
            "schema": { "openAPIV3Schema": { "type": "object", "properties": { "spec": { "type": "object", "properties": {
                field: { "type": "string" },
                "size": { "type": "integer", "default": 1 },
                "tags": { "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "set" },
            } } } } },
        })
    };
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "frames.example.com" },
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": { "plural": "frames", "kind": "Frame" },
            "versions": [version("v1", "image"), version("v2", "picture")],
            "conversion": { "strategy": "Webhook", "webhook": {
                "clientConfig": server.client("/convert"), "conversionReviewVersions": ["v1"],
            } },
        },
    });
    let client = &given.client;
    let mut lines =
        Lines::open(client, &format!("{CRDS}?watch=1&fieldSelector=metadata.name=frames.example.com")).await;
    client.post(CRDS, &definition).await.code(201);
    loop {
        let told = lines.next().await.unwrap();
        let conditions = told["object"]["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if conditions.iter().any(|it| it["type"] == "Established" && it["status"] == "True") {
            return given;
        }
    }
}

fn path(version: &str) -> String {
    format!("/apis/example.com/{version}/namespaces/default/frames/a")
}

async fn apply(client: &Client, version: &str, who: &str, spec: Value) -> Answer {
    let config = json!({
        "apiVersion": format!("example.com/{version}"), "kind": "Frame", "metadata": { "name": "a" }, "spec": spec,
    });
    let headers = [("content-type", "application/apply-patch+yaml")];
    let uri = format!("{}?fieldManager={who}", path(version));
    client.send("PATCH", &uri, &headers, config.to_string().into_bytes()).await
}

/// Who owns what of the specification, and in which version: `one v1 image,size`.
fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let shown = |entry: &Value| {
        let (who, version) = (entry["manager"].as_str().unwrap(), entry["apiVersion"].as_str().unwrap());
        let fields = entry["fieldsV1"]["f:spec"].as_object().cloned().unwrap_or_default();
        let fields: Vec<&str> = fields.keys().filter_map(|key| key.strip_prefix("f:")).collect();
        format!("{who} {} {}", version.trim_start_matches("example.com/"), fields.join(","))
    };
    let mut all: Vec<String> = entries.iter().map(shown).collect();
    all.sort();
    all
}

#[tokio::test]
async fn owners_in_two_versions_see_each_others_fields_under_their_own_names() {
    let server = Server::start(converted).await;
    let given = given(&server).await;
    let client = &given.client;
    let created = apply(client, "v1", "one", json!({ "image": "a", "tags": ["x"] })).await.code(201);
    assert_eq!(owners(&created.body), ["one v1 image,tags"]);

    // The owner's version has the name of what is in conflict, as upstream's.
    let refused = apply(client, "v2", "two", json!({ "picture": "b", "tags": ["y"] })).await.code(409);
    assert_eq!(refused.message(), "Apply failed with 1 conflict: conflict with \"one\": .spec.image");
    let cause = &refused.body["details"]["causes"][0];
    assert_eq!((&cause["reason"], &cause["field"]), (&json!("FieldManagerConflict"), &json!(".spec.image")));

    // The same value is no conflict, and both own it.
    let shared = apply(client, "v2", "two", json!({ "picture": "a", "tags": ["y"] })).await.code(200);
    assert_eq!(owners(&shared.body), ["one v1 image,tags", "two v2 picture,tags"]);
    assert_eq!(shared.body["spec"], json!({ "picture": "a", "size": 1, "tags": ["x", "y"] }));

    // By force it goes over.
    let forced = apply(client, "v2", "two&force=true", json!({ "picture": "b" })).await.code(200);
    assert_eq!(owners(&forced.body), ["one v1 tags", "two v2 picture"]);
    assert_eq!(forced.body["spec"], json!({ "picture": "b", "size": 1, "tags": ["x"] }));
    // Whoever reads, in whatever version, is told the same of owners.
    for version in ["v1", "v2"] {
        let read = client.get(&path(version)).await.code(200).body;
        assert_eq!(read["metadata"]["managedFields"], forced.body["metadata"]["managedFields"], "{version}");
        assert_eq!(read["apiVersion"], format!("example.com/{version}"));
    }

    // What its only owner gives up goes, under both names.
    let given_up = apply(client, "v2", "two", json!({ "size": 2 })).await.code(200);
    assert_eq!(owners(&given_up.body), ["one v1 tags", "two v2 size"]);
    let read = client.get(&path("v1")).await.body;
    assert_eq!(read["spec"], json!({ "size": 2, "tags": ["x"] }));
}

#[tokio::test]
async fn a_writer_takes_what_it_changes_from_owners_in_another_version() {
    let server = Server::start(converted).await;
    let given = given(&server).await;
    let client = &given.client;
    apply(client, "v1", "one", json!({ "image": "a", "size": 3 })).await.code(201);
    let change = json!({ "spec": { "picture": "b" } });
    let uri = format!("{}?fieldManager=three", path("v2"));
    let changed = client.patch(&uri, "merge-patch", &change).await.code(200);
    assert_eq!(owners(&changed.body), ["one v1 size", "three v2 picture"]);
    let refused = apply(client, "v1", "one", json!({ "image": "a", "size": 3 })).await.code(409);
    let why = "Apply failed with 1 conflict: conflict with \"three\" using example.com/v2: .spec.picture";
    assert_eq!(refused.message(), why);
    // Asked in its own version, it is told of a third party's in that one's.
    let mine = apply(client, "v1", "one", json!({ "image": "b", "size": 3 })).await.code(200);
    assert_eq!(owners(&mine.body), ["one v1 image,size", "three v2 picture"]);

    // An update in the stored version of what both own is nobody's but the writer's.
    let mut whole = client.get(&path("v1")).await.body;
    whole["spec"]["image"] = "c".into();
    let put = client.put(&format!("{}?fieldManager=four", path("v1")), &whole).await.code(200);
    assert_eq!(owners(&put.body), ["four v1 image", "one v1 size"]);
    assert_eq!(client.get(&path("v2")).await.body["spec"]["picture"], "c");
}

#[tokio::test]
async fn a_change_is_converted_once_for_all_who_watch() {
    let server = Server::start(converted).await;
    let given = given(&server).await;
    let client = &given.client;
    let uri = "/apis/example.com/v2/namespaces/default/frames?watch=1";
    let mut watchers = Vec::new();
    for _ in 0..20 {
        watchers.push(Lines::open(client, uri).await);
    }
    client.post("/apis/example.com/v1/namespaces/default/frames", &json!({
        "apiVersion": "example.com/v1", "kind": "Frame", "metadata": { "name": "a" }, "spec": { "image": "a" },
    })).await.code(201);
    for (image, told) in [("a", "ADDED"), ("b", "MODIFIED")] {
        let change = json!({ "spec": { "image": image } });
        client.patch(&path("v1"), "merge-patch", &change).await.code(200);
        for watcher in &mut watchers {
            let event = watcher.next().await.unwrap();
            assert_eq!((&event["type"], &event["object"]["spec"]["picture"]), (&told.into(), &image.into()));
        }
    }
    assert_eq!(server.asked().len(), 2, "one for each state");
}
