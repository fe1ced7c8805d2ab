//! Hollow nodes under the real binary: groups of Coscheduling go together or not at all.

use std::io::BufRead;
use std::process::{Child, Stdio};

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
struct Hollow(Child);

impl Hollow {
    fn up(cluster: &Cluster, nodes: &str) -> Self {
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

#[test]
fn a_group_goes_together_or_gives_its_room_back() {
    let file = std::env::temp_dir().join(format!("skiff-e2e-scheduling-{}.yaml", std::process::id()));
    std::fs::write(&file, CONFIGURATION).unwrap();
    let cluster = Cluster::up(&["--node-name", "solo", "--scheduler-config", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
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
