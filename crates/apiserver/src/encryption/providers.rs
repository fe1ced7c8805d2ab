//! The table of providers: one row and one file each.

use super::{aescbc, aesgcm, secretbox};

/// What seals and opens values with one key.
pub(super) trait Cipher: Send + Sync {
    /// What stands on disk behind the name of the key; `about` is authenticated besides, where that can be done. Nothing if
    /// the machine has no randomness.
    fn seal(&self, plain: &[u8], about: &str) -> Option<Vec<u8>>;
    /// The value again; nothing if this key did not seal it.
    fn open(&self, sealed: &[u8], about: &str) -> Option<Vec<u8>>;
}

/// One provider.
pub(super) struct Provider {
    /// As a configuration and an envelope name it.
    pub(super) name: &'static str,
    /// How long its keys may be, in bytes.
    pub(super) lengths: &'static [usize],
    /// A key at work, if it has one of these lengths.
    pub(super) cipher: fn(&[u8]) -> Option<Box<dyn Cipher>>,
}

/// Every provider that has keys.
pub(super) static ALL: &[&Provider] = &[&aesgcm::PROVIDER, &aescbc::PROVIDER, &secretbox::PROVIDER];
