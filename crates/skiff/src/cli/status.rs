//! `skiff status`: what runs on this machine and how it is, in a screenful.

use std::process::ExitCode;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Node, Pod};
use skiff_client::write;

use crate::kubeconfig::Access;
use crate::layout::Layout;
use crate::progress::say;
use crate::state::State;

pub(super) fn run(layout: &Layout) -> anyhow::Result<ExitCode> {
    let Some(state) = State::read(layout)?.filter(State::is_running) else {
        say(&format!("Not up (data in {}). Start it with `skiff up`.", layout.root().display()));
        return Ok(ExitCode::from(3));
    };
    let pid = state.process.pid;
    let role = if layout.kubeconfig().exists() { "server" } else { "agent of" };
    say(&format!("{role:<8} {}   process {pid}   {} MB resident", state.server, resident_mb(pid)));
    if role != "server" {
        for node in &state.nodes {
            say(&format!("node     {:<16} {}", node.name, node.address));
        }
        say("How the node is, its server knows: kubectl get nodes.");
        return Ok(ExitCode::SUCCESS);
    }
    let access = Access::read(&layout.kubeconfig())?;
    super::runtime(1)?.block_on(cluster(&state, &access))
}

async fn cluster(state: &State, access: &Access) -> anyhow::Result<ExitCode> {
    let link = crate::roles::remote(access)?;
    let nodes = write::list::<Node>(&link).await.context("ask the API server for its nodes")?;
    let pods = write::list::<Pod>(&link).await.context("ask the API server for its pods")?;
    let mut all_ready = true;
    for node in &nodes {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let ready =
            conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        all_ready &= ready;
        let here = pods.iter().filter(|pod| node_of(pod) == Some(name)).count();
        let local = state.nodes.iter().find(|node| node.name == name);
        let address = local.map_or_else(String::new, |node| node.address.to_string());
        let readiness = if ready { "Ready" } else { "NotReady" };
        say(&format!("node     {name:<16} {readiness:<9} {here:>4} pods   {address}"));
    }
    let waiting = pods.iter().filter(|pod| node_of(pod).is_none()).count();
    say(&format!("pods     {} in all, {waiting} without a node", pods.len()));
    Ok(if all_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// Resident memory of a process in MB, from `/proc/PID/status`; 0 if it cannot be read.
fn resident_mb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
