//! Service addresses: every usable one of a range, each with its owner.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

/// Why an address cannot be had; upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unavailable {
    #[error("provided IP is already allocated")]
    Taken,
    #[error("the provided IP ({0}) is not in the valid range. The range of valid IPs is {1}")]
    OutOfRange(IpAddr, IpNet),
}

/// The range and who has what in it.
pub(super) struct Addresses {
    range: IpNet,
    owners: HashMap<IpAddr, Arc<str>>,
}

/// Offsets never given unless asked for: the `kubernetes` service and, by custom, cluster DNS.
const RESERVED: [u128; 2] = [1, 10];

impl Addresses {
    pub(super) fn new(range: IpNet) -> Self {
        Self { range: range.trunc(), owners: HashMap::new() }
    }

    /// The range itself.
    pub(super) fn range(&self) -> IpNet {
        self.range
    }

    /// How many usable addresses there are: neither the network's own nor, for IPv4, the broadcast address.
    fn usable(&self) -> u128 {
        let bits = u32::from(self.range.max_prefix_len() - self.range.prefix_len());
        let size = 1_u128.checked_shl(bits).unwrap_or(u128::MAX);
        let ends = if matches!(self.range, IpNet::V4(_)) { 2 } else { 1 };
        size.saturating_sub(ends)
    }

    /// The address at an offset from the network's own.
    fn at(&self, offset: u128) -> IpAddr {
        match self.range.network() {
            IpAddr::V4(network) => {
                let offset = u32::try_from(offset).unwrap_or(u32::MAX);
                Ipv4Addr::from(u32::from(network).saturating_add(offset)).into()
            }
            IpAddr::V6(network) => Ipv6Addr::from(u128::from(network).saturating_add(offset)).into(),
        }
    }

    fn offset(&self, address: IpAddr) -> Option<u128> {
        let offset = match (address, self.range.network()) {
            (IpAddr::V4(address), IpAddr::V4(network)) => {
                u128::from(u32::from(address).checked_sub(u32::from(network))?)
            }
            (IpAddr::V6(address), IpAddr::V6(network)) => {
                u128::from(address).checked_sub(u128::from(network))?
            }
            _ => return None,
        };
        (1..=self.usable()).contains(&offset).then_some(offset)
    }

    /// The first usable one.
    pub(super) fn first(&self) -> Option<IpAddr> {
        (self.usable() > 0).then(|| self.at(1))
    }

    /// Gives this address.
    pub(super) fn take(&mut self, address: IpAddr, owner: &Arc<str>) -> Result<(), Unavailable> {
        if self.offset(address).is_none() {
            return Err(Unavailable::OutOfRange(address, self.range));
        }
        match self.owners.get(&address) {
            Some(_) => Err(Unavailable::Taken),
            None => {
                self.owners.insert(address, Arc::clone(owner));
                Ok(())
            }
        }
    }

    /// Gives any address: a random one of the upper part first, since the lower is for those who ask by number.
    pub(super) fn any(&mut self, owner: &Arc<str>) -> Option<IpAddr> {
        let usable = self.usable();
        let low = (usable / 16).clamp(16, 256).min(usable);
        let (from, upper) = (low + 1, usable - low);
        let start = if upper == 0 { 0 } else { rand::random_range(0..upper) };
        let high_part = (0..upper).map(|step| from + (start + step) % upper);
        let low_part = (1..=low).filter(|offset| !RESERVED.contains(offset));
        // At most as many tries as there are owners, plus one, find a free one.
        let free = high_part.chain(low_part).find(|offset| !self.owners.contains_key(&self.at(*offset)))?;
        let address = self.at(free);
        self.owners.insert(address, Arc::clone(owner));
        Some(address)
    }

    /// Takes an address back, if it is the owner's.
    pub(super) fn release(&mut self, address: IpAddr, owner: &str) {
        if self.owners.get(&address).is_some_and(|own| &**own == owner) {
            self.owners.remove(&address);
        }
    }
}
