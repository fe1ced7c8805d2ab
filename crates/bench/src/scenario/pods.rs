//! Real pods: from POST to Running, from DELETE to gone, exec; and the floor that containerd sets for each.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::FutureExt;
use futures::future::try_join_all;
use http::Method;
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::json;

use super::Row;
use crate::cluster::{Cluster, Role};
use crate::connection::{Call, Watch};
use crate::cri::{self, Cri};
use crate::exec;
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::procs;
use crate::report::{Figure, duration, row};
use crate::sample::{Sample, each};

pub(crate) const SCENARIO: Row = Row {
    name: "pods",
    about: "real pods, and containerd's floor below them",
    run: |lab| run(lab).boxed_local(),
};

const IMAGE: &str = "docker.io/library/busybox:latest";
/// As the first process of a container it does not hear SIGTERM.
const DEAF: &[&str] = &["sleep", "3600"];
/// Ends at once when asked to.
const OBEDIENT: &[&str] = &["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"];
const PATIENCE: Duration = Duration::from_secs(120);

async fn run(lab: &Lab) -> anyhow::Result<()> {
    let mut cluster = lab.cluster(Role::Node).await?;
    let node = cluster.node_ready().await?;
    if lab.args.data_dir.is_none() && lab.args.kubeconfig.is_none() {
        let archive = lab.args.image.display().to_string();
        cluster
            .skiff(&["image", "import", &archive])
            .context("import the image (cargo xtask images makes it)")?;
    }
    let namespace = Namespace::make(&cluster).await?;
    let outcome = through_the_api(lab, &cluster, &namespace).await;
    outcome.and(namespace.remove(&cluster).await)?;
    let Ok(socket) = cluster.runtime_socket(&node) else { return Ok(()) };
    if lab.args.data_dir.is_none() {
        // Its containerd goes on; the kubelet shall not take our sandboxes for orphans.
        cluster.stop(Signal::TERM)?;
    }
    let logs = socket.with_file_name("bench-logs");
    let outcome = floor(lab, &Cri::at(&socket, &logs)).boxed_local().await;
    cri::remove_cgroups();
    // Made by the runtime, if at all.
    let _absent = std::fs::remove_dir_all(logs);
    outcome
}

async fn through_the_api(lab: &Lab, cluster: &Cluster, namespace: &Namespace) -> anyhow::Result<()> {
    let mut pods = Pods::open(cluster, namespace).await?;
    // The first pays for what is set up once: cgroups, the bridge, caches.
    pods.start(&["warm".to_owned()], DEAF).await?;
    pods.delete(&["warm".to_owned()]).await?;

    let one_by_one = lab.count(20, 3);
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    let (mut start_cost, mut end_cost) = (Cost::default(), Cost::default());
    for number in 0..one_by_one {
        let name = vec![format!("one-{number}")];
        let meter = Cost::begin(cluster)?;
        starts.extend(pods.start(&name, DEAF).await?);
        start_cost.add(&meter.end()?);
        let meter = Cost::begin(cluster)?;
        ends.extend(pods.delete(&name).await?);
        end_cost.add(&meter.end()?);
    }
    tell("POST of a pod to Running, one by one", starts, start_cost, None);
    tell("DELETE with grace 1 s to gone", ends, end_cost, None);
    let (mut ends, mut end_cost) = (Vec::new(), Cost::default());
    for number in 0..lab.count(10, 2) {
        let name = vec![format!("obedient-{number}")];
        pods.start(&name, OBEDIENT).await?;
        let meter = Cost::begin(cluster)?;
        ends.extend(pods.delete(&name).await?);
        end_cost.add(&meter.end()?);
    }
    tell("DELETE of a pod that ends at SIGTERM, to gone", ends, end_cost, None);

    let names: Vec<String> = (0..lab.count(30, 4)).map(|number| format!("many-{number}")).collect();
    let (begin, meter) = (Instant::now(), Cost::begin(cluster)?);
    let starts = pods.start(&names, DEAF).await?;
    tell(
        &format!("POST of {} pods at once to Running", names.len()),
        starts,
        meter.end()?,
        Some(begin.elapsed()),
    );
    execs(lab, cluster, namespace, &names[0]).await?;
    let (begin, meter) = (Instant::now(), Cost::begin(cluster)?);
    let ends = pods.delete(&names).await?;
    tell(
        &format!("DELETE of {} pods at once, grace 1 s", names.len()),
        ends,
        meter.end()?,
        Some(begin.elapsed()),
    );
    Ok(())
}

