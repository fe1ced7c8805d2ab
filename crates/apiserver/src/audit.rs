//! The audit log: who asked for what, when, and what became of it; as upstream's `audit.k8s.io/v1`.
//!
//! A policy decides for each request how much is told ([`policy`]); the chain's layer makes events ([`event`]); one task
//! writes them as lines, so that no request waits for a disk.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use skiff_base::task::{Policy as TaskPolicy, Tasks};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

pub(crate) mod event;
pub(crate) mod policy;

pub use policy::{Policy, PolicyError};

/// What is to be audited, and where the log is.
#[derive(Clone, Debug)]
pub struct Audit {
    /// Which requests are told, and how much of them.
    pub policy: Arc<Policy>,
    /// The file that lines are appended to; `-` for standard output.
    pub log: PathBuf,
}

/// How many lines may wait for the disk; beyond that they are counted and dropped.
const WAITING: usize = 10_000;
/// Lines that wait are written together, up to this size.
const PIECE: usize = 256 * 1024;

/// The way to the log.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) policy: Arc<Policy>,
    lines: mpsc::Sender<Bytes>,
}

impl Log {
    /// A log, and the lines that somebody has to write.
    pub(crate) fn new(policy: Arc<Policy>) -> (Self, mpsc::Receiver<Bytes>) {
        let (lines, written) = mpsc::channel(WAITING);
        (Self { policy, lines }, written)
    }

    /// A log whose lines a task of `tasks` writes.
    pub(crate) fn start(audit: &Audit, tasks: &Tasks) -> Self {
        let (log, lines) = Self::new(Arc::clone(&audit.policy));
        let path = audit.log.clone();
        let stop = tasks.token().clone();
        tasks.spawn("audit log", TaskPolicy::Essential, async move {
            let mut lines = lines;
            let mut out: Box<dyn AsyncWrite + Send + Unpin> = if path.as_os_str() == "-" {
                Box::new(tokio::io::stdout())
            } else {
                Box::new(tokio::fs::OpenOptions::new().create(true).append(true).open(&path).await?)
            };
            loop {
                let line = tokio::select! {
                    line = lines.recv() => line,
                    () = stop.cancelled() => lines.try_recv().ok(),
                };
                let Some(line) = line else { return Ok::<_, std::io::Error>(()) };
                let mut piece = line.to_vec();
                while piece.len() < PIECE {
                    let Ok(line) = lines.try_recv() else { break };
                    piece.extend_from_slice(&line);
                }
                out.write_all(&piece).await?;
                out.flush().await?;
            }
        });
        log
    }

    /// Adds a line.
    pub(crate) fn tell(&self, line: Bytes) {
        if self.lines.try_send(line).is_err() {
            tracing::error!("the audit log cannot keep up: an event is lost");
        }
    }
}
