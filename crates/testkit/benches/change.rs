//! What it costs a controller that one of its many pods changes: processor time per change, all its writes included, in a
//! simulated cluster in which nothing fails.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::{Value, json};
use skiff_api::Readable;
use skiff_base::Tasks;
use skiff_controllers::{Options, Switches};
use skiff_testkit::{World, given};

/// One owner of many pods.
struct Case {
    name: &'static str,
    controller: &'static str,
    pods: usize,
    begin: fn(&World, usize),
    /// What happens to a pod that is measured.
    change: fn(&mut Value),
}

const CASES: [Case; 5] = [
    Case {
        name: "a Service over 1,000 pods (EndpointSlices): one becomes ready",
        controller: "endpointslice",
        pods: 1_000,
        begin: service,
        change: ready,
    },
    Case {
        name: "a Service over 1,000 pods (Endpoints): one becomes ready",
        controller: "endpoint",
        pods: 1_000,
        begin: service,
        change: ready,
    },
    Case {
        name: "a Job of 1,000 completions at once: one succeeds",
        controller: "job",
        pods: 1_000,
        begin: job,
        change: |pod| pod["status"]["phase"] = "Succeeded".into(),
    },
    Case {
        name: "a StatefulSet of 500 pods: one becomes ready",
        controller: "statefulset",
        pods: 500,
        begin: stateful,
        change: ready,
    },
    Case {
        name: "a DaemonSet on 1,000 nodes: one becomes ready",
        controller: "daemonset",
        pods: 1_000,
        begin: daemon,
        change: ready,
    },
];

fn put<K: Readable>(world: &World, value: Value) {
    world.put::<K>(&serde_json::from_value(value).expect("the bench's own objects are well-formed"));
}

/// As a pod of daily life: some kilobytes of it nobody asks for here.
fn template() -> Value {
    let env: Vec<Value> =
        (0..10).map(|n| json!({"name": format!("SETTING_{n}"), "value": "some text"})).collect();
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10});
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c",
        "image": "registry.example/team/app:1.2.3", "env": env, "livenessProbe": probe, "readinessProbe": probe,
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}]}], "volumes": [{"name": "data", "emptyDir": {}}]}})
}

/// A pod that runs, somewhere and at an address of its own.
fn runs(pod: &mut Value, n: usize) {
    let pinned = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0\
        /matchFields/0/values/0";
    let node = pod.pointer(pinned).cloned();
    pod["spec"]["nodeName"] = node.unwrap_or_else(|| format!("n{n}").into());
    let condition = |kind: &str| {
        json!({"type": kind, "status": if kind == "Ready" { "False" } else { "True" },
            "lastTransitionTime": "2026-11-22T10:00:00Z"})
    };
    let conditions: Vec<Value> =
        ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
            .map(condition)
            .into();
    let address = format!("10.0.{}.{}", n / 250, n % 250);
    pod["status"] = json!({"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions,
        "containerStatuses": [{"name": "c", "ready": false, "restartCount": 0, "image": "registry.example/team/app:1.2.3",
            "imageID": "sha256:0123456789abcdef", "state": {"running": {"startedAt": "2026-11-22T10:00:00Z"}}}]});
}

fn ready(pod: &mut Value) {
    pod["status"]["conditions"][2]["status"] = "True".into();
}

fn service(world: &World, pods: usize) {
    put::<Service>(
        world,
        json!({"metadata": {"name": "web", "namespace": "blue"}, "spec": {"clusterIP": "10.96.0.7",
            "ipFamilies": ["IPv4"], "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}}),
    );
    for n in 0..pods {
        let mut pod = template();
        pod["metadata"]["name"] = format!("web-{n}").into();
        pod["metadata"]["namespace"] = "blue".into();
        put::<Pod>(world, pod);
    }
}

fn job(world: &World, pods: usize) {
    put::<Job>(
        world,
        json!({"metadata": {"name": "sum", "namespace": "blue"}, "spec": {"completions": pods, "parallelism": pods,
            "completionMode": "NonIndexed", "selector": {"matchLabels": {"app": "web"}}, "template": template()}}),
    );
}

fn stateful(world: &World, pods: usize) {
    put::<StatefulSet>(
        world,
        json!({"metadata": {"name": "db", "namespace": "blue"}, "spec": {"replicas": pods, "serviceName": "db",
            "selector": {"matchLabels": {"app": "web"}}, "podManagementPolicy": "Parallel", "template": template()}}),
    );
}

fn daemon(world: &World, pods: usize) {
    (0..pods).for_each(|n| world.put(&given::node(&format!("n{n}"))));
    put::<DaemonSet>(
        world,
        json!({"metadata": {"name": "agent", "namespace": "blue"}, "spec": {"selector": {"matchLabels": {"app": "web"}},
            "template": template()}}),
    );
}

/// The time that this thread has been on a processor: whoever else is busy on the machine does not count.
fn on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.expect("Linux tells how long a thread has run"))
}

/// How many changes are measured, one after the other.
const CHANGES: usize = 50;

async fn measure(case: &Case) -> Duration {
    let (world, tasks) = (World::new(1), Tasks::new());
    world.calm();
    (case.begin)(&world, case.pods);
    let mut options = Options::over(world.link());
    options.switches =
        Switches::parse([case.controller]).expect("the bench names controllers that there are");
    options.clock = world.clock();
    skiff_controllers::build(options).run(&tasks);
    let names = || -> Vec<String> {
        let pods = world.look(|truth| truth.all::<Pod>());
        pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect()
    };
    while names().len() < case.pods {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let names = names();
    for (n, name) in names.iter().enumerate() {
        world.edit::<Pod>("blue", name, |pod| runs(pod, n));
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    let before = on_processor();
    for name in names.iter().take(CHANGES) {
        world.edit::<Pod>("blue", name, case.change);
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let took = on_processor() - before;
    tasks.stop();
    took / u32::try_from(CHANGES).unwrap_or(1)
}

fn main() {
    let mut out = std::io::stdout();
    for case in &CASES {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime of one thread");
        let took = runtime.block_on(measure(case));
        // A closed pipe ends the benchmark's only purpose.
        let _closed = std::io::Write::write_all(&mut out, format!("{}: {took:.1?}\n", case.name).as_bytes());
    }
}
