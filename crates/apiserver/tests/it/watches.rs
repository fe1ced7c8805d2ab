//! Watches over HTTP and feeds inside the process: the same changes, in order, none missing.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::{ConfigMap, Event};
use serde_json::{Value, json};
use skiff_apiserver::wire::Body;
use skiff_apiserver::{Options, Storage, User};
use skiff_client::{Delta, Topic};

use crate::cluster::Cluster;
use crate::given::{Client, Given, MAPS, map, pod};

/// The lines of a watch.
pub(crate) struct Lines {
    body: Body,
    text: Vec<u8>,
    ready: VecDeque<Value>,
}

impl Lines {
    pub(crate) async fn open(client: &Client, uri: &str) -> Self {
        let response = client.raw("GET", uri, &[], Vec::new()).await;
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), text: Vec::new(), ready: VecDeque::new() }
    }

    /// The next event; nothing at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        while self.ready.is_empty() {
            let frame: Bytes = self.body.frame().await?.unwrap().into_data().unwrap();
            self.text.extend_from_slice(&frame);
            while let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                self.ready.push_back(serde_json::from_slice(&line).unwrap());
            }
        }
        self.ready.pop_front()
    }

    /// The next event as `TYPE name`.
    async fn told(&mut self) -> String {
        let event = self.next().await.expect("the watch goes on");
        let object = &event["object"];
        format!("{} {}", event["type"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap_or("-"))
    }
}

#[tokio::test]
async fn a_watch_begins_with_what_there_is_and_tells_every_change() {
    let given = Given::new().await;
    let client = &given.client;
    client.post(MAPS, &map("a", "0")).await.code(201);
    let mut lines = Lines::open(client, &format!("{MAPS}?watch=1")).await;
    assert_eq!(lines.told().await, "ADDED a");
    client.post(MAPS, &map("b", "0")).await.code(201);
    let changed = client.put(&format!("{MAPS}/a"), &map("a", "1")).await.code(200);
    client.delete(&format!("{MAPS}/b")).await.code(200);
    assert_eq!(lines.told().await, "ADDED b");
    let modified = lines.next().await.unwrap();
    assert_eq!((&modified["type"], &modified["object"]), (&"MODIFIED".into(), &changed.body));
    let deleted = lines.next().await.unwrap();
    assert_eq!(deleted["object"]["data"]["k"], "0");
    let revision: u64 = deleted["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert_eq!(revision, changed.revision() + 1, "a deletion has a revision of its own");
}

#[tokio::test]
async fn a_watch_goes_on_from_a_revision() {
    let given = Given::new().await;
    let client = &given.client;
    let first = client.post(MAPS, &map("a", "0")).await.revision();
    client.post(MAPS, &map("b", "0")).await.code(201);
    client.post("/api/v1/namespaces/kube-system/configmaps", &map("c", "0")).await.code(201);
    client.post(MAPS, &map("d", "0")).await.code(201);
    let mut lines = Lines::open(client, &format!("{MAPS}?watch=1&resourceVersion={first}")).await;
    assert_eq!((lines.told().await, lines.told().await), ("ADDED b".to_owned(), "ADDED d".to_owned()));
    let mut all = Lines::open(client, &format!("/api/v1/watch/configmaps?resourceVersion={first}")).await;
    assert_eq!((all.told().await, all.told().await), ("ADDED b".to_owned(), "ADDED c".to_owned()));
}

#[tokio::test]
async fn entering_and_leaving_a_selection_are_told_as_added_and_deleted() {
    let given = Given::new().await;
    let client = &given.client;
    let pods = "/api/v1/namespaces/default/pods";
    let mut labelled = Lines::open(client, &format!("{pods}?watch=1&labelSelector=app%3Dx")).await;
    let mut bound = Lines::open(client, &format!("{pods}?watch=1&fieldSelector=spec.nodeName%3Done")).await;
    let created = client.post(pods, &pod("a")).await.code(201);
    assert_eq!(labelled.told().await, "ADDED a");
    let binding = json!({ "metadata": { "name": "a" }, "target": { "kind": "Node", "name": "one" } });
    client.post(&format!("{pods}/a/binding"), &binding).await.code(201);
    assert_eq!(labelled.told().await, "MODIFIED a");
    assert_eq!(bound.told().await, "ADDED a");
    let patch = json!({ "metadata": { "labels": { "app": "y" } } });
    let changed = client.patch(&format!("{pods}/a"), "merge-patch", &patch).await.code(200);
    let left = labelled.next().await.unwrap();
    assert_eq!(left["type"], "DELETED");
    assert_eq!(left["object"]["metadata"]["labels"]["app"], "x", "the last selected state is told");
    assert_eq!(left["object"]["metadata"]["resourceVersion"], changed.body["metadata"]["resourceVersion"]);
    assert_eq!(left["object"]["metadata"]["uid"], created.body["metadata"]["uid"]);
    assert_eq!(bound.told().await, "MODIFIED a");
}

#[tokio::test]
async fn too_old_a_revision_is_told_as_expired() {
    // A restarted server keeps no changes from before.
    let folder = tempfile::tempdir().unwrap();
    let options = || Options { storage: Storage::Disk(folder.path().join("store")), ..Options::in_memory() };
    let admin = || User::new("admin", ["system:masters"]);
    let cluster = Cluster::with(options()).await;
    let old = Client::of(&cluster, admin()).post(MAPS, &map("a", "0")).await.revision();
    Client::of(&cluster, admin()).post(MAPS, &map("b", "0")).await.code(201);
    cluster.stop().await;
    let cluster = Cluster::with(options()).await;
    let client = Client::of(&cluster, admin());
    let mut lines = Lines::open(&client, &format!("{MAPS}?watch=1&resourceVersion={old}")).await;
    let error = lines.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["code"]), (&"ERROR".into(), &410.into()));
    assert!(
        error["object"]["message"].as_str().unwrap().starts_with(&format!("too old resource version: {old}"))
    );
    assert!(lines.next().await.is_none());
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark_that_says_so() {
    let given = Given::new().await;
    given.client.post(MAPS, &map("a", "0")).await.code(201);
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut lines = Lines::open(&given.client, &format!("{MAPS}?{query}")).await;
    assert_eq!(lines.told().await, "ADDED a");
    let bookmark = lines.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    given.client.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await.code(422);
}

