//! What is stored, and under what name.
//!
//! A value is whatever its owner wants to find again without decoding: the store asks only for the bytes that
//! survive a restart. It must not look into them.

use std::{error::Error, fmt, sync::Arc};

use bytes::Bytes;

/// A value the store can keep.
pub trait Value: Send + Sync + 'static {
    /// The durable form; handed to the engine as it is.
    fn bytes(&self) -> &Bytes;

    /// The value again, from its durable form; called for every live entry when a store is opened.
    fn load(key: &Key, revision: u64, bytes: Bytes) -> Result<Self, Box<dyn Error + Send + Sync>>
    where
        Self: Sized;
}

/// The name of a value: a table and a name in it. Watches and snapshots are of one table.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key {
    /// The table, for example `pods` or `apps/deployments`.
    pub table: Arc<str>,
    /// The name in that table, for example `default/web` or `node1`.
    pub name: Arc<str>,
}

impl Key {
    /// A key from its two parts.
    pub fn new(table: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { table: table.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.table, self.name)
    }
}
