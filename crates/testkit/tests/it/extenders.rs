//! A scheduler with an extender over loopback, both over a real server.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use parking_lot::Mutex;
use serde_json::{Value, json};
use skiff_api::pod::conditions;
use skiff_apiserver::User;
use skiff_client::Link;
use skiff_client::write::{self, Place};
use skiff_scheduler::{Configuration, Options, Scheduler};
use skiff_testkit::{Cluster, given};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::is_bound;

/// Leaves out node `one`, likes `three` best, agrees to who is to make room, and binds by itself.
struct Extender {
    link: Link,
    asked: Mutex<Vec<String>>,
}

impl Extender {
    async fn answer(&self, verb: &str, question: &Value) -> Value {
        self.asked.lock().push(verb.to_owned());
        let names: Vec<&str> =
            question["NodeNames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        match verb {
            "/filter" => {
                let left: Vec<&str> = names.iter().copied().filter(|name| *name != "one").collect();
                json!({"NodeNames": left, "FailedNodes": {"one": "node(s) are not to be had"}})
            }
            "/prioritize" => {
                let score =
                    |name: &&str| json!({"Host": name, "Score": if *name == "three" { 10 } else { 0 }});
                names.iter().map(score).collect()
            }
            "/preempt" => json!({"NodeNameToMetaVictims": question["NodeNameToMetaVictims"]}),
            _ => {
                let (name, node) = (&question["PodName"], &question["Node"]);
                let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                    "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
                let path = format!("/api/v1/namespaces/default/pods/{}/binding", name.as_str().unwrap());
                let request = http::Request::post(path).header("content-type", "application/json");
                let request = request.body(binding.to_string().into_bytes()).unwrap();
                match self.link.client().request::<Value>(request).await {
                    Ok(_) => json!({}),
                    Err(error) => json!({"Error": error.to_string()}),
                }
            }
        }
    }

    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let (mut line, mut path, mut length) = (String::new(), String::new(), 0);
        while stream.read_line(&mut line).await.unwrap_or(0) > 2 {
            if let Some(rest) = line.strip_prefix("POST ") {
                path = rest.split(' ').next().unwrap_or_default().to_owned();
            }
            if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = number.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let text = self.answer(&path, &serde_json::from_slice(&body).unwrap()).await.to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
        stream.write_all(format!("{head}{text}").as_bytes()).await.unwrap();
    }
}

/// A cluster whose scheduler has the extender for pods that ask for its resource.
async fn cluster(nodes: &[&str], more: &str) -> (Cluster, Arc<Extender>) {
    let cluster = Cluster::start().await;
    let extender = Arc::new(Extender { link: cluster.link(), asked: Mutex::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = Arc::clone(&extender);
    cluster.tasks().spawn_until_stop(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serving.serve(stream).await;
        }
    });
    let configuration = format!(
        "{{apiVersion: kubescheduler.config.k8s.io/v1, kind: KubeSchedulerConfiguration, extenders: [{{
        urlPrefix: 'http://{address}/', filterVerb: filter, prioritizeVerb: prioritize, preemptVerb: preempt, bindVerb: bind, weight: 5,
        nodeCacheCapable: true, managedResources: [{{name: example.com/gpu, ignoredByScheduler: true}}]}}{more}]}}"
    );
    let link = cluster.linker()(User::new("system:kube-scheduler", Vec::<String>::new()));
    let configuration = Configuration::parse(configuration.as_bytes()).unwrap();
    Scheduler::build(Options { configuration, ..Options::new(link) }).run(cluster.tasks());
    skiff_controllers::build(skiff_controllers::Options::over(cluster.link())).run(cluster.tasks());
    for name in nodes {
        cluster.create(given::node(name)).await;
    }
    let free =
        |node: &Node| node.spec.as_ref().is_none_or(|spec| spec.taints.as_ref().is_none_or(Vec::is_empty));
    cluster.until::<Node>(|all| all.len() == nodes.len() && all.iter().all(|node| free(node))).await;
    (cluster, extender)
}

fn wanting(name: &str, resource: &str) -> Pod {
    given::yaml(&format!(
        "{{metadata: {{name: {name}, namespace: default}}, spec: {{containers: [{{name: c, image: app,
        resources: {{requests: {{{resource}: '1'}}, limits: {{{resource}: '1'}}}}}}]}}}}"
    ))
}

