//! Says what happened to objects, without ever holding up the one who says it.
//!
//! [`Recorder::record`] puts a note in a bounded channel and returns; one task correlates the notes (`correlate.rs`:
//! the same event again is counted, many alike are combined, a flood is cut) and writes Events. What does not fit into
//! the channel is dropped and counted: events are a help, not a log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use skiff_api::{Object, Readable, Resource};
use skiff_base::{Backoff, Clock, Tasks};
use tokio::sync::mpsc;

use crate::link::Link;
use crate::write::{self, Patch, Place};

mod correlate;

use correlate::{Correlator, Step};

/// How many notes may wait to be written.
const CAPACITY: usize = 1000;
/// How often the writing of one event is tried while the server cannot be reached.
const TRIES: usize = 12;

/// Whether something went as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// It did.
    Normal,
    /// Someone may want to look.
    Warning,
}

impl EventKind {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `kubelet`, `replication-controller`.
    pub component: String,
    /// The node, where it matters; else empty.
    pub host: String,
}

struct Note {
    about: ObjectReference,
    kind: EventKind,
    reason: String,
    message: String,
    at: Timestamp,
}

/// Takes notes; clones share one channel.
#[derive(Clone)]
pub struct Recorder {
    notes: mpsc::Sender<Note>,
    clock: Clock,
    dropped: Arc<AtomicU64>,
}

impl Recorder {
    /// A recorder whose events are written through `link` until `tasks` stop.
    pub fn start(link: &Link, source: Source, clock: Clock, tasks: &Tasks) -> Self {
        let (notes, inbox) = mpsc::channel(CAPACITY);
        let writer = Writer { link: link.clone(), source, correlator: Correlator::default() };
        tasks.spawn_until_stop(writer.run(inbox));
        Self { notes, clock, dropped: Arc::default() }
    }

    /// A recorder that keeps nothing, for tests.
    pub fn deaf() -> Self {
        let (notes, _) = mpsc::channel(1);
        Self { notes, clock: Clock::system(), dropped: Arc::default() }
    }

    /// Notes that `reason` happened to an object; never waits.
    pub fn record(&self, about: ObjectReference, kind: EventKind, reason: &str, message: String) {
        let note = Note { about, kind, reason: reason.to_owned(), message, at: self.clock.now_seconds() };
        if self.notes.try_send(note).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many notes were dropped because the channel was full or closed.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// A reference to an object of a built-in kind.
pub fn reference<K: Readable>(object: &K) -> ObjectReference {
    let meta = object.metadata();
    ObjectReference {
        api_version: Some(K::API_VERSION.to_owned()),
        kind: Some(K::KIND.to_owned()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

/// A reference to an object of which only the metadata is known.
pub fn reference_to(resource: &Resource, object: &Object) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(resource.api_version()),
        kind: Some(resource.kind.to_string()),
        name: Some(meta.name.to_string()),
        namespace: meta.namespace.as_deref().map(str::to_owned),
        uid: Some(meta.uid.to_string()),
        resource_version: Some(meta.revision.to_string()),
        field_path: None,
    }
}

struct Writer {
    link: Link,
    source: Source,
    correlator: Correlator,
}

impl Writer {
    async fn run(mut self, mut inbox: mpsc::Receiver<Note>) {
        while let Some(note) = inbox.recv().await {
            if let Some(step) = self.correlator.take(&self.source, note) {
                self.carry_out(step).await;
            }
        }
    }

    async fn carry_out(&mut self, mut step: Step) {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
        for _ in 0..TRIES {
            let result: write::Result<()> = match &step {
                Step::Create(event) => write::create_unseen(&self.link, &**event).await,
                Step::Patch { event, patch } => {
                    write::patch(&self.link, &Place::of(&**event), Patch::Merge, patch).await
                }
            };
            match (result, step) {
                (Ok(()), _) => return,
                // The server forgets events after a while: begin a new one.
                (Err(error), Step::Patch { event, .. }) if write::is_not_found(&error) => {
                    step = Step::Create(self.correlator.renew(*event));
                }
                (Err(error), _) if write::code(&error) >= 400 && write::code(&error) < 500 => {
                    tracing::debug!(%error, "the server refused an event");
                    return;
                }
                (Err(error), same) => {
                    tracing::debug!(%error, "an event could not be written yet");
                    step = same;
                    backoff.wait().await;
                }
            }
        }
    }
}
