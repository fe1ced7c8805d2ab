//! A value that knows its revision, and short ways to write it.

use std::{error::Error, sync::Arc};

use bytes::Bytes;
use skiff_store::{
    CommitError, Engine, EngineError, Expect, Key, Loaded, Options, Record, Refused, Store, Value, Write,
};
use tokio::sync::mpsc;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) revision: u64,
    pub(crate) bytes: Bytes,
}

impl Note {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }
}

impl Value for Note {
    fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    fn load(_: &Key, revision: u64, bytes: Bytes) -> Result<Self, Box<dyn Error + Send + Sync>> {
        if bytes.starts_with(b"unreadable") {
            return Err("not a note".into());
        }
        Ok(Self { revision, bytes })
    }
}

pub(crate) type Notes = Store<Note>;

pub(crate) fn open(engine: impl Engine) -> Notes {
    Store::open(engine, Options::default()).unwrap()
}

pub(crate) fn key(name: &str) -> Key {
    Key::new("notes", name)
}

pub(crate) fn put(key: Key, expect: Expect, text: impl Into<Bytes>) -> Write<Note> {
    let bytes = text.into();
    Write::put(key, expect, move |revision| Note { revision, bytes })
}

pub(crate) fn delete(key: Key, expect: Expect) -> Write<Note> {
    Write::delete(key, expect, |revision, last: &Note| Note { revision, bytes: last.bytes.clone() })
}

/// Puts, whatever was there.
pub(crate) async fn set(store: &Notes, name: &str, text: &str) -> Arc<Note> {
    store.write(put(key(name), Expect::Any, text.to_owned())).await.unwrap()
}

/// A result in a word or two, to compare.
pub(crate) fn word(result: &Result<Arc<Note>, Refused<Note>>) -> String {
    match result {
        Ok(note) => format!("{} at {}", note.text(), note.revision),
        Err(Refused::Exists(note)) => format!("exists at {}", note.revision),
        Err(Refused::Moved(note)) => format!("moved to {}", note.revision),
        Err(Refused::Missing) => "missing".into(),
        Err(Refused::Full(error)) => format!("full: {error}"),
        Err(Refused::Engine(error)) => format!("engine: {error}"),
        Err(Refused::Closed) => "closed".into(),
    }
}

/// An engine that commits when it is told to, so that a test decides what gathers behind a commit.
pub(crate) struct Gated<E> {
    pub(crate) inner: E,
    /// The sizes of the batches, as they come in.
    pub(crate) begun: mpsc::UnboundedSender<usize>,
    /// Whether the next commit succeeds.
    pub(crate) go: std::sync::mpsc::Receiver<bool>,
}

/// The test's end of a [`Gated`] engine.
pub(crate) struct Gate {
    pub(crate) begun: mpsc::UnboundedReceiver<usize>,
    pub(crate) go: std::sync::mpsc::Sender<bool>,
}

pub(crate) fn gated<E: Engine>(inner: E) -> (Gated<E>, Gate) {
    let (begun, begins) = mpsc::unbounded_channel();
    let (go, goes) = std::sync::mpsc::channel();
    (Gated { inner, begun, go: goes }, Gate { begun: begins, go })
}

impl<E: Engine> Engine for Gated<E> {
    fn load(&mut self) -> Result<Loaded, EngineError> {
        self.inner.load()
    }

    fn commit(&mut self, batch: &[Record]) -> Result<(), CommitError> {
        let _ = self.begun.send(batch.len());
        match self.go.recv() {
            Ok(true) => self.inner.commit(batch),
            _ => Err(CommitError::Failed(EngineError::new("commit", "the disk is gone"))),
        }
    }
}
