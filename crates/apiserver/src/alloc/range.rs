//! A range of service addresses: which of them may be given, and in what order they are tried. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::families::Family;

/// A range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range(IpNet);

/// Offsets never given unless asked for: the `kubernetes` service and, by custom, cluster DNS.
const RESERVED: [u128; 2] = [1, 10];

impl Range {
    pub(super) fn new(net: IpNet) -> Self {
        Self(net.trunc())
    }

    /// The range as it is written.
    pub(super) fn net(&self) -> IpNet {
        self.0
    }

    /// What addresses it holds.
    pub(super) fn family(&self) -> Family {
        Family::of(self.0.addr())
    }

    /// How many usable addresses there are: neither the network's own nor, for IPv4, the broadcast address.
    fn usable(&self) -> u128 {
        let bits = u32::from(self.0.max_prefix_len() - self.0.prefix_len());
        let size = 1_u128.checked_shl(bits).unwrap_or(u128::MAX);
        size.saturating_sub(if self.family() == Family::Four { 2 } else { 1 })
    }

    /// The address at an offset from the network's own.
    fn at(&self, offset: u128) -> IpAddr {
        match self.0.network() {
            IpAddr::V4(network) => {
                let offset = u32::try_from(offset).unwrap_or(u32::MAX);
                Ipv4Addr::from(u32::from(network).saturating_add(offset)).into()
            }
            IpAddr::V6(network) => Ipv6Addr::from(u128::from(network).saturating_add(offset)).into(),
        }
    }

    /// True for an address that may be given.
    pub(super) fn holds(&self, address: IpAddr) -> bool {
        let offset = match (address, self.0.network()) {
            (IpAddr::V4(address), IpAddr::V4(network)) => {
                u32::from(address).checked_sub(u32::from(network)).map(u128::from)
            }
            (IpAddr::V6(address), IpAddr::V6(network)) => {
                u128::from(address).checked_sub(u128::from(network))
            }
            _ => None,
        };
        offset.is_some_and(|offset| (1..=self.usable()).contains(&offset))
    }

    /// The first usable one.
    pub(super) fn first(&self) -> Option<IpAddr> {
        (self.usable() > 0).then(|| self.at(1))
    }

    /// Every address that may be given unasked: from a random one of the upper part on, then the lower part, which is
    /// for those who ask by number.
    pub(super) fn candidates(self) -> impl Iterator<Item = IpAddr> {
        let usable = self.usable();
        let low = (usable / 16).clamp(16, 256).min(usable);
        let (from, upper) = (low + 1, usable - low);
        let start = if upper == 0 { 0 } else { rand::random_range(0..upper) };
        let high_part = (0..upper).map(move |step| from + (start + step) % upper);
        let low_part = (1..=low).filter(|offset| !RESERVED.contains(offset));
        high_part.chain(low_part).map(move |offset| self.at(offset))
    }
}
