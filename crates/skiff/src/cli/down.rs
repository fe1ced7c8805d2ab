//! `skiff down`: stops Skiff and its pods, or one node for good; with `--purge`, removes every trace.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::DataDir;
use crate::families::Each;
use crate::isolate::Place;
use crate::kubeconfig;
use crate::layout::Layout;
use crate::progress::{Progress, say};
use crate::roles::node;
use crate::state::{Process, State};

#[derive(Args)]
pub(crate) struct Down {
    #[command(flatten)]
    data_dir: DataDir,
    /// Remove the data directory too: the cluster's objects, images and certificates
    #[arg(long)]
    purge: bool,
    /// Stop only this node, for good; the cluster goes on without it
    #[arg(long, conflicts_with = "purge")]
    node: Option<String>,
}

/// What `down` runs for each node, inside the node's namespaces.
#[derive(Args)]
pub(crate) struct StopNode {
    #[arg(long)]
    node_dir: PathBuf,
    #[arg(long)]
    netns: Option<PathBuf>,
    /// Where the node's cluster DNS answered.
    #[arg(long)]
    dns: Each<IpAddr>,
}

impl Down {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let layout = self.data_dir.layout();
        if !layout.root().exists() {
            say(&format!("Nothing in {}.", layout.root().display()));
            return Ok(ExitCode::SUCCESS);
        }
        let state = State::read(&layout)?;
        if let Some(name) = &self.node {
            return one_node(&layout, state, name);
        }
        let mut progress = Progress::start();
        // The process that ends takes its state along.
        let dns = dns_of(state.as_ref());
        if let Some(state) = &state {
            if state.is_running() {
                end(state.process).context("stop skiff")?;
                progress.done(&format!("stopped process {}", state.process.pid));
            }
            // Minions end with the process that started them; others live by themselves.
            for (name, agent) in state.agents() {
                end(agent).with_context(|| format!("stop the agent of {name}"))?;
                progress.done(&format!("stopped the agent of {name}"));
            }
        }
        for node_dir in folders(&layout.nodes())? {
            let name = node_dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            stop_node(&layout, &name, &dns)?;
            progress.done(&format!("stopped the pods of {name}"));
        }
        if let Some(hosts) = crate::minions::Hosts::read(&layout)? {
            hosts.remove()?;
            progress.done("removed the minions' network");
        }
        if self.purge {
            if let Ok(access) = kubeconfig::Access::read(&layout.kubeconfig()) {
                kubeconfig::remove_from_users(&access.server)?;
            }
            std::fs::remove_dir_all(layout.root())
                .with_context(|| format!("remove {}", layout.root().display()))?;
            progress.done(&format!("removed {}", layout.root().display()));
        } else {
            say(&format!("Objects and images stay in {}; --purge removes them.", layout.root().display()));
        }
        say("Down.");
        Ok(ExitCode::SUCCESS)
    }
}

fn one_node(layout: &Layout, state: Option<State>, name: &str) -> anyhow::Result<ExitCode> {
    let Some(mut state) = state else { bail!("no cluster runs from {}", layout.root().display()) };
    let Some(node) = state.nodes.iter_mut().find(|node| node.name == name) else {
        bail!("no node {name} on this machine");
    };
    let Some(agent) = node.agent else {
        bail!("{name} runs in the server's own process: `skiff down` stops both")
    };
    node.stopped = true;
    state.write(layout)?;
    if agent.is_running() {
        end(agent).with_context(|| format!("stop the agent of {name}"))?;
    }
    stop_node(layout, name, &dns_of(Some(&state)))?;
    say(&format!("{name} is stopped for good; the cluster will notice and move its pods."));
    Ok(ExitCode::SUCCESS)
}

/// Where cluster DNS answers, or answered.
fn dns_of(state: Option<&State>) -> Each<IpAddr> {
    state.map_or_else(|| node::DEFAULT_DNS.into(), |state| state.dns.clone())
}

/// Asks a process to end and waits until it has; kills it if it does not within 30 s.
fn end(process: Process) -> anyhow::Result<()> {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).context("a process number")?;
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    for (signal, patience) in [(Signal::TERM, 30), (Signal::KILL, 10)] {
        if kill_process(pid, signal).is_err() {
            return Ok(());
        }
        let mut ends = [PollFd::new(&pidfd, PollFlags::IN)];
        let patience = rustix::event::Timespec { tv_sec: patience, tv_nsec: 0 };
        if poll(&mut ends, Some(&patience)).context("wait for its end")? > 0 {
            return Ok(());
        }
    }
    bail!("process {} does not end", pid.as_raw_nonzero())
}

/// Runs ourselves inside the node's namespaces: they must be entered before a process has threads.
#[expect(
    clippy::disallowed_methods,
    reason = "a blocking command line that waits for itself in another namespace"
)]
fn stop_node(layout: &Layout, name: &str, dns: &Each<IpAddr>) -> anyhow::Result<()> {
    let mut command = std::process::Command::new(std::env::current_exe().context("find our own program")?);
    command.arg("stop-node").arg("--node-dir").arg(layout.node(name)).args(["--dns", &dns.to_string()]);
    if let Some(hosts) = crate::minions::Hosts::read(layout)?
        && let Some(netns) = hosts.netns_path(name)
        && netns.exists()
    {
        command.arg("--netns").arg(netns);
    }
    let status = command.status().context("start ourselves")?;
    if !status.success() {
        bail!("node {name} could not be stopped cleanly");
    }
    Ok(())
}

impl StopNode {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        skiff_base::trace::start("warn");
        Place { node_dir: self.node_dir.clone(), netns: self.netns, hostname: None }.enter()?;
        super::runtime(1)?.block_on(node::stop_for_good(&self.node_dir, &self.dns))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn folders(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let mut folders: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    Ok(folders)
}
