//! What Go clients get: objects, lists, watches and errors in protobuf, and what has no such form in JSON.

use futures::StreamExt;
use http_body_util::{BodyExt, BodyStream};
use serde_json::json;

use crate::given::{Client, Given, MAPS, map};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// What client-go says.
const ACCEPT: (&str, &str) = ("accept", "application/vnd.kubernetes.protobuf,application/json");

/// The media type and the bytes of an answer.
async fn told(client: &Client, method: &str, uri: &str, body: Vec<u8>) -> (u16, String, Vec<u8>) {
    let response = client.raw(method, uri, &[ACCEPT, ("content-type", PROTOBUF)], body).await;
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let code = response.status().as_u16();
    (code, kind, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Field 1 or 2 of a message that is short.
fn held(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

#[tokio::test]
async fn objects_lists_and_errors_are_told_in_protobuf() {
    let given = Given::new().await;
    let head = [held(1, b"v1"), held(2, b"ConfigMap")].concat();
    let object = held(1, &held(1, b"small"));
    let body = [b"k8s\0".to_vec(), held(1, &head), held(2, &object)].concat();
    let (code, kind, bytes) = told(&given.client, "POST", MAPS, body.clone()).await;
    assert_eq!((code, kind.as_str(), &bytes[..4]), (201, PROTOBUF, &b"k8s\0"[..]));
    let (code, kind, bytes) = told(&given.client, "POST", MAPS, body).await;
    assert_eq!((code, kind.as_str()), (409, PROTOBUF));
    assert!(has(&bytes, "Status") && has(&bytes, "AlreadyExists"), "{bytes:?}");
    let (code, kind, bytes) = told(&given.client, "GET", MAPS, vec![]).await;
    assert_eq!((code, kind.as_str()), (200, PROTOBUF));
    assert!(has(&bytes, "ConfigMapList") && has(&bytes, "small"), "{bytes:?}");
    let (code, kind, _) = told(&given.client, "DELETE", &format!("{MAPS}/small"), vec![]).await;
    assert_eq!((code, kind.as_str()), (200, PROTOBUF));
    // Documents have no such form.
    let (code, kind, _) = told(&given.client, "GET", "/version", vec![]).await;
    assert_eq!((code, kind.as_str()), (200, "application/json"));
}

#[tokio::test]
async fn metadata_alone_is_told_in_protobuf() {
    let given = Given::new().await;
    given.client.post(MAPS, &map("a", "secret")).await.code(201);
    let kind = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json");
    let response = given.client.raw("GET", MAPS, &[("accept", &kind)], vec![]).await;
    assert_eq!(response.headers()["content-type"], PROTOBUF);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert!(has(&bytes, "PartialObjectMetadataList") && !has(&bytes, "secret"), "{bytes:?}");
}

#[tokio::test]
async fn a_watch_is_a_row_of_frames() {
    let given = Given::new().await;
    given.client.post(MAPS, &map("a", "0")).await.code(201);
    let accept = ("accept", "application/vnd.kubernetes.protobuf;stream=watch,application/json;stream=watch");
    let uri = format!("{MAPS}?watch=1&resourceVersion=0&fieldSelector=metadata.name%3Da");
    let response = given.client.raw("GET", &uri, &[accept], vec![]).await;
    assert_eq!(response.headers()["content-type"], "application/vnd.kubernetes.protobuf;stream=watch");
    let mut stream = BodyStream::new(response.into_body());
    let first = stream.next().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(u32::from_be_bytes(first[..4].try_into().unwrap()) as usize, first.len() - 4);
    assert!(has(&first, "ADDED") && has(&first, "k8s\0"), "{first:?}");
    let change = json!({ "data": { "k": "1" } });
    given.client.patch(&format!("{MAPS}/a"), "merge-patch", &change).await.code(200);
    let second = stream.next().await.unwrap().unwrap().into_data().unwrap();
    assert!(has(&second, "MODIFIED"), "{second:?}");
}
