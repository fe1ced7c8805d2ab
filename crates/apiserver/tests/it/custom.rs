//! Custom resources: served as soon as their definition is established, under its schema, until it goes.

use std::ops::Deref;

use futures::StreamExt;
use serde_json::{Value, json};
use skiff_api::Resource;
use skiff_client::{Delta, Topic};

use crate::given::{Answer, Client, Given};
use crate::watches::Lines;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const TABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";

/// A cluster, which is asked as its administrator.
struct Cluster(Given);

impl Deref for Cluster {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0.client
    }
}

impl Cluster {
    async fn start() -> Self {
        Self(Given::new().await)
    }

    async fn watch(&self, uri: &str) -> Lines {
        Lines::open(self, uri).await
    }
}

/// The definition of the documentation, and what else there is to try.
fn definition() -> Value {
    let schema = json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["cronSpec"],
                "x-kubernetes-validations": [
                    { "rule": "self.replicas <= 10", "messageExpression": "'too many: ' + string(self.replicas)" },
                    { "rule": "self.image == oldSelf.image", "message": "image is immutable", "reason": "FieldValueForbidden", "fieldPath": ".image" },
                ],
                "properties": {
                    "cronSpec": { "type": "string", "pattern": "^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$" },
                    "image": { "type": "string", "default": "busybox" },
                    "replicas": { "type": "integer", "minimum": 1, "default": 1 },
                    "port": { "x-kubernetes-int-or-string": true },
                    "mode": { "type": "string", "enum": ["fast", "slow"] },
                    "note": { "type": "string", "nullable": true },
                    "since": { "type": "string", "format": "date-time" },
                    "free": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                    "tags": { "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "set" },
                    "hosts": {
                        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": { "type": "object", "required": ["name"], "properties": { "name": { "type": "string" }, "port": { "type": "integer", "default": 80 } } },
                    },
                },
            },
            "status": {
                "type": "object",
                "properties": { "replicas": { "type": "integer" }, "selector": { "type": "string" } },
            },
        },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "crontabs.stable.example.com" },
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": { "plural": "crontabs", "singular": "crontab", "kind": "CronTab", "shortNames": ["ct"], "categories": ["all"] },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema },
                "subresources": {
                    "status": {},
                    "scale": { "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector" },
                },
                "selectableFields": [{ "jsonPath": ".spec.mode" }],
                "additionalPrinterColumns": [
                    { "name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec" },
                    { "name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1 },
                    { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
                ],
            }],
        },
    })
}

fn tab(name: &str, spec: Value) -> Value {
    json!({ "apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": { "name": name }, "spec": spec })
}

/// Waits until a definition's condition is as wanted, by a watch.
async fn until(cluster: &Cluster, name: &str, kind: &str, wanted: &str) -> Value {
    let uri = format!("{CRDS}?watch=1&fieldSelector=metadata.name={name}");
    let mut watch = cluster.watch(&uri).await;
    loop {
        let event = watch.next().await.unwrap();
        let conditions = event["object"]["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == wanted) {
            return event["object"].clone();
        }
    }
}

async fn defined() -> Cluster {
    let cluster = Cluster::start().await;
    let made = cluster.post(CRDS, &definition()).await;
    assert_eq!(made.code, 201, "{}", made.body);
    until(&cluster, "crontabs.stable.example.com", "Established", "True").await;
    cluster
}

