//! What runs on this machine: written when Skiff is up, read by `status`, `down` and `image`.

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::layout::Layout;

/// A running (or crashed) Skiff.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    /// The process of `skiff up` or `skiff server`.
    pub(crate) pid: u32,
    /// The process's start time in clock ticks, which tells it from a later process with the same number.
    pub(crate) start_ticks: u64,
    /// `https://127.0.0.1:6443`.
    pub(crate) server: String,
    /// Nodes on this machine.
    pub(crate) nodes: Vec<Node>,
    /// Where cluster DNS answers.
    pub(crate) dns: std::net::Ipv4Addr,
}

/// A node on this machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Node {
    /// Its name in the API.
    pub(crate) name: String,
    /// Its address.
    pub(crate) address: std::net::Ipv4Addr,
    /// Its network namespace, if it has one of its own.
    pub(crate) netns: Option<String>,
    /// The agent's process, where it is not `skiff up` itself.
    pub(crate) pid: Option<u32>,
    /// Taken out for good by `skiff down --node`.
    #[serde(default)]
    pub(crate) stopped: bool,
}

impl State {
    /// What this process is about to run.
    pub(crate) fn of_this_process(server: String, dns: std::net::Ipv4Addr) -> Self {
        let pid = std::process::id();
        Self { pid, start_ticks: start_ticks(pid).unwrap_or_default(), server, nodes: Vec::new(), dns }
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
        start_ticks(self.pid) == Some(self.start_ticks)
    }
}

/// When a process started, in clock ticks since boot; absent if there is none (field 22 of `/proc/PID/stat`).
pub(crate) fn start_ticks(pid: u32) -> Option<u64> {
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
    fn own_process_is_seen_and_a_reused_number_is_not() {
        let mut state = State::of_this_process(String::new(), std::net::Ipv4Addr::LOCALHOST);
        assert!(state.is_running());
        state.start_ticks += 1;
        assert!(!state.is_running());
    }
}