async fn execs(lab: &Lab, cluster: &Cluster, namespace: &Namespace, pod: &str) -> anyhow::Result<()> {
    let path = namespace.path(&format!("pods/{pod}"));
    exec::run_true(cluster, &path).await?;
    let (mut latencies, mut cost) = (Vec::new(), Cost::default());
    for _ in 0..lab.count(30, 3) {
        let meter = Cost::begin(cluster)?;
        latencies.push(exec::run_true(cluster, &path).await?);
        cost.add(&meter.end()?);
    }
    tell("exec of `true` through the API", latencies, cost, None);
    let kubeconfig = match (&lab.args.kubeconfig, &cluster.dir) {
        (Some(path), _) => path.clone(),
        (None, Some(dir)) => dir.join("kubeconfig"),
        (None, None) => bail!("no kubeconfig is known"),
    };
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..lab.count(10, 2) {
        with.push(kubectl(&kubeconfig, &["exec", "-n", &namespace.name, pod, "--", "true"]).await?);
        without.push(kubectl(&kubeconfig, &["get", "--raw", "/readyz"]).await?);
    }
    let bare = Sample::new(without).median().map(duration).unwrap_or_default();
    let note = format!("of which a kubectl that only reads /readyz takes {bare}");
    let sample = Sample::new(with);
    row(&Figure {
        median: sample.median(),
        p99: sample.percentile(99.0),
        ..Figure::new("kubectl exec of `true`").note(note)
    });
    Ok(())
}

async fn kubectl(kubeconfig: &Path, words: &[&str]) -> anyhow::Result<Duration> {
    let kubeconfig = kubeconfig.display().to_string();
    let args = ["--kubeconfig", &kubeconfig].into_iter().chain(words.iter().copied());
    let begin = Instant::now();
    skiff_base::command::run("kubectl", args, b"", PATIENCE).await?;
    Ok(begin.elapsed())
}

async fn floor(lab: &Lab, cri: &Cri) -> anyhow::Result<()> {
    let image = cri.image(IMAGE).await?;
    let warm = cri.start(0, &image).await?;
    let mut execs = Vec::new();
    for _ in 0..lab.count(30, 3) {
        execs.push(cri.run_true(&warm).await?);
    }
    cri.remove(warm).await?;
    let (mut starts, mut sandboxes, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    let (mut start_cost, mut end_cost) = (Cost::default(), Cost::default());
    for number in 1..=lab.count(20, 3) {
        let meter = Cost::begin_machine()?;
        let pod = cri.start(number, &image).await?;
        start_cost.add(&meter.end()?);
        starts.push(pod.took);
        sandboxes.push(pod.sandbox_took);
        let meter = Cost::begin_machine()?;
        ends.push(cri.remove(pod).await?);
        end_cost.add(&meter.end()?);
    }
    let sandbox = Sample::new(sandboxes).median().map(duration).unwrap_or_default();
    tell_with(
        "floor: sandbox and container by CRI, one by one",
        starts,
        start_cost,
        None,
        &format!("the sandbox {sandbox}"),
    );
    tell("floor: stop with grace 1 s and remove by CRI", ends, end_cost, None);
    tell("floor: ExecSync of `true` by CRI", execs, Cost::default(), None);
    let count = lab.count(30, 4);
    let (begin, meter) = (Instant::now(), Cost::begin_machine()?);
    let all = try_join_all((0..count).map(|number| cri.start(100 + number, &image))).await?;
    let (wall, cost) = (begin.elapsed(), meter.end()?);
    let starts = all.iter().map(|pod| pod.took).collect();
    tell(&format!("floor: {count} sandboxes and containers at once by CRI"), starts, cost, Some(wall));
    try_join_all(all.into_iter().map(|pod| cri.remove(pod))).await?;
    Ok(())
}

fn tell(name: &str, latencies: Vec<Duration>, cost: Cost, wall: Option<Duration>) {
    tell_with(name, latencies, cost, wall, "");
}

fn tell_with(name: &str, latencies: Vec<Duration>, cost: Cost, wall: Option<Duration>, remark: &str) {
    let sample = Sample::new(latencies);
    let mut notes = vec![format!("{} of them", sample.len())];
    notes.extend(sample.max().map(|most| format!("slowest {}", duration(most))));
    notes.extend(wall.map(|wall| format!("all after {}", duration(wall))));
    if cost.machine > Duration::ZERO {
        notes.extend(
            each(cost.machine, sample.len()).map(|cpu| format!("whole machine's CPU {} each", duration(cpu))),
        );
    }
    if !remark.is_empty() {
        notes.push(remark.to_owned());
    }
    let cpu = if cost.server > Duration::ZERO { each(cost.server, sample.len()) } else { None };
    row(&Figure {
        rate: wall.map(|wall| sample.len() as f64 / wall.as_secs_f64()),
        median: sample.median(),
        p99: None,
        cpu,
        ..Figure::new(name).note(notes.join(", "))
    });
}

/// CPU of the server (kubelet included) and of the whole machine (runtime, shims, CNI and we ourselves included).
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    server: Duration,
    machine: Duration,
}

