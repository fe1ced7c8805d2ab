//! An engine that keeps everything in memory, for tests.
//!
//! A clone shares the contents, as a second opening of the same file would; that is how tests "restart" a store.
//! It must stay as dumb as it is: it is what the disk is compared with.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{CommitError, Engine, EngineError, Entry, Key, Loaded, Record};

/// An engine without durability.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    live: BTreeMap<Key, (u64, Bytes)>,
    revision: u64,
}

impl Engine for Memory {
    fn load(&mut self) -> Result<Loaded, EngineError> {
        let contents = self.0.lock();
        let entries = contents.live.iter();
        let entries = entries.map(|(key, (revision, bytes))| Entry {
            key: key.clone(),
            revision: *revision,
            bytes: bytes.clone(),
        });
        Ok(Loaded { entries: entries.collect(), revision: contents.revision })
    }

    fn commit(&mut self, batch: &[Record]) -> Result<(), CommitError> {
        let mut contents = self.0.lock();
        for record in batch {
            contents.revision = record.revision;
            match &record.bytes {
                Some(bytes) => contents.live.insert(record.key.clone(), (record.revision, bytes.clone())),
                None => contents.live.remove(&record.key),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::{self, Rig};

    impl Rig for Memory {
        fn open(&self) -> Box<dyn Engine> {
            Box::new(self.clone())
        }
    }

    #[tokio::test]
    async fn memory_passes_the_suite() {
        suite::check(Memory::default).await;
    }
}
