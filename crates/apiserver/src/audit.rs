//! The audit log: who asked for what, when, and what became of it; as upstream's `audit.k8s.io/v1`.
//!
//! A policy decides for each request how much is told ([`policy`]); the chain's layer makes events ([`event`]); one task
//! writes them as lines, so that no request waits for a disk.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
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

tokio::task_local! {
    /// The notes of the request that this task answers.
    static NOTES: Notes;
}

/// What those who deal with a request have to add to its event.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<BTreeMap<String, String>>>);

impl Notes {
    /// Collects what is [noted](annotate) while `work` goes on.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        NOTES.scope(self.clone(), work).await
    }

    /// What has been noted.
    pub(crate) fn take(&self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.0.lock())
    }
}

/// Adds an annotation to the event of the request at hand, if its event is told; what is there already stays, as upstream
/// has it.
pub(crate) fn annotate(key: &str, value: &str) {
    // Outside a request that is told there is nobody to note it for.
    let _untold = NOTES.try_with(|notes| {
        notes.0.lock().entry(key.to_owned()).or_insert_with(|| value.to_owned());
    });
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
