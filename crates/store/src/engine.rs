//! What makes writes durable: the seam between the store and the disk.
//!
//! An engine is small on purpose. It never answers reads (memory does), never decides (the writer does), and is
//! called by one thread. It loads everything once, then commits batches, each wholly or not at all. What every
//! engine must do beyond these signatures is written down as tests in `suite.rs`.
//!
//! How etcd fits, when several masters share one state: the numbers stay ours. `commit` becomes one etcd
//! transaction that writes the batch's rows and moves a counter key from the batch's first revision minus one to
//! its last, comparing the counter's old value; so two masters can never both number the same revision, and the
//! sequence stays dense. The master whose comparison fails has missed batches of another: the trait then grows a
//! method with a default, `follow`, which yields foreign batches from etcd's watch; the writer applies and
//! publishes them as it does its own, rechecks the preconditions of the batch that lost, and commits it again.
//! Nothing above the writer notices.

use std::{error::Error, sync::Arc};

use bytes::Bytes;

use crate::Key;

/// Makes batches of changes durable and finds them again.
pub trait Engine: Send + 'static {
    /// All live entries and the last revision ever committed. Called once, before anything else.
    fn load(&mut self) -> Result<Loaded, EngineError>;

    /// Makes the batch durable: all of it or, if the process dies first, none. Revisions in it are rising and
    /// follow those of the last batch that was committed.
    fn commit(&mut self, batch: &[Record]) -> Result<(), CommitError>;

    /// Called when no write has come for a moment: the time for housekeeping that would slow a write down.
    fn settle(&mut self) -> Result<(), CommitError> {
        Ok(())
    }
}

/// An engine chosen at run time is an engine too.
impl Engine for Box<dyn Engine> {
    fn load(&mut self) -> Result<Loaded, EngineError> {
        (**self).load()
    }

    fn commit(&mut self, batch: &[Record]) -> Result<(), CommitError> {
        (**self).commit(batch)
    }

    fn settle(&mut self) -> Result<(), CommitError> {
        (**self).settle()
    }
}

/// What an engine held when it was opened.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The live entries, in any order.
    pub entries: Vec<Entry>,
    /// The last revision committed; 0 when there was none. A deletion counts, so that its number is not reused.
    pub revision: u64,
}

/// One live entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name.
    pub key: Key,
    /// The revision of its last write.
    pub revision: u64,
    /// Its value.
    pub bytes: Bytes,
}

/// One numbered change.
#[derive(Clone, Debug)]
pub struct Record {
    /// The change's number.
    pub revision: u64,
    /// What is changed.
    pub key: Key,
    /// The revision of the value that this change replaces or deletes, so that an engine whose rows are ordered
    /// by revision finds the dead one without an index of its own.
    pub replaces: Option<u64>,
    /// The new value; none for a deletion.
    pub bytes: Option<Bytes>,
}

/// Why a batch is not durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// There is no room for it. Nothing of it was kept, and the engine is still good: another commit may succeed.
    #[error(transparent)]
    Full(EngineError),
    /// The engine has failed and is not used again. Whether the batch survives is unknown.
    #[error(transparent)]
    Failed(EngineError),
}

/// An engine could not do what it was asked to. Cheap to clone: everyone waiting hears of it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {action}: {cause}")]
pub struct EngineError {
    action: Arc<str>,
    cause: Arc<dyn Error + Send + Sync>,
}

impl EngineError {
    /// An error from what was tried (as in "cannot *open the store at /x*") and what went wrong.
    pub fn new(action: impl Into<Arc<str>>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { action: action.into(), cause: Arc::from(cause.into()) }
    }
}
