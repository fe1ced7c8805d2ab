//! Secrets, and whatever else is configured, are ciphertext on disk: an engine around the store's engine.
//!
//! In memory everything is plain; only what goes to disk passes here. Follows upstream's EncryptionConfiguration and its
//! envelopes (`k8s:enc:PROVIDER:v1:KEY:`, then what the provider makes of the value), with table and name as what is
//! authenticated besides where the provider can do that, so that nobody swaps two values. What an older key or another
//! provider sealed, or none, is sealed anew at the next start.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use skiff_store::{CommitError, Engine, EngineError, Key, Loaded, Record};

mod aescbc;
mod aesgcm;
mod configuration;
mod providers;
mod secretbox;

use providers::Cipher;

/// What every envelope begins with.
const ENVELOPE: &str = "k8s:enc:";

/// A configuration that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncryptionError {
    /// It cannot be read.
    #[error("read the encryption configuration: {0}")]
    Unreadable(String),
    /// Everything that is wrong with it.
    #[error("{0}")]
    Invalid(String),
}

/// How the values of some resources are sealed: the first way writes, all of them read.
type Ways = Vec<Way>;

enum Way {
    Plain,
    Sealed {
        /// `k8s:enc:PROVIDER:v1:KEY:`
        head: String,
        cipher: Box<dyn Cipher>,
    },
}

/// What a part of a configuration is about.
#[derive(Debug, PartialEq, Eq)]
enum Whom {
    /// `*.*`
    All,
    /// `*.GROUP`
    Group(String),
    /// The resource of this table.
    Table(String),
}

impl Whom {
    fn is(&self, table: &str) -> bool {
        match self {
            Self::All => true,
            Self::Group(group) => *group == table.split_once('/').map_or("", |(group, _)| group),
            Self::Table(own) => own == table,
        }
    }
}

/// What is sealed how.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    /// The first that fits a table has it.
    parts: Arc<Vec<(Vec<Whom>, Ways)>>,
    /// What is on disk in another way than it would be written now.
    stale: Arc<Mutex<Vec<Key>>>,
}

impl Keys {
    /// Reads an EncryptionConfiguration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn parse(yaml: &str) -> Result<Self, EncryptionError> {
        Ok(Self { parts: Arc::new(configuration::parse(yaml)?), stale: Arc::default() })
    }

    /// What should be written again; asked once, after the store has been opened.
    pub(crate) fn stale(&self) -> Vec<Key> {
        std::mem::take(&mut self.stale.lock())
    }

    fn ways(&self, key: &Key) -> Option<&Ways> {
        let (_, ways) = self.parts.iter().find(|(whom, _)| whom.iter().any(|whom| whom.is(&key.table)))?;
        Some(ways)
    }

    fn seal(&self, key: &Key, plain: &Bytes) -> Result<Bytes, EngineError> {
        let Some(Way::Sealed { head, cipher }) = self.ways(key).and_then(|ways| ways.first()) else {
            return Ok(plain.clone());
        };
        let failed = || EngineError::new(format!("seal {key}"), "the cipher failed");
        let sealed = cipher.seal(plain, &key.to_string()).ok_or_else(failed)?;
        Ok([head.as_bytes(), &sealed].concat().into())
    }

    fn open(&self, key: &Key, bytes: Bytes) -> Result<Bytes, EngineError> {
        if !bytes.starts_with(ENVELOPE.as_bytes()) {
            if self.ways(key).is_some_and(|ways| !matches!(ways.first(), Some(Way::Plain) | None)) {
                self.stale.lock().push(key.clone());
            }
            return Ok(bytes);
        }
        let failed = |why: &str| EngineError::new(format!("open {key}"), why.to_owned());
        let ways = self.ways(key).ok_or_else(|| failed("it is encrypted and no key is configured"))?;
        for (index, way) in ways.iter().enumerate() {
            let Way::Sealed { head, cipher } = way else { continue };
            let sealed = bytes.strip_prefix(head.as_bytes());
            let Some(plain) = sealed.and_then(|sealed| cipher.open(sealed, &key.to_string())) else {
                continue;
            };
            if index > 0 {
                self.stale.lock().push(key.clone());
            }
            return Ok(plain.into());
        }
        Err(failed("no configured key opens it"))
    }
}

pub use configuration::fresh as fresh_configuration;

/// An engine whose disk sees ciphertext.
pub(crate) struct Sealed {
    inner: Box<dyn Engine>,
    keys: Keys,
}

impl Sealed {
    pub(crate) fn new(inner: Box<dyn Engine>, keys: Keys) -> Self {
        Self { inner, keys }
    }
}

impl Engine for Sealed {
    fn load(&mut self) -> Result<Loaded, EngineError> {
        let mut loaded = self.inner.load()?;
        for entry in &mut loaded.entries {
            entry.bytes = self.keys.open(&entry.key, std::mem::take(&mut entry.bytes))?;
        }
        Ok(loaded)
    }

    fn commit(&mut self, batch: &[Record]) -> Result<(), CommitError> {
        if !batch.iter().any(|record| self.keys.ways(&record.key).is_some()) {
            return self.inner.commit(batch);
        }
        let seal = |record: &Record| {
            let bytes = record.bytes.as_ref().map(|bytes| self.keys.seal(&record.key, bytes)).transpose()?;
            Ok(Record { bytes, ..record.clone() })
        };
        let batch: Result<Vec<_>, EngineError> = batch.iter().map(seal).collect();
        self.inner.commit(&batch.map_err(CommitError::Failed)?)
    }

    fn settle(&mut self) -> Result<(), CommitError> {
        self.inner.settle()
    }
}

#[cfg(test)]
mod tests;
