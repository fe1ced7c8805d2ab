//! Manifests of both ages, from a folder that changes and from a server that answers.

use std::fs;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use skiff_base::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::manifest::{Origin, pods};
use super::{directory, url};

const V1: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: kube-system}\nspec:\n  containers:\n  \
    - {name: c, image: 'nginx:1.2', ports: [{containerPort: 80}]}\n";
const OLD: &str = "version: v1beta1\nid: Cache\ncontainers:\n  - {name: redis, image: gurpartap/redis}\n";

fn read(text: &str) -> Result<Vec<Pod>, String> {
    let clock = Clock::from_fn(|| "2026-01-02T03:04:05Z".parse().unwrap());
    pods(text.as_bytes(), &Origin::File("/m/web.yaml".to_owned()), "Node1", &clock)
}

fn names(pods: &[Pod]) -> Vec<String> {
    let mut names: Vec<String> = pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
    names.sort();
    names
}

#[test]
fn a_pod_is_finished_as_the_nodes_own() {
    let pod = read(V1).unwrap().remove(0);
    let meta = &pod.metadata;
    assert_eq!((meta.name.as_deref(), meta.namespace.as_deref()), (Some("web-node1"), Some("kube-system")));
    let uid = meta.uid.clone().unwrap();
    assert_eq!(uid.len(), 32);
    let annotations = meta.annotations.as_ref().unwrap();
    assert_eq!(annotations["kubernetes.io/config.hash"], uid);
    assert_eq!(annotations["kubernetes.io/config.source"], "file");
    assert_eq!(annotations["kubernetes.io/config.seen"], "2026-01-02T03:04:05Z");
    let spec = pod.spec.as_ref().unwrap();
    assert_eq!((spec.node_name.as_deref(), spec.restart_policy.as_deref()), (Some("Node1"), Some("Always")));
    assert_eq!(spec.containers[0].image_pull_policy.as_deref(), Some("IfNotPresent"));
    assert_eq!(read(V1).unwrap()[0].metadata.uid, pod.metadata.uid);
    assert_ne!(read(&V1.replace("1.2", "1.3")).unwrap()[0].metadata.uid, pod.metadata.uid);
}

#[test]
fn manifests_of_2014_and_lists_are_pods_too() {
    let pod = read(OLD).unwrap().remove(0);
    assert_eq!(
        (pod.metadata.name.as_deref(), pod.metadata.namespace.as_deref()),
        (Some("cache-node1"), Some("default"))
    );
    let one = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"N"},"spec":{"containers":[{"name":"c","image":"i"}]}}"#;
    let list = |names: [&str; 2]| {
        let items = names.map(|name| one.replace('N', name)).join(",");
        format!(r#"{{"apiVersion":"v1","kind":"PodList","items":[{items}]}}"#)
    };
    assert_eq!(names(&read(&list(["a", "b"])).unwrap()), ["a-node1", "b-node1"]);
    for (bad, why) in [
        ("", "no pods"),
        ("kind: Pod\napiVersion: v2\n", "apiVersion"),
        ("kind: Service\napiVersion: v1\n", "kind"),
        ("{", ""),
        (
            "kind: Pod\napiVersion: v1\nmetadata: {name: A_b}\nspec: {containers: [{name: c, image: i}]}\n",
            "metadata.name",
        ),
        ("kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec: {containers: [{name: c}]}\n", "image"),
    ] {
        let said = read(bad).unwrap_err();
        assert!(said.contains(why), "{bad}: {said}");
    }
}

#[tokio::test]
async fn a_folder_is_followed_and_a_broken_file_keeps_its_pod() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("manifests");
    let mut sets = {
        fs::create_dir(&manifests).unwrap();
        fs::write(manifests.join("web.yaml"), V1).unwrap();
        fs::write(manifests.join(".hidden.yaml"), V1).unwrap();
        directory(manifests.clone(), "node1")
    };
    assert_eq!(names(&sets.next().await.unwrap().unwrap()), ["web-node1"]);
    fs::write(manifests.join("cache.manifest"), OLD).unwrap();
    assert_eq!(names(&sets.next().await.unwrap().unwrap()), ["cache-node1", "web-node1"]);
    fs::write(manifests.join("web.yaml"), "kind: [").unwrap();
    assert_eq!(names(&sets.next().await.unwrap().unwrap()), ["cache-node1", "web-node1"]);
    fs::remove_file(manifests.join("web.yaml")).unwrap();
    assert_eq!(names(&sets.next().await.unwrap().unwrap()), ["cache-node1"]);
}

#[tokio::test]
async fn a_folder_may_come_later() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("deep/manifests");
    let mut sets = directory(manifests.clone(), "node1");
    let wait = sets.next();
    let make = async {
        // The folder is made while the source waits for it; it may first be seen empty.
        tokio::task::yield_now().await;
        fs::create_dir_all(&manifests).unwrap();
        fs::write(manifests.join("web.yaml"), V1).unwrap();
    };
    let (mut set, ()) = tokio::join!(wait, make);
    while names(set.as_ref().unwrap().as_ref().unwrap()).is_empty() {
        set = sets.next().await;
    }
    assert_eq!(names(&set.unwrap().unwrap()), ["web-node1"]);
}

#[tokio::test]
async fn a_url_is_asked_again_with_its_etag() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        let mut requests = Vec::new();
        for answer in [
            format!(
                "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{V1}",
                V1.len()
            ),
            "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n".to_owned(),
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{OLD}", OLD.len()),
        ] {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = socket.read(&mut request).await.unwrap();
            requests.push(String::from_utf8_lossy(&request[..length]).to_lowercase());
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
        requests
    };
    let mut sets = url(format!("http://{address}/pods").parse().unwrap(), "node1");
    let ask = async {
        let first = sets.next().await.unwrap().unwrap();
        // Nothing but the pause between two questions is waited for.
        tokio::time::pause();
        let second = sets.next().await.unwrap().unwrap();
        (names(&first), names(&second))
    };
    let ((first, second), requests) = tokio::join!(ask, serve);
    assert_eq!((first, second), (vec!["web-node1".to_owned()], vec!["cache-node1".to_owned()]));
    assert!(!requests[0].contains("if-none-match") && requests[1].contains("if-none-match: \"1\""));
}
