//! Feeds over both links, and over a line that breaks.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use skiff_base::Tasks;
use skiff_client::write::{self, Patch, Place};
use skiff_client::{Delta, Feed, Topic};
use skiff_testkit::{Cluster, given, links};
use tokio::net::{TcpListener, TcpStream};

/// The next delta in few words.
async fn next(feed: &mut Feed) -> String {
    let delta = tokio::time::timeout(std::time::Duration::from_secs(20), feed.next()).await;
    match delta.expect("a delta comes").expect("feeds do not end") {
        Delta::Reset(objects) => {
            let mut names: Vec<String> = objects.iter().map(|o| o.meta().key().to_string()).collect();
            names.sort();
            format!("reset {}", names.join(" "))
        }
        Delta::Put(object) => format!("put {} {:?}", object.meta().key(), object.meta().labels.get("x")),
        Delta::Gone(object) => format!("gone {}", object.meta().key()),
    }
}

fn map(name: &str, label: &str) -> ConfigMap {
    given::yaml(&format!("metadata: {{name: {name}, namespace: default, labels: {{x: {label}}}}}"))
}

async fn relabel(cluster: &Cluster, name: &str, label: &str) {
    let body = serde_json::json!({ "metadata": { "labels": { "x": label } } });
    let place = Place::of(&map(name, label));
    write::patch::<ConfigMap>(&cluster.link(), &place, Patch::Merge, &body).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_tells_what_is_there_and_then_every_change() {
    links::over_both(|cluster: Arc<Cluster>, link| async move {
        cluster.create(map("a", "1")).await;
        let mut feed = link.feed(&Topic::of::<ConfigMap>().namespace("default"));
        assert_eq!(next(&mut feed).await, "reset default/a");
        let b = cluster.create(map("b", "1")).await;
        assert_eq!(next(&mut feed).await, "put default/b Some(\"1\")");
        relabel(&cluster, "a", "2").await;
        assert_eq!(next(&mut feed).await, "put default/a Some(\"2\")");
        cluster.delete(&b, "Background").await;
        assert_eq!(next(&mut feed).await, "gone default/b");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn selectors_narrow_a_feed_and_what_leaves_them_is_gone() {
    links::over_both(|cluster: Arc<Cluster>, link| async move {
        let mut feed = link.feed(&Topic::of::<ConfigMap>().labels("x=1"));
        assert_eq!(next(&mut feed).await, "reset ");
        cluster.create(map("other", "2")).await;
        cluster.create(map("a", "1")).await;
        assert_eq!(next(&mut feed).await, "put default/a Some(\"1\")");
        relabel(&cluster, "a", "2").await;
        assert_eq!(next(&mut feed).await, "gone default/a");
        relabel(&cluster, "other", "1").await;
        assert_eq!(next(&mut feed).await, "put default/other Some(\"1\")");
        let mut pods = link.feed(&Topic::of::<Pod>().fields("spec.nodeName=one"));
        assert_eq!(next(&mut pods).await, "reset ");
        let mut pod = given::pod("default", "p");
        pod.spec.as_mut().unwrap().node_name = Some("one".to_owned());
        cluster.create(pod).await;
        assert_eq!(next(&mut pods).await, "put default/p None");
    })
    .await;
}

/// Passes bytes to `to` until the group stops; the address to connect to.
async fn proxy(socket: TcpListener, to: std::net::SocketAddr, tasks: Tasks) {
    while let Ok((mut near, _)) = socket.accept().await {
        tasks.spawn_until_stop(async move {
            if let Ok(mut far) = TcpStream::connect(to).await {
                let _broken = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_outlives_its_connection_and_misses_nothing() {
    let cluster = Cluster::start().await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let line = Tasks::new();
    line.spawn_until_stop(proxy(socket, cluster.address(), line.clone()));
    let link = cluster.remote_at(address);
    let mut feed = link.feed(&Topic::of::<ConfigMap>().namespace("default"));
    assert_eq!(next(&mut feed).await, "reset ");
    cluster.create(map("a", "1")).await;
    assert_eq!(next(&mut feed).await, "put default/a Some(\"1\")");
    // The line breaks, the world goes on, the line is mended.
    assert!(line.drain(std::time::Duration::from_secs(5)).await);
    cluster.create(map("b", "1")).await;
    let socket = TcpListener::bind(address).await.unwrap();
    cluster.tasks().spawn_until_stop(proxy(socket, cluster.address(), cluster.tasks().clone()));
    assert_eq!(next(&mut feed).await, "put default/b Some(\"1\")");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_begins_when_its_reader_may_list_and_watch_and_not_before() {
    let cluster = Cluster::start().await;
    cluster.create(map("a", "1")).await;
    let near = cluster.linker()(skiff_apiserver::User::new("ann", Vec::<String>::new()));
    let mut feed = near.feed(&Topic::of::<ConfigMap>().namespace("default"));
    let role: ClusterRole = given::yaml(
        "{metadata: {name: ann}, rules: [{apiGroups: [''], resources: [configmaps], verbs: [list]}]}",
    );
    let binding: ClusterRoleBinding = given::yaml(
        "{metadata: {name: ann}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ann}, subjects: \
         [{kind: User, apiGroup: rbac.authorization.k8s.io, name: ann}]}",
    );
    let role = cluster.create(role).await;
    cluster.create(binding).await;
    // To list is not enough.
    assert!(futures::FutureExt::now_or_never(feed.next()).is_none());
    let body = serde_json::json!({ "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"] }] });
    write::patch::<ClusterRole>(&cluster.link(), &Place::of(&role), Patch::Merge, &body).await.unwrap();
    assert_eq!(next(&mut feed).await, "reset default/a");
    cluster.create(map("b", "1")).await;
    assert_eq!(next(&mut feed).await, "put default/b Some(\"1\")");
    cluster.stop().await;
}
