//! Service addresses: who has which. The ranges they come from are given with each call, since they come and go.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::range::Range;

/// Why an address cannot be had; upstream's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unavailable {
    #[error("provided IP is already allocated")]
    Taken,
    #[error("the provided network does not match the current range")]
    OutOfRange,
}

/// Who has what.
#[derive(Default)]
pub(super) struct Addresses {
    owners: HashMap<IpAddr, Arc<str>>,
}

impl Addresses {
    /// Notes that somebody has this address, wherever it is.
    pub(super) fn hold(&mut self, address: IpAddr, owner: &Arc<str>) -> Result<(), Unavailable> {
        match self.owners.get(&address) {
            Some(_) => Err(Unavailable::Taken),
            None => {
                self.owners.insert(address, Arc::clone(owner));
                Ok(())
            }
        }
    }

    /// Gives this address.
    pub(super) fn take(
        &mut self,
        address: IpAddr,
        ranges: &[Range],
        owner: &Arc<str>,
    ) -> Result<(), Unavailable> {
        if !ranges.iter().any(|range| range.holds(address)) {
            return Err(Unavailable::OutOfRange);
        }
        self.hold(address, owner)
    }

    /// Gives any address of the first range that has one.
    pub(super) fn any(&mut self, ranges: &[Range], owner: &Arc<str>) -> Option<IpAddr> {
        // At most as many tries as there are owners, plus one a range, find a free one.
        let mut all = ranges.iter().flat_map(|range| range.candidates());
        let address = all.find(|address| !self.owners.contains_key(address))?;
        self.owners.insert(address, Arc::clone(owner));
        Some(address)
    }

    /// Whose an address is: a service's or an IPAddress object's uid.
    pub(super) fn owner(&self, address: IpAddr) -> Option<&Arc<str>> {
        self.owners.get(&address)
    }

    /// Takes an address back, if it is the owner's.
    pub(super) fn release(&mut self, address: IpAddr, owner: &str) {
        if self.owners.get(&address).is_some_and(|own| &**own == owner) {
            self.owners.remove(&address);
        }
    }
}