fn message(answer: &Answer) -> &str {
    answer.body["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn objects_are_pruned_defaulted_and_versioned_like_any_other() {
    let cluster = defined().await;
    let spec = json!({ "cronSpec": "* * * * */5", "unknown": 1, "free": { "any": 1 }, "note": null, "hosts": [{ "name": "a" }] });
    let made = cluster.post(TABS, &tab("a", spec)).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(made.warnings, ["299 - \"unknown field \\\"spec.unknown\\\"\""]);
    let expected = json!({
        "cronSpec": "* * * * */5", "image": "busybox", "replicas": 1, "free": { "any": 1 }, "note": null,
        "hosts": [{ "name": "a", "port": 80 }],
    });
    assert_eq!(made.body["spec"], expected);
    assert_eq!(made.body["metadata"]["generation"], 1);
    let strict = cluster
        .post(
            &format!("{TABS}?fieldValidation=Strict"),
            &tab("b", json!({ "cronSpec": "* * * * *", "x": 1 })),
        )
        .await;
    assert_eq!(
        (strict.code, message(&strict)),
        (
            400,
            "CronTab in version \"v1\" cannot be handled as a CronTab: strict decoding error: unknown field \"spec.x\""
        )
    );

    let path = format!("{TABS}/a");
    let bare = json!({ "metadata": { "finalizers": ["bare"] } });
    let held = cluster.patch(&path, "merge-patch", &bare).await;
    assert_eq!((held.code, &held.body["metadata"]["finalizers"]), (200, &json!(["bare"])));
    let patched = cluster.patch(&path, "merge-patch", &json!({ "spec": { "replicas": 3 } })).await;
    assert_eq!((patched.code, &patched.body["metadata"]["generation"]), (200, &json!(2)));
    let status = cluster
        .patch(
            &format!("{path}/status"),
            "merge-patch",
            &json!({ "spec": { "replicas": 9 }, "status": { "replicas": 2, "selector": "a=b" } }),
        )
        .await;
    assert_eq!(
        (&status.body["spec"]["replicas"], &status.body["metadata"]["generation"]),
        (&json!(3), &json!(2))
    );
    let scale = cluster.get(&format!("{path}/scale")).await;
    assert_eq!(scale.body["spec"]["replicas"], 3);
    assert_eq!(scale.body["status"], json!({ "replicas": 2, "selector": "a=b" }));
    let scaled =
        cluster.patch(&format!("{path}/scale"), "merge-patch", &json!({ "spec": { "replicas": 5 } })).await;
    assert_eq!((scaled.code, &scaled.body["spec"]["replicas"]), (200, &json!(5)), "{}", scaled.body);
    let strategic = cluster.patch(&path, "strategic-merge-patch", &json!({})).await;
    assert_eq!(strategic.code, 415);
    assert!(message(&strategic).contains("application/apply-patch+yaml"), "{}", message(&strategic));
}

#[tokio::test]
async fn what_does_not_fit_the_schema_is_refused_in_upstreams_words() {
    let cluster = defined().await;
    for (spec, expected) in [
        (json!({}), "spec.cronSpec: Required value"),
        (
            json!({ "cronSpec": "x" }),
            "spec.cronSpec: Invalid value: \"x\": spec.cronSpec in body should match '^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$'",
        ),
        (
            json!({ "cronSpec": "* * * * *", "replicas": 0 }),
            "spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or equal to 1",
        ),
        (
            json!({ "cronSpec": "* * * * *", "replicas": "x" }),
            "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
        ),
        (
            json!({ "cronSpec": "* * * * *", "port": true }),
            "spec.port: Invalid value: \"boolean\": spec.port in body must be of type integer,string: \"boolean\"",
        ),
        (
            json!({ "cronSpec": "* * * * *", "mode": "odd" }),
            "spec.mode: Unsupported value: \"odd\": supported values: \"fast\", \"slow\"",
        ),
        (
            json!({ "cronSpec": "* * * * *", "since": "then" }),
            "spec.since: Invalid value: \"then\": spec.since in body must be of type date-time: \"then\"",
        ),
        (json!({ "cronSpec": "* * * * *", "tags": ["a", "a"] }), "spec.tags[1]: Duplicate value: \"a\""),
        (
            json!({ "cronSpec": "* * * * *", "hosts": [{ "name": "a" }, { "name": "a" }] }),
            "spec.hosts[1]: Duplicate value: {\"name\":\"a\"}",
        ),
        (json!({ "cronSpec": "* * * * *", "replicas": 11 }), "spec: Invalid value: \"object\": too many: 11"),
    ] {
        let answer = cluster.post(TABS, &tab("bad", spec)).await;
        assert_eq!(answer.code, 422, "{}", answer.body);
        let whole = format!("CronTab.stable.example.com \"bad\" is invalid: {expected}");
        assert!(
            message(&answer) == whole || message(&answer).contains(expected),
            "{}\n{whole}",
            message(&answer)
        );
    }
    cluster.post(TABS, &tab("a", json!({ "cronSpec": "* * * * *" }))).await;
    let moved =
        cluster.patch(&format!("{TABS}/a"), "merge-patch", &json!({ "spec": { "image": "other" } })).await;
    assert_eq!(
        message(&moved),
        "CronTab.stable.example.com \"a\" is invalid: spec.image: Forbidden: image is immutable"
    );
}

#[tokio::test]
async fn tables_selectors_discovery_and_openapi_know_the_kind() {
    let cluster = defined().await;
    for (name, mode) in [("a", "fast"), ("b", "slow")] {
        cluster.post(TABS, &tab(name, json!({ "cronSpec": "* * * * *", "mode": mode }))).await;
    }
    let slow = cluster.get(&format!("{TABS}?fieldSelector=spec.mode=slow")).await;
    assert_eq!(slow.body["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(slow.body["kind"], "CronTabList");
    let table = cluster
        .send("GET", TABS, &[("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")], Vec::new())
        .await
        .body;
    let names: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Name", "Spec", "Replicas", "Age"]);
    assert_eq!(
        table["rows"][0]["cells"].as_array().unwrap()[..3],
        [json!("a"), json!("* * * * *"), json!(1)]
    );
    let found = cluster.get("/apis/stable.example.com/v1").await.body;
    assert_eq!(found["resources"][0]["shortNames"], json!(["ct"]));
    let names: Vec<&Value> =
        found["resources"].as_array().unwrap().iter().map(|resource| &resource["name"]).collect();
    assert_eq!(names, ["crontabs", "crontabs/status", "crontabs/scale"]);
    let document = cluster.get("/openapi/v3/apis/stable.example.com/v1").await.body;
    let schema = &document["components"]["schemas"]["com.example.stable.v1.CronTab"];
    assert_eq!(schema["properties"]["spec"]["properties"]["replicas"]["minimum"].to_string(), "1");
    assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "CronTab");
    // Where unknown fields are kept, v2 says nothing of fields and types: kubectl of old would refuse all others.
    let v2 = cluster.get("/openapi/v2").await.body;
    let spec = &v2["definitions"]["com.example.stable.v1.CronTab"]["properties"]["spec"]["properties"];
    assert_eq!(spec["free"], json!({ "x-kubernetes-preserve-unknown-fields": true }));
    assert!(
        document["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"].is_object()
    );
}

#[tokio::test]
async fn a_definition_takes_its_objects_and_its_watches_along() {
    let cluster = defined().await;
    let mut held = tab("held", json!({ "cronSpec": "* * * * *" }));
    held["metadata"]["finalizers"] = json!(["example.com/wait"]);
    cluster.post(TABS, &held).await;
    let mut watch = cluster.watch(&format!("{TABS}?watch=1")).await;
    assert_eq!(watch.next().await.unwrap()["type"], "ADDED");
    let crd = format!("{CRDS}/crontabs.stable.example.com");
    let going = cluster.delete(&crd).await;
    assert_eq!(going.code, 200);
    assert_eq!(going.body["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    assert_eq!(watch.next().await.unwrap()["type"], "MODIFIED");
    let late = cluster.post(TABS, &tab("late", json!({ "cronSpec": "* * * * *" }))).await;
    assert_eq!(
        (late.code, message(&late)),
        (405, "create not allowed while custom resource definition is terminating")
    );
    cluster
        .patch(&format!("{TABS}/held"), "merge-patch", &json!({ "metadata": { "finalizers": null } }))
        .await;
    assert_eq!(watch.next().await.unwrap()["type"], "DELETED");
    assert!(watch.next().await.is_none());
    assert_eq!(cluster.get(TABS).await.code, 404);
    assert_eq!(cluster.get(&crd).await.code, 404);
}

#[tokio::test]
async fn versions_without_a_webhook_differ_by_name_and_schema() {
    let cluster = defined().await;
    cluster.post(TABS, &tab("a", json!({ "cronSpec": "* * * * *" }))).await;
    let path = format!("{CRDS}/crontabs.stable.example.com");
    let mut crd = cluster.get(&path).await.body;
    let mut second = crd["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    second["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["color"] =
        json!({ "type": "string", "default": "red" });
    crd["spec"]["versions"][0]["storage"] = false.into();
    crd["spec"]["versions"].as_array_mut().unwrap().push(second);
    let changed = cluster.put(&path, &crd).await;
    assert_eq!(changed.code, 200, "{}", changed.body);
    assert_eq!(changed.body["status"]["storedVersions"], json!(["v1", "v2"]));
    let two = TABS.replace("/v1/", "/v2/");
    let found = loop {
        // The catalog follows the definition a moment later.
        let found = cluster.get(&format!("{two}/a")).await;
        if found.code == 200 {
            break found.body;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(
        (&found["apiVersion"], &found["spec"]["color"]),
        (&json!("stable.example.com/v2"), &json!("red"))
    );
    let old = cluster.get(&format!("{TABS}/a")).await.body;
    assert_eq!((&old["apiVersion"], &old["spec"]["color"]), (&json!("stable.example.com/v1"), &Value::Null));
    let list = cluster.get(&two).await.body;
    assert_eq!(list["items"][0], found);
    let group = cluster.get("/apis/stable.example.com").await.body;
    assert_eq!(group["preferredVersion"]["version"], "v2");

    // Written in one version, stored in another: that one's defaults are there.
    cluster.post(TABS, &tab("c", json!({ "cronSpec": "* * * * *" }))).await.code(201);
    assert_eq!(cluster.get(&format!("{two}/c")).await.body["spec"]["color"], "red");
    let other = cluster.get(&format!("{TABS}/c")).await.body;
    assert_eq!(other["spec"]["color"], Value::Null);

    // Owners in one version are in conflict with appliers in the other, each by its own schema.
    let apply = async |uri: &str, manager: &str, version: &str, spec: Value| {
        let headers = [("content-type", "application/apply-patch+yaml")];
        let mut config = tab("b", spec);
        config["apiVersion"] = format!("stable.example.com/{version}").into();
        let uri = format!("{uri}/b?fieldManager={manager}");
        cluster.send("PATCH", &uri, &headers, config.to_string().into_bytes()).await
    };
    apply(TABS, "one", "v1", json!({ "cronSpec": "* * * * *", "tags": ["x"] })).await.code(201);
    let refused = apply(&two, "two", "v2", json!({ "cronSpec": "1 * * * *", "tags": ["y"] })).await.code(409);
    assert_eq!(message(&refused), "Apply failed with 1 conflict: conflict with \"one\": .spec.cronSpec");
    let both = apply(&two, "two", "v2", json!({ "tags": ["y"] })).await.code(200);
    assert_eq!(both.body["spec"]["tags"], json!(["x", "y"]));
    let left = apply(TABS, "one", "v1", json!({ "cronSpec": "* * * * *" })).await.code(200);
    assert_eq!(left.body["spec"]["tags"], json!(["y"]));
}

#[tokio::test]
async fn names_belong_to_who_came_first() {
    let cluster = defined().await;
    let mut other = definition();
    other["metadata"]["name"] = "others.stable.example.com".into();
    other["spec"]["names"] = json!({ "plural": "others", "kind": "Other", "shortNames": ["ct"] });
    cluster.post(CRDS, &other).await;
    let refused = until(&cluster, "others.stable.example.com", "NamesAccepted", "False").await;
    let condition = &refused["status"]["conditions"][0];
    assert_eq!(
        (&condition["reason"], &condition["message"]),
        (&json!("ShortNamesConflict"), &json!("\"ct\" is already in use"))
    );
    assert_eq!(cluster.get("/apis/stable.example.com/v1/others").await.code, 404);
    cluster.delete(&format!("{CRDS}/crontabs.stable.example.com")).await;
    until(&cluster, "others.stable.example.com", "Established", "True").await;
    assert_eq!(cluster.get("/apis/stable.example.com/v1/others").await.code, 200);
}

#[tokio::test]
async fn definitions_that_are_not_structural_are_refused() {
    let cluster = Cluster::start().await;
    let mut bad = definition();
    bad["metadata"]["name"] = "wrong".into();
    let schema = &mut bad["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"]["properties"]["image"] = json!({ "default": 1 });
    schema["properties"]["spec"]["properties"]["replicas"] = json!({ "type": "integer", "default": "x" });
    schema["properties"]["spec"]["x-kubernetes-validations"] = json!([{ "rule": "nothing > 1" }]);
    let refused = cluster.post(CRDS, &bad).await;
    assert_eq!(refused.code, 422, "{}", refused.body);
    let causes: Vec<String> = refused.body["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| cause["field"].as_str().unwrap().to_owned())
        .collect();
    for expected in [
        "metadata.name",
        "spec.validation.openAPIV3Schema.properties[spec].properties[image].type",
        "spec.validation.openAPIV3Schema.properties[spec].properties[replicas].default",
        "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule",
    ] {
        assert!(causes.iter().any(|cause| cause == expected), "{expected} in {causes:?}");
    }
}

/// Renames `spec.image` to `spec.picture` from the second version on, and back.
fn converted(_: &str, request: &Value) -> Value {
    let version = request["desiredAPIVersion"].as_str().unwrap();
    let (from, to) = if version.ends_with("/v2") { ("image", "picture") } else { ("picture", "image") };
    let object = |object: &Value| {
        let mut object = object.clone();
        object["apiVersion"] = version.into();
        let spec = object["spec"].as_object_mut().unwrap();
        if let Some(value) = spec.remove(from) {
            spec.insert(to.to_owned(), value);
        }
        object
    };
    let objects: Vec<Value> = request["objects"].as_array().unwrap().iter().map(object).collect();
    json!({ "result": { "status": "Success" }, "convertedObjects": objects })
}

#[tokio::test]
async fn a_webhook_converts_between_versions_both_ways() {
    let server = crate::webhooks::Server::start(converted).await;
    let cluster = Cluster::start().await;
    let mut crd = definition();
    let first = &mut crd["spec"]["versions"][0];
    let spec = first.pointer_mut("/schema/openAPIV3Schema/properties/spec").unwrap();
    spec.as_object_mut().unwrap().remove("x-kubernetes-validations");
    spec["properties"]["image"] = json!({ "type": "string" });
    let mut second = first.clone();
    second["name"] = "v2".into();
    second["storage"] = false.into();
    let fields = second.pointer_mut("/schema/openAPIV3Schema/properties/spec/properties").unwrap();
    fields.as_object_mut().unwrap().remove("image");
    fields["picture"] = json!({ "type": "string" });
    crd["spec"]["versions"].as_array_mut().unwrap().push(second);
    crd["spec"]["conversion"] = json!({
        "strategy": "Webhook",
        "webhook": { "clientConfig": server.client("/convert"), "conversionReviewVersions": ["v1"] },
    });
    cluster.post(CRDS, &crd).await.code(201);
    until(&cluster, "crontabs.stable.example.com", "Established", "True").await;
    let two = TABS.replace("/v1/", "/v2/");
    let mut tab = tab("a", json!({ "cronSpec": "* * * * *", "picture": "nice" }));
    tab["apiVersion"] = "stable.example.com/v2".into();
    let made = cluster.post(&two, &tab).await.code(201);
    assert_eq!(made.body["spec"]["picture"], "nice");
    let stored = cluster.get(&format!("{TABS}/a")).await.code(200).body;
    assert_eq!((&stored["spec"]["image"], &stored["spec"]["picture"]), (&json!("nice"), &Value::Null));
    let patch = json!({ "spec": { "picture": "nicer" }, "metadata": { "labels": { "a": "b" } } });
    cluster.patch(&format!("{two}/a"), "merge-patch", &patch).await.code(200);
    let list = cluster.get(&two).await.code(200).body;
    assert_eq!(list["items"][0]["spec"]["picture"], "nicer");
    let mut watch = cluster.watch(&format!("{two}?watch=1")).await;
    assert_eq!(watch.next().await.unwrap()["object"]["spec"]["picture"], "nicer");
    cluster.delete(&format!("{TABS}/a")).await.code(200);
    let gone = watch.next().await.unwrap();
    assert_eq!((&gone["type"], &gone["object"]["spec"]["picture"]), (&json!("DELETED"), &json!("nicer")));
}

#[tokio::test]
async fn a_configuration_may_say_nothing_twice_where_asked_to_be_strict() {
    let cluster = defined().await;
    let text = "apiVersion: stable.example.com/v1\nkind: CronTab\nmetadata: {name: a}\nspec:\n  cronSpec: '* * * * */5'\n  image: a\n  image: b\n";
    let path = format!("{TABS}/a?fieldManager=m");
    let apply = async |uri: &str| {
        let headers = [("content-type", "application/apply-patch+yaml")];
        cluster.send("PATCH", uri, &headers, text.as_bytes().to_vec()).await
    };
    let strict = apply(&format!("{path}&fieldValidation=Strict")).await;
    let why = "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 7: key \"image\" already set in map";
    assert_eq!((strict.code, message(&strict)), (400, why));
    assert_eq!(apply(&path).await.code, 201);
}

#[tokio::test]
async fn configurations_merge_as_the_schema_says_and_fields_have_owners() {
    let cluster = defined().await;
    let uri = format!("{TABS}/a");
    let apply = async |query: &str, at: &str, spec: Value| {
        let headers = [("content-type", "application/apply-patch+yaml")];
        let body = tab("a", spec).to_string().into_bytes();
        cluster.send("PATCH", &format!("{uri}{at}?fieldManager={query}"), &headers, body).await
    };
    let one = json!({ "cronSpec": "* * * * *", "tags": ["x"], "hosts": [{ "name": "a", "port": 1 }] });
    apply("one", "", one).await.code(201);
    let two = json!({ "tags": ["y"], "hosts": [{ "name": "b" }], "free": { "k": [1] } });
    let both = apply("two", "", two).await.code(200);
    assert_eq!(both.body["spec"]["tags"], json!(["x", "y"]));
    assert_eq!(both.body["spec"]["hosts"], json!([{ "name": "a", "port": 1 }, { "name": "b", "port": 80 }]));
    let entries = both.body["metadata"]["managedFields"].as_array().unwrap();
    let owned = &entries.iter().find(|entry| entry["manager"] == "two").unwrap()["fieldsV1"];
    let set = json!({ "f:spec": { "f:tags": { "v:\"y\"": {} }, "f:free": { "f:k": {} },
        "f:hosts": { "k:{\"name\":\"b\"}": { ".": {}, "f:name": {} } } } });
    assert_eq!(owned, &set);
    let refused = apply("two", "", json!({ "hosts": [{ "name": "a", "port": 2 }] })).await.code(409);
    let why = "Apply failed with 1 conflict: conflict with \"one\": .spec.hosts[name=\"a\"].port";
    assert_eq!(message(&refused), why);
    let scale = json!({ "spec": { "replicas": 3 } });
    cluster.patch(&format!("{uri}/scale?fieldManager=scaler"), "merge-patch", &scale).await.code(200);
    apply("two", "", json!({ "replicas": 4 })).await.code(409);
}

#[tokio::test]
async fn a_feed_goes_with_its_kind_and_comes_back_with_it() {
    let cluster = Cluster::start().await;
    let resource = Resource {
        group: "stable.example.com".into(),
        version: "v1".into(),
        plural: "crontabs".into(),
        kind: "CronTab".into(),
        namespaced: true,
    };
    let topic = Topic { resource, namespace: None, labels: String::new(), fields: String::new() };
    let mut feed = cluster.0.cluster.admin().feed(&topic);
    let nothing = |delta: Option<Delta<_>>| matches!(delta, Some(Delta::Reset(all)) if all.is_empty());
    assert!(nothing(feed.next().await), "of a kind that is not there nothing is there");
    for _ in 0..2 {
        cluster.post(CRDS, &definition()).await.code(201);
        assert!(nothing(feed.next().await), "it has come");
        until(&cluster, "crontabs.stable.example.com", "Established", "True").await;
        cluster.post(TABS, &tab("a", json!({ "cronSpec": "* * * * *" }))).await.code(201);
        assert!(matches!(feed.next().await, Some(Delta::Put(made)) if &*made.meta().name == "a"));
        cluster.delete(&format!("{CRDS}/crontabs.stable.example.com")).await.code(200);
        loop {
            match feed.next().await {
                Some(Delta::Reset(all)) if all.is_empty() => break,
                Some(_) => {}
                None => panic!("a feed does not end"),
            }
        }
    }
}
