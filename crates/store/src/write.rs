//! One change to one key, what it presumes, and why it may be refused.
//!
//! A change is a closure because the stored value holds its own revision, which only the writer knows: the
//! closure is given the number and builds the final value. It runs on the writer's thread, so it must be short
//! and must not wait for anything; decoding and validating happen before.

use std::{fmt, sync::Arc};

use crate::{EngineError, Key};

/// A change to make, if what it expects holds.
pub struct Write<V> {
    /// What to change.
    pub key: Key,
    /// What must be true just before.
    pub expect: Expect,
    /// The change.
    pub change: Change<V>,
}

impl<V> Write<V> {
    /// Puts what `build` makes of the revision.
    pub fn put(key: Key, expect: Expect, build: impl FnOnce(u64) -> V + Send + 'static) -> Self {
        Self { key, expect, change: Change::Put(Box::new(build)) }
    }

    /// Deletes; `last` makes the state shown to watchers from the revision of the deletion and the last value.
    pub fn delete(key: Key, expect: Expect, last: impl FnOnce(u64, &V) -> V + Send + 'static) -> Self {
        Self { key, expect, change: Change::Delete(Box::new(last)) }
    }
}

/// What must be true of a key for a write to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Nothing. (A deletion still needs something to delete.)
    Any,
    /// The key has no value.
    Absent,
    /// The key has a value.
    Present,
    /// The key has the value that was written at this revision.
    Revision(u64),
}

/// Builds a value with its revision in it.
pub(crate) type Build<V> = Box<dyn FnOnce(u64) -> V + Send>;
/// Builds a deleted value's last state from the deletion's revision and the value.
pub(crate) type Last<V> = Box<dyn FnOnce(u64, &V) -> V + Send>;

/// The change itself.
pub enum Change<V> {
    /// Create or replace. The closure is given the revision and builds the stored value with it inside.
    Put(Build<V>),
    /// Delete. The closure builds the last state shown to watchers, stamped with the deletion's revision.
    Delete(Last<V>),
}

/// Why a write did not happen.
#[derive(thiserror::Error)]
pub enum Refused<V> {
    /// The key was expected to be absent; this is what it has.
    #[error("the key exists already")]
    Exists(Arc<V>),
    /// The key was expected to be present, or is to be deleted, and has no value.
    #[error("the key does not exist")]
    Missing,
    /// The key has a value of another revision than expected; this one.
    #[error("the key has moved on to another revision")]
    Moved(Arc<V>),
    /// There is no room for it; nothing was written. Once there is some, writes succeed again.
    #[error("cannot store: {0}")]
    Full(EngineError),
    /// The engine has failed. Whether this write survives is unknown; no later one will, the process must end.
    #[error("cannot store: {0}")]
    Engine(EngineError),
    /// The store is closed or closing; nothing was written.
    #[error("the store is closed")]
    Closed,
}

impl<V> fmt::Debug for Refused<V> {
    // By hand: a derived one would ask every value to be `Debug`, and print whole objects into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(_) => f.write_str("Exists"),
            Self::Missing => f.write_str("Missing"),
            Self::Moved(_) => f.write_str("Moved"),
            Self::Full(error) => f.debug_tuple("Full").field(error).finish(),
            Self::Engine(error) => f.debug_tuple("Engine").field(error).finish(),
            Self::Closed => f.write_str("Closed"),
        }
    }
}
