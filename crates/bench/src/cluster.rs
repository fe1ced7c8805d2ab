//! The Skiff under test: started for a scenario and taken down without a trace, or found running.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::access::Access;
use crate::connection::{Call, Connection};
use crate::procs::Meter;
use crate::report::say;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `skiff server`: no node.
    Server,
    /// `skiff up`: a server and a node in one process.
    Node,
}

/// A cluster to measure.
pub(crate) struct Cluster {
    pub(crate) access: Access,
    /// The processes whose CPU counts.
    pub(crate) pids: Vec<u32>,
    /// The data directory, unless it is another Kubernetes.
    pub(crate) dir: Option<PathBuf>,
    /// From exec until `/readyz` answered 200.
    pub(crate) ready: Duration,
    own: Option<Own>,
}

/// A process of hollow nodes.
pub(crate) struct Hollow(Child);

impl Hollow {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Hollow {
    fn drop(&mut self) {
        // It may have ended by itself; the cluster goes with all its nodes.
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// A cluster that we started.
struct Own {
    skiff: PathBuf,
    dir: PathBuf,
    /// Absent once it was stopped.
    child: Option<Child>,
}

impl Cluster {
    /// Starts a cluster in `dir` and waits until it is ready.
    pub(crate) async fn start(skiff: &Path, dir: &Path, role: Role) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        let mut own = Own { skiff: skiff.to_owned(), dir: dir.to_owned(), child: None };
        let begin = Instant::now();
        let pid = own.spawn(role)?;
        let access = own.until_ready(begin + PATIENCE).await?;
        Ok(Self {
            access,
            pids: vec![pid],
            dir: Some(dir.to_owned()),
            ready: begin.elapsed(),
            own: Some(own),
        })
    }

    /// The process that runs from a data directory.
    pub(crate) fn running(dir: &Path) -> anyhow::Result<u32> {
        let path = dir.join("skiff.json");
        let text = std::fs::read(&path).with_context(|| format!("no Skiff runs from {}", dir.display()))?;
        let state: Value =
            serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
        state["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).context("skiff.json names no process")
    }

    /// The cluster that runs from `dir`; it is left running.
    pub(crate) async fn attach(dir: &Path) -> anyhow::Result<Self> {
        let access = Access::read(&dir.join("kubeconfig"))?;
        let found = Self::found(access, vec![Self::running(dir)?], Some(dir.to_owned()));
        found.connect().await?.call(Call::get("/readyz")).await?;
        Ok(found)
    }

    /// Another Kubernetes.
    pub(crate) async fn foreign(kubeconfig: &Path, pids: Vec<u32>) -> anyhow::Result<Self> {
        let found = Self::found(Access::read(kubeconfig)?, pids, None);
        found.connect().await?.call(Call::get("/readyz")).await?;
        Ok(found)
    }

    fn found(access: Access, pids: Vec<u32>, dir: Option<PathBuf>) -> Self {
        Self { access, pids, dir, ready: Duration::ZERO, own: None }
    }

    /// A new connection to it.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(&self.access).await
    }

    /// The server's CPU from now on.
    pub(crate) fn meter(&self) -> anyhow::Result<Meter> {
        Meter::start(&self.pids)
    }

    /// Waits until a node is ready; its name.
    pub(crate) async fn node_ready(&self) -> anyhow::Result<String> {
        let mut watch = self.connect().await?.watch("/api/v1/nodes?watch=true").await?;
        let ready = async {
            loop {
                let event: Value = serde_json::from_slice(&watch.next().await?).context("read an event")?;
                let node = &event["object"];
                let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
                if conditions.clone().any(|one| one["type"] == "Ready" && one["status"] == "True") {
                    return Ok(node["metadata"]["name"].as_str().unwrap_or_default().to_owned());
                }
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.context("no node became ready")?
    }

    /// Where the containerd of a node listens.
    pub(crate) fn runtime_socket(&self, node: &str) -> anyhow::Result<PathBuf> {
        let dir = self.dir.as_ref().context("only a Skiff's own containerd is known")?;
        Ok(dir.join("nodes").join(node).join("containerd/state/containerd.sock"))
    }

    /// What a command of the program under test prints; for clusters of our own.
    pub(crate) fn skiff(&self, words: &[&str]) -> anyhow::Result<String> {
        self.own.as_ref().context("this needs a cluster of our own")?.skiff(words)
    }

    /// Runs so many hollow nodes until they are dropped; for clusters of our own.
    #[expect(clippy::disallowed_methods, reason = "they run as long as the scenario does")]
    pub(crate) fn hollow(&self, nodes: usize) -> anyhow::Result<Hollow> {
        let own = self.own.as_ref().context("this needs a cluster of our own")?;
        let mut command = Command::new(&own.skiff);
        command.args(["hollow", "--keep", "--nodes", &nodes.to_string(), "--kubeconfig"]);
        command.arg(own.dir.join("kubeconfig")).stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        Ok(Hollow(command.spawn().context("start the hollow nodes")?))
    }

    /// Ends the program, leaving its data and its pods; how long that took.
    pub(crate) fn stop(&mut self, signal: Signal) -> anyhow::Result<Duration> {
        self.own.as_mut().context("this needs a cluster of our own")?.stop(signal)
    }

    /// Starts a stopped program again on its data.
    pub(crate) async fn again(&mut self, role: Role) -> anyhow::Result<()> {
        let own = self.own.as_mut().context("this needs a cluster of our own")?;
        // A kubeconfig that is already there would be read before the server is up; it holds true again.
        let begin = Instant::now();
        self.pids = vec![own.spawn(role)?];
        self.access = own.until_ready(begin + PATIENCE).await?;
        self.ready = begin.elapsed();
        Ok(())
    }
}

impl Own {
    #[expect(clippy::disallowed_methods, reason = "it runs as long as the scenario does")]
    fn spawn(&mut self, role: Role) -> anyhow::Result<u32> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("bench.log"))
            .context("open the log")?;
        let errors = log.try_clone().context("share the log")?;
        let mut command = Command::new(&self.skiff);
        match role {
            Role::Server => command.args(["server", "--node-monitor-grace-period", "86400"]),
            Role::Node => command.args(["up", "--no-kubeconfig"]),
        };
        command
            .arg("--data-dir")
            .arg(&self.dir)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0);
        let child = command.spawn().with_context(|| format!("start {}", self.skiff.display()))?;
        let pid = child.id();
        self.child = Some(child);
        Ok(pid)
    }