fn says(pod: &Pod, words: &str) -> bool {
    let condition = conditions::find(pod, conditions::SCHEDULED);
    condition.and_then(|it| it.message.as_deref()).is_some_and(|message| message.contains(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extender_filters_weighs_and_binds_the_pods_that_it_is_interested_in() {
    let (cluster, extender) = cluster(&["one", "two", "three"], "").await;
    for name in ["a", "b"] {
        cluster.create(wanting(name, "example.com/gpu")).await;
    }
    let on = |pod: &Pod| skiff_api::pod::node_name(pod).map(str::to_owned);
    let pods = cluster.until::<Pod>(|pods| pods.len() == 2 && pods.iter().all(|pod| is_bound(pod))).await;
    assert!(pods.iter().all(|pod| on(pod).as_deref() == Some("three")), "it likes that node best");
    let mut asked = std::mem::take(&mut *extender.asked.lock());
    asked.sort_unstable();
    assert_eq!(asked, ["/bind", "/bind", "/filter", "/filter", "/prioritize", "/prioritize"]);
    cluster.create(wanting("plain", "cpu")).await;
    cluster.until::<Pod>(|pods| pods.len() == 3 && pods.iter().all(|pod| is_bound(pod))).await;
    assert!(extender.asked.lock().is_empty(), "that pod is nothing to it");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_an_extender_leaves_no_node_says_why_and_is_tried_again() {
    let (cluster, _) = cluster(&["one"], "").await;
    cluster.create(wanting("a", "example.com/gpu")).await;
    let why = "0/1 nodes are available: 1 node(s) are not to be had.";
    cluster.until::<Pod>(|pods| pods.iter().any(|pod| says(pod, why))).await;
    cluster.create(given::node("two")).await;
    cluster.until::<Pod>(|pods| pods.iter().all(|pod| is_bound(pod))).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extender_that_cannot_be_reached_stops_its_own_pods_unless_it_is_ignorable() {
    let nobody = |ignorable: bool| {
        format!(
            ", {{urlPrefix: 'http://127.0.0.1:1', filterVerb: f, ignorable: {ignorable}, managedResources: [{{name: example.com/tpu}}]}}"
        )
    };
    for ignorable in [false, true] {
        let (cluster, _) = cluster(&["one"], &nobody(ignorable)).await;
        let mut node = given::node("two");
        let tpus = || given::yaml("{cpu: '4', memory: 8Gi, pods: '10', example.com/tpu: '1'}");
        let status = node.status.as_mut().unwrap();
        (status.allocatable, status.capacity) = (Some(tpus()), Some(tpus()));
        cluster.create(node).await;
        cluster.create(wanting("a", "example.com/tpu")).await;
        cluster.create(wanting("plain", "cpu")).await;
        let named = |pod: &Pod, name: &str| pod.metadata.name.as_deref() == Some(name);
        cluster.until::<Pod>(|pods| pods.iter().any(|pod| named(pod, "plain") && is_bound(pod))).await;
        if ignorable {
            cluster.until::<Pod>(|pods| pods.iter().all(|pod| is_bound(pod))).await;
        } else {
            let why = "Post \"http://127.0.0.1:1/f\": ";
            cluster.until::<Pod>(|pods| pods.iter().any(|pod| named(pod, "a") && says(pod, why))).await;
        }
        cluster.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_make_room_where_the_extender_agrees() {
    let (cluster, extender) = cluster(&["two"], "").await;
    let with_port = |mut pod: Pod| {
        let ports = "[{containerPort: 80, hostPort: 80}]";
        pod.spec.as_mut().unwrap().containers[0].ports = Some(given::yaml(ports));
        pod
    };
    cluster.create(with_port(wanting("low", "cpu"))).await;
    let pods = cluster.until::<Pod>(|pods| pods.iter().all(|pod| is_bound(pod))).await;
    assert!(extender.asked.lock().is_empty());
    let mut high = with_port(wanting("high", "example.com/gpu"));
    high.spec.as_mut().unwrap().priority_class_name = Some("system-node-critical".to_owned());
    cluster.create(high).await;
    cluster.until::<Pod>(|pods| pods.iter().any(|pod| pod.metadata.deletion_timestamp.is_some())).await;
    assert_eq!(*extender.asked.lock(), ["/preempt"]);
    // The node agent, which is not there, would end it now.
    let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    write::delete(&cluster.link(), &Place::of(&*pods[0]), &options).await.unwrap();
    cluster.until::<Pod>(|pods| pods.len() == 1 && is_bound(&pods[0])).await;
    cluster.stop().await;
}
