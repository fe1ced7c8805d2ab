//! Real pods: from POST to Running, from DELETE to gone, exec; and the floor that containerd sets for each.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::FutureExt;
use futures::future::try_join_all;

use super::Row;
use crate::cluster::{Cluster, Role};
use crate::cri::Cri;
use crate::exec;
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::report::{Figure, duration, row};
use crate::sample::{Sample, each, median};
use api::Pods;
use cost::Cost;

mod api;
mod cost;

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
    let cluster = lab.cluster(Role::Node).await?;
    let node = cluster.node_ready().await?;
    if lab.args.data_dir.is_none() && lab.args.kubeconfig.is_none() {
        let archive = lab.args.image.display().to_string();
        cluster
            .skiff(&["image", "import", &archive])
            .context("import the image (cargo xtask images makes it)")?;
    }
    let floor = cluster.runtime_socket(&node).ok().map(|socket| Cri::at(&socket));
    let namespace = Namespace::make(&cluster).await?;
    let outcome = measure(lab, &cluster, &namespace, floor.as_ref()).boxed_local().await;
    // Also after a failure; the failure is what is told.
    if let Some(floor) = floor {
        floor.clear().await.context("remove the floor's pods")?;
    }
    outcome.and(namespace.remove(&cluster).await)
}

async fn measure(
    lab: &Lab,
    cluster: &Cluster,
    namespace: &Namespace,
    floor: Option<&Cri>,
) -> anyhow::Result<()> {
    let mut pods = Pods::open(cluster, namespace).await?;
    let image = match floor {
        Some(cri) => cri.image(IMAGE).await?,
        None => String::new(),
    };
    // The first pays for what is set up once: cgroups, the bridge, caches.
    pods.start(&["warm".to_owned()], DEAF).await?;
    pods.delete(&["warm".to_owned()]).await?;
    one_by_one(lab, cluster, &mut pods, floor.map(|cri| (cri, image.as_str()))).await?;
    obedient(lab, cluster, &mut pods).await?;

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
    match floor {
        Some(cri) => floor_at_once(lab, cri, &image).await,
        None => Ok(()),
    }
}

/// Starts and ends, ours and the floor's in turn, so that a busy machine troubles both alike.
async fn one_by_one(
    lab: &Lab,
    cluster: &Cluster,
    pods: &mut Pods<'_>,
    floor: Option<(&Cri, &str)>,
) -> anyhow::Result<()> {
    let (mut ours, mut theirs) = (Turn::default(), Turn::default());
    let (mut ratios, mut sandboxes) = (Vec::new(), Vec::new());
    for number in 1..=lab.count(20, 3) {
        let name = vec![format!("one-{number}")];
        let meter = Cost::begin(cluster)?;
        ours.starts.extend(pods.start(&name, DEAF).await?);
        ours.start_cost.add(&meter.end()?);
        let meter = Cost::begin(cluster)?;
        ours.ends.extend(pods.delete(&name).await?);
        ours.end_cost.add(&meter.end()?);
        let Some((cri, image)) = floor else { continue };
        let meter = Cost::begin_machine()?;
        let pod = cri.start(number, image).await?;
        theirs.start_cost.add(&meter.end()?);
        theirs.starts.push(pod.took);
        sandboxes.push(pod.sandbox_took);
        ratios.extend(ours.starts.last().map(|ours| ours.as_secs_f64() / pod.took.as_secs_f64()));
        let meter = Cost::begin_machine()?;
        theirs.ends.push(cri.remove(pod).await?);
        theirs.end_cost.add(&meter.end()?);
    }
    let ratio = median(ratios).map(|ratio| format!("{ratio:.2} times the floor (median of pairs)"));
    tell_with("POST of a pod to Running, one by one", ours.starts, ours.start_cost, None, ratio);
    tell("DELETE with grace 1 s to gone", ours.ends, ours.end_cost, None);
    if floor.is_some() {
        let sandbox = Sample::new(sandboxes).median().map(|took| format!("the sandbox {}", duration(took)));
        tell_with(
            "floor: sandbox and container by CRI, one by one",
            theirs.starts,
            theirs.start_cost,
            None,
            sandbox,
        );
        tell("floor: stop with grace 2 s and remove by CRI", theirs.ends, theirs.end_cost, None);
    }
    Ok(())
}

/// What one side's turns took.
#[derive(Default)]
struct Turn {
    starts: Vec<Duration>,
    start_cost: Cost,
    ends: Vec<Duration>,
    end_cost: Cost,
}

async fn obedient(lab: &Lab, cluster: &Cluster, pods: &mut Pods<'_>) -> anyhow::Result<()> {
    let (mut ends, mut cost) = (Vec::new(), Cost::default());
    for number in 0..lab.count(10, 2) {
        let name = vec![format!("obedient-{number}")];
        pods.start(&name, OBEDIENT).await?;
        let meter = Cost::begin(cluster)?;
        ends.extend(pods.delete(&name).await?);
        cost.add(&meter.end()?);
    }
    tell("DELETE of a pod that ends at SIGTERM, to gone", ends, cost, None);
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

async fn floor_at_once(lab: &Lab, cri: &Cri, image: &str) -> anyhow::Result<()> {
    let count = lab.count(30, 4);
    let (begin, meter) = (Instant::now(), Cost::begin_machine()?);
    let all = try_join_all((0..count).map(|number| cri.start(100 + number, image))).await?;
    let (wall, cost) = (begin.elapsed(), meter.end()?);
    let starts = all.iter().map(|pod| pod.took).collect();
    tell(&format!("floor: {count} sandboxes and containers at once by CRI"), starts, cost, Some(wall));
    let mut execs = Vec::new();
    for _ in 0..lab.count(30, 3) {
        execs.push(cri.run_true(&all[0]).await?);
    }
    tell("floor: ExecSync of `true` by CRI", execs, Cost::default(), None);
    try_join_all(all.into_iter().map(|pod| cri.remove(pod))).await.map(drop)
}

fn tell(name: &str, latencies: Vec<Duration>, cost: Cost, wall: Option<Duration>) {
    tell_with(name, latencies, cost, wall, None);
}

fn tell_with(
    name: &str,
    latencies: Vec<Duration>,
    cost: Cost,
    wall: Option<Duration>,
    remark: Option<String>,
) {
    let sample = Sample::new(latencies);
    let mut notes = vec![format!("{} of them", sample.len())];
    notes.extend(sample.max().map(|most| format!("slowest {}", duration(most))));
    notes.extend(wall.map(|wall| format!("all after {}", duration(wall))));
    if cost.machine > Duration::ZERO {
        notes.extend(
            each(cost.machine, sample.len()).map(|cpu| format!("whole machine's CPU {} each", duration(cpu))),
        );
    }
    notes.extend(remark);
    let cpu = if cost.server > Duration::ZERO { each(cost.server, sample.len()) } else { None };
    row(&Figure {
        rate: wall.map(|wall| sample.len() as f64 / wall.as_secs_f64()),
        median: sample.median(),
        p99: None,
        cpu,
        ..Figure::new(name).note(notes.join(", "))
    });
}
