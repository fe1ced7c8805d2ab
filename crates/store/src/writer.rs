//! The one who writes: gathers, checks, numbers, commits, publishes, answers; in that order, on its own thread.
//!
//! It owns the working state, which runs ahead of the published one by the batch being committed. It must never
//! publish before the engine has committed, and never wait for a reader. A refusal that rests on an earlier
//! write of the same batch is held back until that write is durable; any other is given at once.

use std::{
    any::Any,
    collections::HashSet,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Instant,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::{error, info, warn};

use crate::{
    Change, CommitError, Engine, EngineError, Event, Key, Options, Record, Refused, Value, Write,
    state::State,
    store::{Answer, Job, Progress, Shared},
};

/// No more is added to a batch of this many bytes: a commit should not take long, nor much memory.
const BATCH_BYTES: usize = 4 << 20;

struct Writer<V, E> {
    engine: E,
    state: State<V>,
    shared: Arc<Shared<V>>,
    jobs: mpsc::Receiver<Job<V>>,
    options: Options,
    /// There was a commit since the engine last tidied up.
    unsettled: bool,
    /// The last batch was refused for want of room.
    full: bool,
}

/// What is being committed, and who waits for it.
struct Batch<V> {
    records: Vec<Record>,
    touched: HashSet<Key>,
    tables: HashSet<Arc<str>>,
    events: Vec<Arc<Event<V>>>,
    answers: Vec<(oneshot::Sender<Answer<V>>, Answer<V>)>,
    bytes: usize,
    at: Instant,
}

/// Starts the writer's thread; it ends when told to close, or when the last handle of the store is gone.
pub(crate) fn start<V: Value, E: Engine>(
    engine: E,
    state: State<V>,
    shared: Arc<Shared<V>>,
    jobs: mpsc::Receiver<Job<V>>,
    options: Options,
) -> io::Result<()> {
    // A runtime of its own: the thread blocks in the engine, and waits with a deadline in between.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let writer =
        Writer { engine, state, shared: shared.clone(), jobs, options, unsettled: false, full: false };
    thread::Builder::new().name("store-writer".into()).spawn(move || {
        // The engine and the queue are gone when this returns, so whoever sees the end may open the file again.
        let end = catch_unwind(AssertUnwindSafe(|| runtime.block_on(writer.run())));
        let end = end.unwrap_or_else(|panic| Err(EngineError::new("write", words(&*panic))));
        if let Err(failure) = end {
            error!(error = %failure, "the store has failed, nothing more can be written");
            let _ = shared.failure.set(failure);
        }
        let mut last = State::clone(&shared.state.load());
        last.closed = true;
        shared.state.store(Arc::new(last));
        shared.progress.send_modify(|progress| progress.closed = true);
        shared.listeners.all().iter().for_each(|signal| signal.notify_waiters());
    })?;
    Ok(())
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}

impl<V: Value, E: Engine> Writer<V, E> {
    async fn run(mut self) -> Result<(), EngineError> {
        while let Some(first) = self.next().await? {
            let batch = self.gather(first);
            self.commit(batch)?;
        }
        Ok(())
    }

    /// The next write; none when the store is to end and nothing waits.
    async fn next(&mut self) -> Result<Option<Job<V>>, EngineError> {
        let shared = self.shared.clone();
        loop {
            let next = async {
                tokio::select! {
                    biased;
                    () = shared.closing.notified() => { self.jobs.close(); None }
                    job = self.jobs.recv() => Some(job),
                }
            };
            let next = if self.unsettled { timeout(self.options.settle, next).await } else { Ok(next.await) };
            match next {
                Ok(Some(job)) => return Ok(job),
                Ok(None) => {}
                Err(_) => {
                    self.unsettled = false;
                    match self.engine("tidy up", E::settle) {
                        // It can wait: nothing is lost by it.
                        Ok(()) | Err(CommitError::Full(_)) => {}
                        Err(CommitError::Failed(failure)) => return Err(failure),
                    }
                }
            }
        }
    }

    /// Takes up this write and those that wait behind it.
    fn gather(&mut self, first: Job<V>) -> Batch<V> {
        let mut batch = Batch::new();
        let mut next = Some(first);
        while let Some(job) = next {
            self.take(job, &mut batch);
            let full = batch.records.len() >= self.options.batch || batch.bytes >= BATCH_BYTES;
            next = if full { None } else { self.jobs.try_recv().ok() };
        }
        batch
    }

    /// Checks one write against memory, and numbers and applies it.
    fn take(&mut self, job: Job<V>, batch: &mut Batch<V>) {
        let Job { write: Write { key, expect, change }, answer } = job;
        // Nobody waits for it any more: the client went away while it queued.
        if answer.is_closed() {
            return;
        }
        let current = match self.state.check(&key, expect, matches!(change, Change::Delete(_))) {
            Ok(current) => current,
            Err(refused) if batch.touched.contains(&key) => {
                return batch.answers.push((answer, Ok(Err(refused))));
            }
            Err(refused) => return send(answer, Ok(Err(refused))),
        };
        let revision = self.state.revision + 1;
        let deleted = matches!(change, Change::Delete(_));
        let built = catch_unwind(AssertUnwindSafe(|| match (change, &current) {
            (Change::Put(build), _) => Some(build(revision)),
            (Change::Delete(last), Some((_, value))) => Some(last(revision, value)),
            (Change::Delete(_), None) => None,
        }));
        let object = match built {
            Ok(Some(object)) => Arc::new(object),
            Ok(None) => return send(answer, Ok(Err(Refused::Missing))),
            Err(panic) => return send(answer, Err(panic)),
        };
        let (replaces, previous) = current.map_or((None, None), |(at, value)| (Some(at), Some(value)));
        let bytes = (!deleted).then(|| object.bytes().clone());
        batch.bytes += bytes.as_ref().map_or(0, |bytes| bytes.len());
        batch.records.push(Record { revision, key: key.clone(), replaces, bytes });
        batch.tables.insert(key.table.clone());
        batch.touched.insert(key.clone());
        batch.answers.push((answer, Ok(Ok(object.clone()))));
        batch.events.push(self.state.apply(Event { revision, key, object, previous, deleted }, batch.at));
    }

    /// Makes the batch durable, then visible, then known.
    fn commit(&mut self, batch: Batch<V>) -> Result<(), EngineError> {
        let mut signals = Vec::new();
        if !batch.records.is_empty() {
            match self.engine("commit", |engine| engine.commit(&batch.records)) {
                Ok(()) => self.has_room(),
                Err(CommitError::Full(why)) => {
                    self.is_full(&why);
                    batch.refuse(|| Refused::Full(why.clone()));
                    return Ok(());
                }
                Err(CommitError::Failed(failure)) => {
                    batch.refuse(|| Refused::Engine(failure.clone()));
                    return Err(failure);
                }
            }
            self.unsettled = true;
            for table in &batch.tables {
                self.state.trim(table, &self.options, batch.at);
            }
            let state = Arc::new(self.state.clone());
            let shared = &self.shared;
            signals =
                shared.listeners.deliver(&batch.events, batch.tables.iter(), || shared.state.store(state));
            let revision = self.state.revision;
            self.shared.progress.send_replace(Progress { revision, closed: false });
        }
        batch.answers.into_iter().for_each(|(answer, result)| send(answer, result));
        signals.iter().for_each(|signal| signal.notify_waiters());
        Ok(())
    }
}

impl<V: Value, E: Engine> Writer<V, E> {
    /// Has the engine do something. A failure, or a panic, is known before anybody hears of it, so that who is
    /// refused because of it cannot write again.
    fn engine(
        &mut self,
        action: &str,
        run: impl FnOnce(&mut E) -> Result<(), CommitError>,
    ) -> Result<(), CommitError> {
        let done = catch_unwind(AssertUnwindSafe(|| run(&mut self.engine)));
        let done =
            done.unwrap_or_else(|panic| Err(CommitError::Failed(EngineError::new(action, words(&*panic)))));
        if let Err(CommitError::Failed(failure)) = &done {
            let _ = self.shared.failure.set(failure.clone());
        }
        done
    }

    /// What the batch has changed in memory did not happen.
    fn is_full(&mut self, why: &EngineError) {
        self.state = State::clone(&self.shared.state.load());
        if !std::mem::replace(&mut self.full, true) {
            warn!(error = %why, "writes are refused until there is room");
        }
    }

    fn has_room(&mut self) {
        if std::mem::take(&mut self.full) {
            info!("there is room again, writes succeed");
        }
    }
}

impl<V> Batch<V> {
    fn new() -> Self {
        Self {
            records: Vec::new(),
            touched: HashSet::new(),
            tables: HashSet::new(),
            events: Vec::new(),
            answers: Vec::new(),
            bytes: 0,
            at: Instant::now(),
        }
    }

    /// Tells all who wait that nothing came of it.
    fn refuse(self, why: impl Fn() -> Refused<V>) {
        self.answers.into_iter().for_each(|(answer, _)| send(answer, Ok(Err(why()))));
    }
}

/// Answers; whoever has stopped waiting does not hear it, which is theirs to decide.
fn send<V>(answer: oneshot::Sender<Answer<V>>, result: Answer<V>) {
    let _ = answer.send(result);
}
