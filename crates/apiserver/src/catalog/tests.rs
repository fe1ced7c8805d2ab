//! A second served version of a kind, which comes and goes while the server serves.

use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::*;
use crate::kinds::Between;
use crate::kinds::core::config_map;
use crate::{Options, Peer, Server, User, wire};

fn shouted(mut map: ConfigMap) -> ConfigMap {
    map.data.iter_mut().flatten().for_each(|(_, text)| *text = text.to_uppercase());
    map
}

fn whispered(mut map: ConfigMap) -> ConfigMap {
    map.data.iter_mut().flatten().for_each(|(_, text)| *text = text.to_lowercase());
    map
}

static CONVERSION: Between<ConfigMap, ConfigMap> = Between { served: shouted, stored: whispered };

/// Config maps as `loud/v2` shows them.
fn loud() -> Arc<Entry> {
    let row = config_map::KIND;
    let resource = Resource { group: "loud".into(), version: "v2".into(), ..row.resource() };
    let entry = Entry {
        // The Rust type writes it, whatever the path.
        api_version: "v1".to_owned(),
        conversion: Some(Held::Static(&CONVERSION)),
        ..Entry::plain(resource, Held::Static(row.ops))
    };
    Arc::new(entry.finished())
}

async fn call(server: &Server, method: &str, uri: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = http::Request::builder().method(method).uri(uri).header(
        "content-type",
        match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        },
    );
    let request = request.body(wire::incoming(http_body_util::Full::from(body))).unwrap();
    let response = server.handler().handle(Peer::Known(User::server()), request).await;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn versions_of_a_kind_share_what_is_stored_and_each_shows_it_its_own_way() {
    let server = Server::build(Options::in_memory()).unwrap();
    crate::bootstrap::objects(server.api()).await.unwrap();
    let (v1, v2) = ("/api/v1/namespaces/default/configmaps", "/apis/loud/v2/namespaces/default/configmaps");
    assert_eq!(call(&server, "GET", v2, &Value::Null).await.0, 404);
    server.api().catalog.replace("configmaps", vec![loud()]);
    let map = json!({ "metadata": { "name": "a" }, "data": { "k": "HELLO" } });
    let (code, made) = call(&server, "POST", v2, &map).await;
    assert_eq!((code, &made["data"]["k"]), (201, &json!("HELLO")));
    let stored = call(&server, "GET", &format!("{v1}/a"), &Value::Null).await.1;
    assert_eq!(stored["data"]["k"], "hello");
    assert_eq!(stored["metadata"], made["metadata"]);

    let patch = json!({ "data": { "more": "World" } });
    let patched = call(&server, "PATCH", &format!("{v2}/a"), &patch).await.1;
    assert_eq!(patched["data"], json!({ "k": "HELLO", "more": "WORLD" }));
    // Nothing new: not a write.
    let again = call(&server, "PATCH", &format!("{v2}/a"), &patch).await.1;
    assert_eq!(again, patched);

    let list = call(&server, "GET", v2, &Value::Null).await.1;
    assert_eq!(list["items"][0], patched);
    let watched = call(&server, "GET", &format!("{v2}?watch=1&timeoutSeconds=1"), &Value::Null).await.1;
    assert_eq!(watched["object"], patched);
    let discovered = call(&server, "GET", "/apis/loud/v2", &Value::Null).await.1;
    assert_eq!(discovered["resources"][0]["kind"], "ConfigMap");

    assert_eq!(call(&server, "DELETE", &format!("{v2}/a"), &Value::Null).await.0, 200);
    assert_eq!(call(&server, "GET", &format!("{v1}/a"), &Value::Null).await.0, 404);
    server.api().catalog.replace("configmaps", Vec::new());
    assert_eq!(call(&server, "GET", v2, &Value::Null).await.0, 404);
    assert_eq!(call(&server, "GET", v1, &Value::Null).await.0, 200);
}

#[test]
fn versions_are_ordered_by_maturity() {
    let mut versions = ["v1beta1", "v2", "foo1", "v10", "v1alpha2", "v1", "v2beta1", "v11alpha1", "bar"];
    versions.sort_by_key(|version| std::cmp::Reverse(crate::discovery::Maturity::of(version)));
    assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1beta1", "v11alpha1", "v1alpha2", "bar", "foo1"]);
}
