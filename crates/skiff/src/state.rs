//! What runs on this machine: written when Skiff is up, read by `status`, `down` and `image`.

use std::net::IpAddr;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::families::Each;
use crate::layout::Layout;

/// A process, told from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// When it started, in clock ticks since boot.
    start_ticks: u64,
}

impl Process {
    pub(crate) fn current() -> Self {
        let pid = std::process::id();
        Self { pid, start_ticks: start_ticks(pid).unwrap_or_default() }
    }

    /// The process that has this number now.
    pub(crate) fn find(pid: u32) -> Option<Self> {
        Some(Self { pid, start_ticks: start_ticks(pid)? })
    }

    pub(crate) fn is_running(self) -> bool {
        start_ticks(self.pid) == Some(self.start_ticks)
    }
}

/// A running (or crashed) Skiff.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    /// The process of `skiff up` or `skiff server`, or of `skiff agent` where there is no server.
    #[serde(flatten)]
    pub(crate) process: Process,
    /// `https://127.0.0.1:6443`.
    pub(crate) server: String,
    /// The URL by which other machines reach the server, where there is one here.
    pub(crate) advertised: Option<String>,
    /// Nodes on this machine.
    pub(crate) nodes: Vec<Node>,
    /// Where cluster DNS answers.
    pub(crate) dns: Each<IpAddr>,
}

/// A node on this machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Node {
    /// Its name in the API.
    pub(crate) name: String,
    /// Its addresses.
    pub(crate) address: Each<IpAddr>,
    /// Its network namespace, if it has one of its own.
    pub(crate) netns: Option<String>,
    /// The agent's process, where it is another one than the state's.
    #[serde(flatten)]
    pub(crate) agent: Option<Process>,
    /// Taken out for good by `skiff down --node`.
    #[serde(default)]
    pub(crate) stopped: bool,
}

impl State {
    /// What this process is about to run.
    pub(crate) fn of_this_process(server: String, dns: Each<IpAddr>) -> Self {
        Self { process: Process::current(), server, advertised: None, nodes: Vec::new(), dns }
    }

    pub(crate) fn read(layout: &Layout) -> anyhow::Result<Option<Self>> {
        let path = layout.state();
        match std::fs::read(&path) {
            Ok(text) => Ok(Some(
                serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?,
            )),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    pub(crate) fn write(&self, layout: &Layout) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self).context("encode the state")?;
        skiff_base::fs::write_atomically(&layout.state(), &text, 0o600)
            .with_context(|| format!("write {}", layout.state().display()))
    }

    /// Whether the process that wrote this still runs.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// The nodes' agents that run as processes of their own.
    pub(crate) fn agents(&self) -> impl Iterator<Item = (&str, Process)> {
        let agents = self.nodes.iter().filter_map(|node| Some((node.name.as_str(), node.agent?)));
        agents.filter(|(_, agent)| agent.is_running())
    }
}

/// When a process started, in clock ticks since boot; absent if there is none (field 22 of `/proc/PID/stat`).
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in parentheses and may hold blanks.
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_remembered_with_its_process_or_as_part_of_this_one() {
        for agent in [Some(Process::current()), None] {
            let mut state = State::of_this_process(String::new(), IpAddr::from([127, 0, 0, 1]).into());
            let (name, address) = ("n".to_owned(), IpAddr::from([127, 0, 0, 1]).into());
            state.nodes.push(Node { name, address, netns: None, agent, stopped: false });
            let text = serde_json::to_vec(&state).unwrap();
            let read: State = serde_json::from_slice(&text).unwrap();
            assert_eq!((read.process, read.nodes[0].agent), (state.process, agent));
            assert_eq!(read.agents().count(), usize::from(agent.is_some()));
        }
    }

    #[test]
    fn own_process_is_seen_and_a_reused_number_is_not() {
        let mut state = State::of_this_process(String::new(), IpAddr::from([127, 0, 0, 1]).into());
        assert!(state.is_running());
        state.process.start_ticks += 1;
        assert!(!state.is_running());
    }
}