    /// Asks as often as reasonable: there is no signal that comes from outside.
    async fn until_ready(&mut self, end: Instant) -> anyhow::Result<Access> {
        let kubeconfig = self.dir.join("kubeconfig");
        loop {
            if let Ok(access) = Access::read(&kubeconfig)
                && let Ok(mut connection) = Connection::open(&access).await
                && let Ok((status, _)) = connection.answer(Call::get("/readyz")).await
                && status.is_success()
            {
                return Ok(access);
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || Instant::now() > end {
                let log = std::fs::read_to_string(self.dir.join("bench.log")).unwrap_or_default();
                bail!("it did not become ready ({ended:?}):\n{}", tail(&log, 15));
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    }

    #[expect(clippy::disallowed_methods, reason = "also runs when the runtime ends")]
    fn skiff(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.skiff)
            .args(words)
            .arg("--data-dir")
            .arg(&self.dir)
            .output()
            .context("run skiff")?;
        if !output.status.success() {
            bail!("skiff {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn stop(&mut self, signal: Signal) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        if let Some(mut child) = self.child.take() {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process number")?;
            // It may have ended already, which is what the signal is for.
            let _gone = kill_process(pid, signal);
            child.wait().context("wait for its end")?;
        }
        Ok(begin.elapsed())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let down = self.stop(Signal::TERM).and_then(|_| self.skiff(&["down", "--purge"]));
        match down {
            Ok(_) if self.dir.exists() => {
                // `down` found nothing to do, as after a start that failed.
                if let Err(error) = std::fs::remove_dir_all(&self.dir) {
                    say(&format!("{} stays: {error}", self.dir.display()));
                }
            }
            Ok(_) => {}
            Err(error) => say(&format!("{} stays: {error:#}", self.dir.display())),
        }
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_its_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 5), "a");
    }
}
