//! Numbered revisions of keys, with watch.
//!
//! The store maps keys to values. Every change gets the next number of one sequence, the *revision*, and
//! everything else is told in terms of it: a snapshot is the state at a revision, a watch is every change after
//! one. All current values live in memory in persistent maps, so that a snapshot costs one reference count and
//! blocks nobody; an [`Engine`] below only makes changes durable and gives them back after a restart.
//!
//! One thread, the writer, takes all the writes that wait, checks their preconditions against memory (earlier
//! writes of the same batch included), numbers them, has the engine commit them with one sync, publishes the
//! new state, and answers. While one batch is on its way to disk the next gathers, so durable throughput grows
//! with load and the latency of a write is one sync.
//!
//! Invariants, for whoever changes this crate:
//! - a reader never sees what is not durable;
//! - the published state (`state.rs`) is one value behind one pointer: objects, windows of events and the revision change
//!   together, so that a list and the watch that follows it cannot disagree;
//! - revisions are dense and never used twice, whatever the process dies of;
//! - no reader, however slow, makes the writer wait.
//!
//! This crate knows no Kubernetes: a value is bytes and whatever its type remembers of them.

mod value;

mod write;

mod engine;
#[cfg(test)]
mod suite;

mod disk;
mod memory;

mod listeners;
mod narrow;
mod state;
mod window;

mod store;
mod watch;
mod writer;

pub use disk::Disk;
pub use engine::{CommitError, Engine, EngineError, Entry, Loaded, Record};
pub use memory::Memory;
pub use narrow::{Narrow, Read};
pub use state::Snapshot;
pub use store::{OpenError, Options, Store};
pub use value::{Key, Value};
pub use watch::{Compacted, Event, Watch};
pub use write::{Change, Expect, Refused, Write};
