//! From exec to `/readyz`, on an empty directory and again; and to a Ready node.

use std::time::Instant;

use futures::FutureExt;
use rustix::process::Signal;

use super::Row;
use crate::cluster::{Cluster, Role};
use crate::lab::Lab;
use crate::procs;
use crate::report::{Figure, row};
use crate::sample::Sample;

pub(crate) const SCENARIO: Row = Row {
    name: "start",
    about: "exec to 200 on /readyz, and to a Ready node",
    run: |lab| run(lab).boxed_local(),
};

async fn run(lab: &Lab) -> anyhow::Result<()> {
    let runs = lab.count(10, 2);
    let (mut first, mut again, mut crashed, mut stops) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut spent = Vec::new();
    for _ in 0..runs {
        let mut cluster = Cluster::start(&lab.args.skiff, &lab.new_dir()?, Role::Server).await?;
        first.push(cluster.ready);
        spent.push(procs::cpu(&cluster.pids)?);
        stops.push(cluster.stop(Signal::TERM)?);
        cluster.again(Role::Server).await?;
        again.push(cluster.ready);
        cluster.stop(Signal::KILL)?;
        cluster.again(Role::Server).await?;
        crashed.push(cluster.ready);
    }
    let cpu = Sample::new(spent).median();
    figure("start of the server to /readyz, empty directory", first, cpu);
    figure("start of the server to /readyz, again", again, None);
    figure("start of the server to /readyz, after kill -9", crashed, None);
    figure("stop of the server", stops, None);

    let (mut ready, mut nodes, mut nodes_again) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..lab.count(5, 1) {
        let begin = Instant::now();
        let mut cluster = Cluster::start(&lab.args.skiff, &lab.new_dir()?, Role::Node).await?;
        ready.push(cluster.ready);
        cluster.node_ready().await?;
        nodes.push(begin.elapsed());
        cluster.stop(Signal::TERM)?;
        let begin = Instant::now();
        cluster.again(Role::Node).await?;
        cluster.node_ready().await?;
        nodes_again.push(begin.elapsed());
    }
    figure("`skiff up` to /readyz, empty directory", ready, None);
    figure("`skiff up` to a Ready node, empty directory", nodes, None);
    figure("`skiff up` to a Ready node, again (containerd runs)", nodes_again, None);
    Ok(())
}

fn figure(name: &str, values: Vec<std::time::Duration>, cpu: Option<std::time::Duration>) {
    let runs = values.len();
    let sample = Sample::new(values);
    let slowest = sample.max().map(crate::report::duration).unwrap_or_default();
    row(&Figure {
        median: sample.median(),
        cpu,
        ..Figure::new(name).note(format!("{runs} runs, slowest {slowest}"))
    });
}