/// A cost that is being counted.
struct Counting<'a> {
    pids: &'a [u32],
    server: Duration,
    machine: Duration,
}

impl Cost {
    fn begin(cluster: &Cluster) -> anyhow::Result<Counting<'_>> {
        Ok(Counting { pids: &cluster.pids, server: procs::cpu(&cluster.pids)?, machine: procs::machine()? })
    }

    fn begin_machine() -> anyhow::Result<Counting<'static>> {
        Ok(Counting { pids: &[], server: Duration::ZERO, machine: procs::machine()? })
    }

    fn add(&mut self, more: &Self) {
        self.server += more.server;
        self.machine += more.machine;
    }
}

impl Counting<'_> {
    fn end(&self) -> anyhow::Result<Cost> {
        Ok(Cost {
            server: procs::cpu(self.pids)?.saturating_sub(self.server),
            machine: procs::machine()?.saturating_sub(self.machine),
        })
    }
}

/// As much of an event as we wait for.
#[derive(Deserialize)]
struct Event {
    r#type: String,
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    phase: String,
}

/// Pods that are made and unmade, seen by one watch.
struct Pods<'a> {
    cluster: &'a Cluster,
    namespace: &'a Namespace,
    watch: Watch,
}

impl<'a> Pods<'a> {
    async fn open(cluster: &'a Cluster, namespace: &'a Namespace) -> anyhow::Result<Self> {
        let watch = cluster.connect().await?.watch(&namespace.path("pods?watch=true")).await?;
        Ok(Self { cluster, namespace, watch })
    }

    /// Posts pods at once; how long each took to be seen Running.
    async fn start(&mut self, names: &[String], command: &[&str]) -> anyhow::Result<Vec<Duration>> {
        let call = |name: &String| {
            let pod = json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "sleep",
                        "image": IMAGE,
                        "imagePullPolicy": "Never",
                        "command": command,
                    }],
                },
            });
            Call::new(Method::POST, self.namespace.path("pods")).body(pod.to_string())
        };
        let calls = names.iter().map(call).collect();
        let running = |event: &Event| match event.object.status.phase.as_str() {
            "Failed" | "Succeeded" => bail!("pod {} ended", event.object.metadata.name),
            phase => Ok(phase == "Running"),
        };
        self.all(names, calls, running).await
    }

    /// Deletes pods at once with a second of grace; how long each took to be seen gone.
    async fn delete(&mut self, names: &[String]) -> anyhow::Result<Vec<Duration>> {
        let options =
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 1}).to_string();
        let call = |name: &String| {
            Call::new(Method::DELETE, self.namespace.path(&format!("pods/{name}"))).body(options.clone())
        };
        let calls = names.iter().map(call).collect();
        self.all(names, calls, |event| Ok(event.r#type == "DELETED")).await
    }

    /// Sends all calls, each on a connection of its own, and waits until each pod is as wanted.
    async fn all(
        &mut self,
        names: &[String],
        calls: Vec<Call>,
        done: impl Fn(&Event) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Vec<Duration>> {
        let cluster = self.cluster;
        let connections = try_join_all(names.iter().map(|_| cluster.connect())).await?;
        let sends = connections.into_iter().zip(calls).map(|(mut connection, call)| async move {
            let begin = Instant::now();
            connection.call(call).await?;
            anyhow::Ok(begin)
        });
        let watch = &mut self.watch;
        let see = async {
            let mut seen = BTreeMap::new();
            while seen.len() < names.len() {
                let line = watch.next().await?;
                let at = Instant::now();
                let event: Event = serde_json::from_slice(&line)
                    .with_context(|| format!("read an event: {}", String::from_utf8_lossy(&line)))?;
                if names.contains(&event.object.metadata.name) && done(&event)? {
                    seen.entry(event.object.metadata.name).or_insert(at);
                }
            }
            Ok(seen)
        };
        let see =
            async { tokio::time::timeout(PATIENCE, see).await.context("not all pods got there in time")? };
        let (begins, seen) = futures::future::try_join(try_join_all(sends), see).await?;
        let times = names.iter().zip(begins);
        Ok(times.filter_map(|(name, begin)| Some(seen.get(name)?.saturating_duration_since(begin))).collect())
    }
}