#[tokio::test]
async fn a_watch_ends_in_time_and_bookmarks_while_it_rests() {
    let given = Given::new().await;
    let query = "watch=1&allowWatchBookmarks=true&timeoutSeconds=90&fieldSelector=metadata.name%3Da";
    let mut lines = Lines::open(&given.client, &format!("{MAPS}?{query}")).await;
    let other = given.client.post(MAPS, &map("b", "0")).await.revision();
    tokio::time::pause();
    let bookmark = lines.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], other.to_string());
    assert_eq!(lines.told().await, "BOOKMARK -");
    assert!(lines.next().await.is_none());
}

#[tokio::test]
async fn feeds_of_both_links_tell_the_same() {
    let given = Given::new().await;
    for link in [given.cluster.admin(), given.cluster.remote()] {
        given.client.post(MAPS, &map("a", "0")).await.code(201);
        let topic = Topic::of::<ConfigMap>().namespace("default");
        let mut feed = link.feed(&topic);
        let Some(Delta::Reset(all)) = feed.next().await else { panic!("a feed begins with everything") };
        assert_eq!(all.iter().map(|o| o.meta().name.to_string()).collect::<Vec<_>>(), ["a"]);
        given.client.put(&format!("{MAPS}/a"), &map("a", "1")).await.code(200);
        let Some(Delta::Put(changed)) = feed.next().await else { panic!("a change is told") };
        assert_eq!(changed.decode::<ConfigMap>().unwrap().data.as_ref().unwrap()["k"], "1");
        given.client.delete(&format!("{MAPS}/a")).await.code(200);
        let Some(Delta::Gone(gone)) = feed.next().await else { panic!("a deletion is told") };
        assert!(gone.meta().revision > changed.meta().revision);
    }
}

#[tokio::test]
async fn events_go_after_an_hour() {
    let given = Given::new().await;
    let row = skiff_apiserver::kinds::ALL.iter().find(|row| row.kind == "Event").unwrap();
    let mut feed = given.cluster.admin().feed(&Topic::of::<Event>());
    assert!(matches!(feed.next().await, Some(Delta::Reset(all)) if all.is_empty()));
    given.client.post(&crate::given::path(row), &crate::given::sample(row, "a")).await.code(201);
    assert!(matches!(feed.next().await, Some(Delta::Put(_))));
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(3601)).await;
    assert!(matches!(feed.next().await, Some(Delta::Gone(_))));
}

/// More than leaves at once.
#[tokio::test]
async fn a_long_beginning_comes_whole_then_its_bookmark_then_what_changed_meanwhile() {
    let given = Given::new().await;
    let client = &given.client;
    let names: Vec<String> = (0..40).map(|number| format!("m{number:02}")).collect();
    for name in &names {
        client.post(MAPS, &map(name, &"x".repeat(10_000))).await.code(201);
    }
    let uri = "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut lines = Lines::open(client, &format!("{MAPS}{uri}")).await;
    client.post(MAPS, &map("later", "0")).await.code(201);
    client.delete(&format!("{MAPS}/m00")).await.code(200);
    for name in &names {
        assert_eq!(lines.told().await, format!("ADDED {name}"));
    }
    let end = lines.next().await.unwrap();
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(
        (lines.told().await, lines.told().await),
        ("ADDED later".to_owned(), "DELETED m00".to_owned())
    );
}

#[tokio::test]
async fn a_node_s_watch_tells_of_pods_that_come_to_it_and_of_nothing_else() {
    let given = Given::new().await;
    let client = &given.client;
    let pods = "/api/v1/namespaces/default/pods";
    client.post(pods, &pod("before")).await.code(201);
    let mut mine = Lines::open(client, "/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn1").await;
    let mut unbound = Lines::open(client, "/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3D").await;
    assert_eq!(unbound.told().await, "ADDED before");
    for (name, node) in [("other", "n2"), ("before", "n1")] {
        if name != "before" {
            client.post(pods, &pod(name)).await.code(201);
        }
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name }, "target": { "kind": "Node", "name": node },
        });
        client.post(&format!("{pods}/{name}/binding"), &binding).await.code(201);
    }
    client.delete(&format!("{pods}/before?gracePeriodSeconds=0")).await.code(200);
    assert_eq!(
        (mine.told().await, mine.told().await),
        ("ADDED before".to_owned(), "DELETED before".to_owned())
    );
    for told in ["ADDED other", "DELETED other", "DELETED before"] {
        assert_eq!(unbound.told().await, told);
    }
}
