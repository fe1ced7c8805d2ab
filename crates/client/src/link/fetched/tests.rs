//! A server that says what the script says; the clock is paused.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Mutex;

use k8s_openapi::api::core::v1::Pod;
use kube::client::Body;

use super::*;

/// A client whose requests are answered from the script (status, body), and the requests it made; with the script at
/// its end, it waits for ever.
fn scripted(script: &[(u16, &str)]) -> (kube::Client, Arc<Mutex<Vec<String>>>) {
    let script: VecDeque<(u16, String)> =
        script.iter().map(|(code, body)| (*code, (*body).to_owned())).collect();
    let script = Arc::new(Mutex::new(script));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let next = script.lock().unwrap().pop_front();
        if next.is_some() {
            log.lock().unwrap().push(request.uri().query().unwrap_or_default().to_owned());
        }
        async move {
            let Some((code, body)) = next else { return std::future::pending().await };
            let response = http::Response::builder().status(code).body(Body::from(body.into_bytes()));
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    (kube::Client::new(service, "default"), asked)
}

async fn deltas(client: kube::Client, count: usize) -> Vec<String> {
    let name = |object: &Arc<Object>| format!("{}@{}", object.meta().name, object.meta().revision);
    let shown = |delta| match delta {
        Delta::Reset(objects) => format!("reset {}", objects.iter().map(name).collect::<Vec<_>>().join(" ")),
        Delta::Put(object) => format!("put {}", name(&object)),
        Delta::Gone(object) => format!("gone {}", name(&object)),
    };
    feed(client, Topic::of::<Pod>()).take(count).map(shown).collect().await
}

const LIST: &str = r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"5"},
    "items":[{"metadata":{"name":"a","namespace":"d","resourceVersion":"3"}}]}"#;
const LATER: &str = r#"{"metadata":{"resourceVersion":"20"},"items":[{"metadata":{"name":"b","namespace":"d","resourceVersion":"6"}}]}"#;
const GOES_ON: &str = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"b\",\"namespace\":\"d\",\"resourceVersion\":\"6\"}}}\n\
    {\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\"}}}\n";
const EXPIRED: &str =
    "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}}\n";

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_from_the_bookmark_and_lists_anew_after_410() {
    let (client, asked) = scripted(&[(200, LIST), (200, GOES_ON), (200, EXPIRED), (200, LATER)]);
    assert_eq!(deltas(client, 3).await, ["reset a@3", "put b@6", "reset b@6"]);
    let watch = |version| format!("watch=1&allowWatchBookmarks=true&resourceVersion={version}");
    let list = || "limit=1000".to_owned();
    assert_eq!(*asked.lock().unwrap(), [list(), watch(5), watch(9), list()]);
}

#[tokio::test(start_paused = true)]
async fn a_long_list_is_read_page_by_page_and_begins_anew_when_a_page_expires() {
    let first = LIST.replace(r#""resourceVersion":"5""#, r#""resourceVersion":"5","continue":"more of it""#);
    let gone = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"too old","reason":"Expired","code":410}"#;
    let second = LATER.replace("20", "5");
    let (client, asked) =
        scripted(&[(200, &first), (410, gone), (200, &first), (200, &second), (200, GOES_ON)]);
    assert_eq!(deltas(client, 2).await, ["reset a@3 b@6", "put b@6"]);
    let asked = asked.lock().unwrap();
    assert_eq!(asked[2..4], ["limit=1000", "limit=1000&continue=more+of+it"]);
    assert!(asked[4].ends_with("resourceVersion=5"), "{}", asked[4]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_watch_lists_anew_and_a_failed_list_is_tried_again() {
    let gone = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"too old","reason":"Expired","code":410}"#;
    let busy = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"later","code":503}"#;
    let (client, asked) = scripted(&[(503, busy), (200, LIST), (410, gone), (503, busy), (200, LATER)]);
    assert_eq!(deltas(client, 2).await, ["reset a@3", "reset b@6"]);
    assert_eq!(asked.lock().unwrap().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn items_of_a_list_get_back_what_lists_leave_out() {
    let (client, _) = scripted(&[(200, LIST)]);
    let Some(Delta::Reset(objects)) = feed(client, Topic::of::<Pod>()).next().await else {
        panic!("no list")
    };
    assert_eq!(objects[0].value().unwrap()["kind"], "Pod");
}
