//! Node ports: every port of a range, each with its owner.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Why a port cannot be had; upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unavailable {
    #[error("provided port is already allocated")]
    Taken,
    #[error("provided port is not in the valid range. The range of valid ports is {0}-{1}")]
    OutOfRange(i32, i32),
}

/// The range and who has what in it.
pub(super) struct Ports {
    range: RangeInclusive<i32>,
    owners: HashMap<i32, Arc<str>>,
}

impl Ports {
    pub(super) fn new(range: RangeInclusive<u16>) -> Self {
        Self { range: i32::from(*range.start())..=i32::from(*range.end()), owners: HashMap::new() }
    }

    /// Gives this port.
    pub(super) fn take(&mut self, port: i32, owner: &Arc<str>) -> Result<(), Unavailable> {
        if !self.range.contains(&port) {
            return Err(Unavailable::OutOfRange(*self.range.start(), *self.range.end()));
        }
        if self.owners.contains_key(&port) {
            return Err(Unavailable::Taken);
        }
        self.owners.insert(port, Arc::clone(owner));
        Ok(())
    }

    /// Gives any port.
    pub(super) fn any(&mut self, owner: &Arc<str>) -> Option<i32> {
        let (first, size) = (*self.range.start(), self.range.end() - self.range.start() + 1);
        let start = rand::random_range(0..size.max(1));
        let port = (0..size)
            .map(|step| first + (start + step) % size)
            .find(|port| !self.owners.contains_key(port))?;
        self.owners.insert(port, Arc::clone(owner));
        Some(port)
    }

    /// Takes a port back, if it is the owner's.
    pub(super) fn release(&mut self, port: i32, owner: &str) {
        if self.owners.get(&port).is_some_and(|own| &**own == owner) {
            self.owners.remove(&port);
        }
    }
}
