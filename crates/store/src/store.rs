//! The handle everyone holds, and what it shares with the writer and the watches.
//!
//! Reads look at the published state and never wait. A write is first checked against that state here, so that
//! one that cannot succeed is refused without the writer or the disk: whatever was acknowledged before the call
//! is in there, so the refusal is true at that moment. Only then does it queue for the writer, who checks again.

use std::{
    any::Any,
    error::Error,
    panic::resume_unwind,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::{
    Change, Compacted, Engine, EngineError, Key, Narrow, Refused, Snapshot, Value, Watch, Write,
    listeners::Listeners, state::State, writer,
};

/// How much a store keeps.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most past events kept for a table.
    pub window_events: usize,
    /// The most memory a table's past events may keep alive, in bytes.
    pub window_bytes: usize,
    /// How long an event is kept at most; older ones go with the next write to the table.
    pub window_age: Duration,
    /// The most writes that wait before `write` itself does.
    pub queue: usize,
    /// The most writes in one commit.
    pub batch: usize,
    /// How long no write must come before the engine may tidy up.
    pub settle: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window_events: 10_000,
            window_bytes: 8 << 20,
            window_age: Duration::from_secs(300),
            queue: 1024,
            batch: 256,
            settle: Duration::from_secs(1),
        }
    }
}

/// A store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The engine could not load.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A stored value does not load.
    #[error("cannot load {key}, revision {revision}: {cause}")]
    Value {
        /// Its key.
        key: Key,
        /// Its revision.
        revision: u64,
        /// What the value's type says.
        cause: Box<dyn Error + Send + Sync>,
    },
    /// The writer could not be started.
    #[error("cannot start the store's writer: {0}")]
    Thread(std::io::Error),
}

/// A store of values with numbered changes. A clone is another handle to the same one; when the last handle is
/// gone the writer finishes what waits and ends.
pub struct Store<V> {
    shared: Arc<Shared<V>>,
    writes: mpsc::Sender<Job<V>>,
}

impl<V> Clone for Store<V> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), writes: self.writes.clone() }
    }
}

/// A write on its way, and who waits for it.
pub(crate) struct Job<V> {
    pub(crate) write: Write<V>,
    pub(crate) answer: oneshot::Sender<Answer<V>>,
}

/// What became of a write; the error is the panic of its closure, which belongs to whoever wrote it.
pub(crate) type Answer<V> = Result<Result<Arc<V>, Refused<V>>, Box<dyn Any + Send>>;

/// What handles, watches and the writer have in common.
pub(crate) struct Shared<V> {
    pub(crate) state: ArcSwap<State<V>>,
    /// Follows the published state, for those who wait for a revision or for the end.
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) failure: OnceLock<EngineError>,
    /// Asks the writer to take no more and to finish.
    pub(crate) closing: Notify,
    /// Whom the writer wakes.
    pub(crate) listeners: Listeners<V>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) revision: u64,
    pub(crate) closed: bool,
}

impl<V> Shared<V> {
    fn refusal(&self) -> Refused<V> {
        self.failure.get().map_or(Refused::Closed, |error| Refused::Engine(error.clone()))
    }
}

impl<V: Value> Store<V> {
    /// Loads everything from the engine and starts the writer.
    pub fn open(mut engine: impl Engine, options: Options) -> Result<Self, OpenError> {
        let loaded = engine.load()?;
        let mut state = State::new(loaded.revision);
        for entry in loaded.entries {
            let (key, revision) = (entry.key, entry.revision);
            match V::load(&key, revision, entry.bytes) {
                Ok(value) => state.restore(&key, revision, Arc::new(value)),
                Err(cause) => return Err(OpenError::Value { key, revision, cause }),
            }
        }
        let progress = Progress { revision: state.revision, closed: false };
        let shared = Arc::new(Shared {
            state: ArcSwap::from_pointee(state.clone()),
            progress: watch::Sender::new(progress),
            failure: OnceLock::new(),
            closing: Notify::new(),
            listeners: Listeners::default(),
        });
        let (writes, jobs) = mpsc::channel(options.queue.max(1));
        writer::start(engine, state, shared.clone(), jobs, options).map_err(OpenError::Thread)?;
        Ok(Self { shared, writes })
    }

