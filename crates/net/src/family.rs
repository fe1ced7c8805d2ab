//! The two families of addresses, and what differs between them: numbers, sizes, ranges that mean something.
//!
//! Everything that goes to the kernel is planned and written once, for either family; this is the only place that says
//! which bytes that makes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Four,
    /// IPv6.
    Six,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Four, Self::Six];

    /// An address' family.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Four } else { Self::Six }
    }

    /// The families of some ranges, each once, in the order of the ranges.
    pub fn of_all<'a>(ranges: impl IntoIterator<Item = &'a IpNet>) -> Vec<Self> {
        let mut all = Vec::new();
        for family in ranges.into_iter().map(|net| Self::of(net.addr())) {
            if !all.contains(&family) {
                all.push(family);
            }
        }
        all
    }

    /// Whether an address is one of it.
    pub fn has(self, address: IpAddr) -> bool {
        Self::of(address) == self
    }

    /// Whether a range is one of it.
    pub fn holds(self, net: &IpNet) -> bool {
        self.has(net.addr())
    }

    /// The kernel's number for it, the same for sockets, routes and packet filters.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Four => 2,
            Self::Six => 10,
        }
    }

    /// The size of an address in registers of four bytes.
    pub(crate) fn words(self) -> u8 {
        match self {
            Self::Four => 1,
            Self::Six => 4,
        }
    }

    /// The size of an address in bytes.
    pub(crate) fn bytes(self) -> u32 {
        u32::from(self.words()) * 4
    }

    /// The address that means any.
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::Four => Ipv4Addr::UNSPECIFIED.into(),
            Self::Six => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// Every address there is.
    pub(crate) fn everything(self) -> IpNet {
        match self {
            Self::Four => Ipv4Net::default().into(),
            Self::Six => Ipv6Net::default().into(),
        }
    }

    /// A machine's talk with itself.
    pub(crate) fn loopback(self) -> IpNet {
        match self {
            Self::Four => Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(),
            Self::Six => Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128).into(),
        }
    }

    /// Addresses of groups.
    pub(crate) fn multicast(self) -> IpNet {
        match self {
            Self::Four => Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4).into(),
            Self::Six => Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8).into(),
        }
    }
}

/// An address as it stands in packets.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The address that stands so in packets.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(<[u8; 4]>::try_from(bytes).ok()?.into()),
        16 => Some(<[u8; 16]>::try_from(bytes).ok()?.into()),
        _ => None,
    }
}

/// An address as a number, and the address of a number.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// The address that is so many further on; the last there is if there are not so many.
pub fn further(address: IpAddr, steps: u128) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let steps = u32::try_from(steps).unwrap_or(u32::MAX);
            Ipv4Addr::from(u32::from(address).saturating_add(steps)).into()
        }
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).saturating_add(steps)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_alike_in_both_families() {
        for (net, tenth) in [("10.96.0.0/16", "10.96.0.10"), ("fd00:96::/112", "fd00:96::a")] {
            let net: IpNet = net.parse().unwrap();
            let ten = further(net.network(), 10);
            assert_eq!(ten, tenth.parse::<IpAddr>().unwrap());
            assert_eq!(address(&octets(ten)), Some(ten));
            assert_eq!(number(ten) - number(net.network()), 10);
        }
        let nets = ["fd00::/8", "10.0.0.0/8", "fd01::/16"].map(|net| net.parse().unwrap());
        assert_eq!(Family::of_all(&nets), [Family::Six, Family::Four]);
    }
}
