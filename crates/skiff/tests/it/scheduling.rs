//! Hollow nodes under the real binary: groups of Coscheduling go together or not at all, and an extender has its say.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

use crate::support::{Cluster, words};

const CONFIGURATION: &str = "
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- plugins:
    multiPoint: {enabled: [{name: Coscheduling}], disabled: [{name: PrioritySort}]}
  pluginConfig: [{name: Coscheduling, args: {permitWaitingTimeSeconds: 3}}]
";

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: podgroups.scheduling.x-k8s.io
  annotations: {api-approved.kubernetes.io: 'https://github.com/kubernetes-sigs/scheduler-plugins/pull/50'}
spec:
  group: scheduling.x-k8s.io
  scope: Namespaced
  names: {plural: podgroups, singular: podgroup, kind: PodGroup, shortNames: [pg]}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {minMember: {type: integer}, scheduleTimeoutSeconds: {type: integer}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
";

const GROUP: &str = "
apiVersion: scheduling.x-k8s.io/v1alpha1
kind: PodGroup
metadata: {name: crew}
spec: {minMember: 3}
";

/// A pod of the crew that fills a hollow node; it is held back by a gate.
fn pod(name: &str, gate: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{scheduling.x-k8s.io/pod-group: crew}}}}
spec:
  nodeSelector: {{kind: hollow}}
  schedulingGates: [{gate}]
  containers: [{{name: c, image: busybox, resources: {{requests: {{cpu: '3'}}}}}}]
"
    )
}

/// Hollow nodes, until this is dropped.
pub(crate) struct Hollow(Child);