    /// Makes a change. Returns when it is durable and readers see it, with the value as stored (for a deletion,
    /// as shown to watchers). A write dropped before the writer takes it up is not made; one taken up is.
    ///
    /// # Panics
    /// When the write's own closure panics: that panic, in the caller; nothing was written.
    pub async fn write(&self, write: Write<V>) -> Result<Arc<V>, Refused<V>> {
        if self.shared.failure.get().is_some() {
            return Err(self.shared.refusal());
        }
        let delete = matches!(write.change, Change::Delete(_));
        self.shared.state.load().check(&write.key, write.expect, delete)?;
        let (answer, answered) = oneshot::channel();
        if self.writes.send(Job { write, answer }).await.is_err() {
            return Err(self.shared.refusal());
        }
        match answered.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(self.shared.refusal()),
        }
    }

    /// The current value of a key.
    pub fn get(&self, key: &Key) -> Option<Arc<V>> {
        self.shared.state.load().get(key)
    }

    /// All of a table, at one revision. Costs the same whatever its size.
    pub fn snapshot(&self, table: &str) -> Snapshot<V> {
        self.shared.state.load().snapshot(table)
    }

    /// The tables that hold anything.
    pub fn tables(&self) -> Vec<Arc<str>> {
        self.shared.state.load().tables()
    }

    /// The revision of the last change; 1 in a store that never had any.
    pub fn revision(&self) -> u64 {
        self.shared.state.load().revision
    }

    /// The oldest revision a table can be watched after.
    pub fn compacted(&self, table: &str) -> u64 {
        self.shared.state.load().compacted(table)
    }

    /// Every change of a table after a revision. A revision yet to come is waited for.
    pub fn watch(&self, table: &str, after: u64) -> Result<Watch<V>, Compacted> {
        self.watch_from(&self.shared.state.load(), table, after)
    }

    /// All of a table, and every change after that, with no gap between.
    pub fn snapshot_and_watch(&self, table: &str) -> (Snapshot<V>, Watch<V>) {
        let state = self.shared.state.load();
        let snapshot = state.snapshot(table);
        let watch = self.watch_from(&state, table, snapshot.revision);
        (snapshot, watch.expect("a state's own revision is never compacted in it"))
    }

    fn watch_from(&self, state: &State<V>, table: &str, after: u64) -> Result<Watch<V>, Compacted> {
        let place = state.place(table, after)?;
        Ok(Watch::wide(self.shared.clone(), table, after, place))
    }

    /// As [`Self::watch`], of those changes alone that concern a wanted value: others cost it nothing.
    pub fn watch_narrow(&self, table: &str, after: u64, narrow: Narrow<V>) -> Result<Watch<V>, Compacted> {
        Watch::narrow(&self.shared, table, Some(after), narrow).map(|(_, watch)| watch)
    }

    /// As [`Self::snapshot_and_watch`], the watch being narrow; the snapshot is of the whole table.
    pub fn snapshot_and_watch_narrow(&self, table: &str, narrow: Narrow<V>) -> (Snapshot<V>, Watch<V>) {
        let begun = Watch::narrow(&self.shared, table, None, narrow);
        begun.expect("a state's own revision is never compacted in it")
    }

    /// Waits until readers see a revision, or the store has ended.
    pub async fn wait_for(&self, revision: u64) {
        let mut progress = self.shared.progress.subscribe();
        // It fails when the sender is gone, which we hold.
        let _ = progress.wait_for(|now| now.revision >= revision || now.closed).await;
    }

    /// Waits until the store has ended: closed, or failed, after which the process must exit, since what is in
    /// memory and what is on disk may differ.
    pub async fn ended(&self) -> Result<(), EngineError> {
        let mut progress = self.shared.progress.subscribe();
        let _ = progress.wait_for(|now| now.closed).await;
        self.shared.failure.get().cloned().map_or(Ok(()), Err)
    }

    /// Takes no more writes, finishes those that wait, lets go of the engine. Reads still work; watches end
    /// after their last event.
    pub async fn close(&self) -> Result<(), EngineError> {
        self.shared.closing.notify_one();
        self.ended().await
    }
}
