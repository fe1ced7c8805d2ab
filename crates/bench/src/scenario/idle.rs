//! Memory and CPU of a cluster that nobody uses.

use std::time::{Duration, Instant};

use futures::FutureExt;

use super::Row;
use crate::cluster::{Cluster, Role};
use crate::lab::Lab;
use crate::procs;
use crate::report::{Figure, duration, mebibytes, row};

pub(crate) const SCENARIO: Row = Row {
    name: "idle",
    about: "memory and CPU of an idle cluster, containerd apart",
    run: |lab| run(lab).boxed_local(),
};

async fn run(lab: &Lab) -> anyhow::Result<()> {
    let settle = Duration::from_secs(lab.count(15, 1) as u64);
    let watch = Duration::from_secs(lab.count(30, 2) as u64);
    let roles: &[Role] = if lab.args.data_dir.is_some() || lab.args.kubeconfig.is_some() {
        &[Role::Node]
    } else {
        &[Role::Server, Role::Node]
    };
    for role in roles {
        let cluster = lab.cluster(*role).await?;
        let what = match role {
            Role::Server => "server alone",
            Role::Node => "server with the node agent",
        };
        if *role == Role::Node {
            cluster.node_ready().await?;
        }
        // What a start leaves to do shall be done; nothing tells when that is.
        tokio::time::sleep(settle).await;
        observe(&cluster, what, watch).await?;
    }
    Ok(())
}

async fn observe(cluster: &Cluster, what: &str, time: Duration) -> anyhow::Result<()> {
    let (mut own, mut runtime) = (Vec::new(), Vec::new());
    for pid in &cluster.pids {
        let (processes, below) = procs::tree(*pid)?;
        own.extend(processes);
        runtime.extend(below);
    }
    let (begin, wakeups) = (Instant::now(), procs::wakeups(&own));
    let (cpu, below) = (procs::cpu(&own)?, procs::cpu(&runtime)?);
    tokio::time::sleep(time).await;
    let seconds = begin.elapsed().as_secs_f64();
    let spent = procs::cpu(&own)?.saturating_sub(cpu);
    let percent = spent.as_secs_f64() / seconds * 100.0;
    let woken = procs::wakeups(&own).saturating_sub(wakeups) as f64 / seconds;
    let memory = procs::memory(&own)?;
    let name = if what == "server with the node agent" {
        "resident memory, idle".to_owned()
    } else {
        format!("resident memory, idle, {what}")
    };
    row(&Figure::new(name).note(format!(
        "{} resident, {} proportional, {} processes",
        mebibytes(memory.resident),
        mebibytes(memory.share),
        own.len()
    )));
    row(&Figure::new(format!("CPU, idle, {what}")).note(format!(
        "{percent:.2} % of a core ({} in {seconds:.0} s), {woken:.0} wake-ups a second",
        duration(spent)
    )));
    if !runtime.is_empty() {
        let memory = procs::memory(&runtime)?;
        let spent = procs::cpu(&runtime)?.saturating_sub(below);
        row(&Figure::new("containerd, idle").note(format!(
            "{} resident, {:.2} % of a core",
            mebibytes(memory.resident),
            spent.as_secs_f64() / seconds * 100.0
        )));
    }
    Ok(())
}
