//! What clients of CBOR get: objects, lists, metadata alone, watches and errors; and what they may send.

use futures::StreamExt;
use http_body_util::{BodyExt, BodyStream};
use serde_json::{Value, json};
use skiff_api::cbor;

use crate::given::{Client, Given, MAPS, map};
use crate::watches::Lines;

const MAGIC: &[u8] = &[0xd9, 0xd9, 0xf7];
/// What client-go says.
const ACCEPT: (&str, &str) = ("accept", "application/cbor,application/json");

fn read(bytes: &[u8]) -> Value {
    assert_eq!(bytes[..3], *MAGIC);
    serde_json::from_slice(&cbor::to_json(bytes).unwrap()).unwrap()
}

fn written(value: &Value) -> Vec<u8> {
    cbor::element(None, value.to_string().as_bytes()).unwrap()
}

/// The code, the media type and the bytes of an answer.
async fn told(client: &Client, method: &str, uri: &str, kind: &str, body: Vec<u8>) -> (u16, String, Vec<u8>) {
    let response = client.raw(method, uri, &[ACCEPT, ("content-type", kind)], body).await;
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let code = response.status().as_u16();
    (code, kind, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn objects_lists_and_errors_are_told_in_cbor() {
    let given = Given::new().await;
    let client = &given.client;
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = json!({ "metadata": { "name": "a" }, "data": { "k": "AP8=" } });
    let (code, kind, bytes) = told(client, "POST", secrets, cbor::MEDIA, written(&secret)).await;
    assert_eq!((code, kind.as_str()), (201, cbor::MEDIA));
    let created = read(&bytes);
    assert_eq!((&created["kind"], &created["data"]["k"]), (&json!("Secret"), &json!("AP8=")));
    // Bytes are bytes, behind the tag that says how they would be text.
    assert!(bytes.windows(4).any(|window| window == [0xd6, 0x42, 0x00, 0xff]), "{bytes:02x?}");
    assert_eq!(client.get(&format!("{secrets}/a")).await.body, created);

    let (code, kind, bytes) = told(client, "POST", secrets, cbor::MEDIA, written(&secret)).await;
    assert_eq!((code, kind.as_str()), (409, cbor::MEDIA));
    assert_eq!(read(&bytes)["reason"], "AlreadyExists");
    let (code, kind, bytes) =
        told(client, "POST", secrets, cbor::MEDIA, b"\xa2\x41a\x01\x41a\x02".to_vec()).await;
    assert_eq!((code, kind.as_str()), (400, cbor::MEDIA));
    assert_eq!(read(&bytes)["message"], "cbor: found duplicate map key \"a\"");

    let (code, kind, bytes) = told(client, "GET", secrets, "", vec![]).await;
    assert_eq!((code, kind.as_str()), (200, cbor::MEDIA));
    assert_eq!(read(&bytes), client.get(secrets).await.body);
    let partial = "application/cbor;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let response = client.raw("GET", secrets, &[("accept", partial)], vec![]).await;
    assert_eq!(response.headers()["content-type"], cbor::MEDIA);
    let list = read(&response.into_body().collect().await.unwrap().to_bytes());
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["metadata"]["name"], "a");
    assert!(list["items"][0]["data"].is_null());

    let options = written(&json!({ "preconditions": { "uid": "another" } }));
    let (code, ..) = told(client, "DELETE", &format!("{secrets}/a"), cbor::MEDIA, options).await;
    assert_eq!(code, 409);
    let (code, kind, _) = told(client, "DELETE", &format!("{secrets}/a"), cbor::MEDIA, vec![]).await;
    assert_eq!((code, kind.as_str()), (200, cbor::MEDIA));
    // Documents have no such form; discovery is of objects.
    let (code, kind, _) = told(client, "GET", "/version", "", vec![]).await;
    assert_eq!((code, kind.as_str()), (200, "application/json"));
    let (code, kind, _) = told(client, "GET", "/apis/apps/v1", "", vec![]).await;
    assert_eq!((code, kind.as_str()), (200, cbor::MEDIA));
}

#[tokio::test]
async fn a_watch_is_a_sequence() {
    let given = Given::new().await;
    given.client.post(MAPS, &map("a", "0")).await.code(201);
    for (accept, held) in [
        ("application/cbor", json!("0")),
        ("application/cbor;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", Value::Null),
    ] {
        let uri = format!("{MAPS}?watch=1&resourceVersion=0&fieldSelector=metadata.name%3Da");
        let response = given.client.raw("GET", &uri, &[("accept", accept)], vec![]).await;
        assert_eq!(response.headers()["content-type"], "application/cbor-seq");
        let mut stream = BodyStream::new(response.into_body());
        let first = read(&stream.next().await.unwrap().unwrap().into_data().unwrap());
        assert_eq!((&first["type"], &first["object"]["data"]["k"]), (&json!("ADDED"), &held));
        let change = json!({ "metadata": { "annotations": { "seen": accept } } });
        given.client.patch(&format!("{MAPS}/a"), "merge-patch", &change).await.code(200);
        let second = read(&stream.next().await.unwrap().unwrap().into_data().unwrap());
        assert_eq!(second["type"], "MODIFIED");
    }
}

#[tokio::test]
async fn configurations_are_applied_in_cbor_and_custom_resources_have_it_too() {
    let given = Given::new().await;
    let client = &given.client;
    let config =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": { "k": "1" } });
    let uri = format!("{MAPS}/a?fieldManager=me");
    let apply = "application/apply-patch+cbor";
    let (code, kind, bytes) = told(client, "PATCH", &uri, apply, written(&config)).await;
    assert_eq!((code, kind.as_str()), (201, cbor::MEDIA));
    let owner = &read(&bytes)["metadata"]["managedFields"][0];
    assert_eq!((&owner["manager"], &owner["operation"]), (&json!("me"), &json!("Apply")));
    let (code, ..) = told(client, "PATCH", &uri, "application/merge-patch+cbor", written(&config)).await;
    assert_eq!(code, 415);
    let (code, ..) = told(client, "PATCH", &uri, apply, b"\xf7".to_vec()).await;
    assert_eq!(code, 400);

    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "things.example.com" },
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": { "plural": "things", "kind": "Thing" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                "type": "object", "properties": { "spec": { "type": "object", "properties": {
                    "size": { "type": "number" }, "seal": { "type": "string", "format": "byte" },
                } } },
            } } }],
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let (code, ..) = told(client, "POST", definitions, cbor::MEDIA, written(&definition)).await;
    assert_eq!(code, 201);
    let things = "/apis/example.com/v1/namespaces/default/things";
    let mut lines = Lines::open(client, &format!("{definitions}?watch=1")).await;
    while !lines.next().await.unwrap()["object"]["status"]["conditions"].to_string().contains("Established") {
    }
    let thing = json!({
        "apiVersion": "example.com/v1", "kind": "Thing", "metadata": { "name": "a" },
        "spec": { "size": 2.5, "seal": "AP8=" },
    });
    let (code, kind, bytes) = told(client, "POST", things, cbor::MEDIA, written(&thing)).await;
    assert_eq!((code, kind.as_str()), (201, cbor::MEDIA));
    assert_eq!(read(&bytes)["spec"], thing["spec"]);
    let (_, kind, bytes) = told(client, "GET", things, "", vec![]).await;
    assert_eq!((kind.as_str(), &read(&bytes)["items"][0]["spec"]), (cbor::MEDIA, &thing["spec"]));
}