impl Hollow {
    pub(crate) fn up(cluster: &Cluster, nodes: &str) -> Self {
        let mut child = cluster
            .inside(env!("CARGO_BIN_EXE_skiff"))
            .args([
                "hollow",
                "--nodes",
                nodes,
                "--resources",
                "cpu=4,memory=8Gi,pods=10",
                "--labels",
                "kind=hollow",
            ])
            .arg("--kubeconfig")
            .arg(cluster.dir().join("kubeconfig"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self(child)
    }
}

impl Drop for Hollow {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// A cluster whose scheduler is configured so.
fn configured(configuration: &str) -> Cluster {
    let file = std::env::temp_dir().join(format!("skiff-e2e-scheduling-{}.yaml", std::process::id()));
    std::fs::write(&file, configuration).unwrap();
    let cluster = Cluster::up(&["--node-name", "solo", "--scheduler-config", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    cluster
}

#[test]
fn a_group_goes_together_or_gives_its_room_back() {
    let cluster = configured(CONFIGURATION);
    let _hollow = Hollow::up(&cluster, "3");
    for manifest in [DEFINITION, GROUP] {
        if manifest == GROUP {
            let established = "--for=condition=Established";
            cluster.kubectl(&["wait", "crd/podgroups.scheduling.x-k8s.io", established, "--timeout=60s"]);
        }
        cluster.kubectl_with(&["apply", "-f", "-"], manifest);
    }
    // Two of three: both wait with their room until it has been too long.
    cluster.kubectl_with(&["apply", "-f", "-"], &pod("c", "{name: example.com/wait}"));
    for name in ["a", "b"] {
        cluster.kubectl_with(&["apply", "-f", "-"], &pod(name, ""));
    }
    let late = "0/1 nodes are available: 1 rejected due to timeout after waiting 3s at plugin Coscheduling.";
    cluster.watch_until(
        &["events", "-o", "custom-columns=REASON:.reason,MESSAGE:.message", "--no-headers"],
        |line| line.starts_with("FailedScheduling") && line.contains(late),
    );
    assert_eq!(cluster.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}"]), "");
    // The third may go, and takes the others along.
    let free = ["patch", "pod", "c", "--type=merge", "-p", r#"{"spec":{"schedulingGates":null}}"#];
    let freed = cluster.try_kubectl(&free);
    assert!(freed.status.success(), "{}", words(&freed));
    for name in ["a", "b", "c"] {
        cluster.kubectl(&["wait", &format!("pod/{name}"), "--for=condition=Ready", "--timeout=60s"]);
    }
}

const EXTENDED: &str = "
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
extenders:
- urlPrefix: http://127.0.0.1:7777/scheduler
  filterVerb: filter
  prioritizeVerb: prioritize
  weight: 5
  bindVerb: bind
  nodeCacheCapable: true
  managedResources: [{name: example.com/gpu, ignoredByScheduler: true}]
";

/// An extender on the cluster's loopback: it leaves the last two hollow nodes, likes the last best, and binds with kubectl.
fn extend(cluster: &Cluster) {
    let netns = format!("/run/netns/{}", cluster.netns());
    let kubeconfig = cluster.dir().join("kubeconfig");
    let (ready, listens) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let file = File::open(netns).unwrap();
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:7777").unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            answer(stream.unwrap(), &kubeconfig);
        }
    });
    listens.recv().unwrap();
}

fn answer(stream: TcpStream, kubeconfig: &Path) {
    let mut stream = BufReader::new(stream);
    let (mut line, mut path, mut length) = (String::new(), String::new(), 0);
    while stream.read_line(&mut line).unwrap() > 2 {
        if let Some(rest) = line.strip_prefix("POST ") {
            path = rest.split(' ').next().unwrap().to_owned();
        }
        if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let question: Value = serde_json::from_slice(&body).unwrap();
    let names: Vec<&str> =
        question["NodeNames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let answer = match path.as_str() {
        "/scheduler/filter" => {
            let left: Vec<&&str> =
                names.iter().filter(|name| ["hollow-1", "hollow-2"].contains(*name)).collect();
            json!({"NodeNames": left, "FailedNodes": {"solo": "no", "hollow-0": "no"}, "Error": ""})
        }
        "/scheduler/prioritize" => {
            let score =
                |name: &&str| json!({"Host": name, "Score": if *name == "hollow-2" { 10 } else { 1 }});
            names.iter().map(score).collect()
        }
        "/scheduler/bind" => bind(&question, kubeconfig),
        other => panic!("nobody asks for {other}"),
    };
    let text = answer.to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
    stream.get_mut().write_all(format!("{head}{text}").as_bytes()).unwrap();
}

fn bind(question: &Value, kubeconfig: &Path) -> Value {
    let (name, space) = (question["PodName"].as_str().unwrap(), question["PodNamespace"].as_str().unwrap());
    let binding = json!({"apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": name, "annotations": {"example.com/bound-by": "extender"}},
        "target": {"apiVersion": "v1", "kind": "Node", "name": question["Node"]}});
    let path = format!("/api/v1/namespaces/{space}/pods/{name}/binding");
    let mut child = Command::new("kubectl")
        .args(["create", "--raw", &path, "-f", "-"])
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(binding.to_string().as_bytes()).unwrap();
    let error = if child.wait().unwrap().success() { "" } else { "kubectl failed" };
    json!({"Error": error})
}

#[test]
fn an_extender_filters_weighs_and_binds() {
    let cluster = configured(EXTENDED);
    let _hollow = Hollow::up(&cluster, "3");
    extend(&cluster);
    let pod = "
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers: [{name: c, image: busybox, resources: {limits: {example.com/gpu: 1}}}]
";
    cluster.kubectl_with(&["apply", "-f", "-"], pod);
    cluster.kubectl(&["wait", "pod/a", "--for=condition=Ready", "--timeout=60s"]);
    let told = cluster.kubectl(&[
        "get",
        "pod",
        "a",
        "-o",
        r"jsonpath={.spec.nodeName} {.metadata.annotations.example\.com/bound-by}",
    ]);
    assert_eq!(told, "hollow-2 extender");
}
