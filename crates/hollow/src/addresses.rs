//! Addresses that nobody answers: nodes have theirs in the range for benchmarks (RFC 2544), pods in the range that
//! carriers share (RFC 6598), so that neither is anybody's.

use std::net::Ipv4Addr;

const NODES: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const PODS: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 1);
/// 198.18.0.0/15 and 100.64.0.0/10, each without its ends.
const NODES_MAX: u32 = (1 << 17) - 2;
const PODS_MAX: u32 = (1 << 22) - 2;

/// The address of the node of this number; the range begins anew after 131,070.
pub(crate) fn node(number: usize) -> Ipv4Addr {
    nth(NODES, number, NODES_MAX)
}

/// The address of the pod of this number; the range begins anew after four million.
pub(crate) fn pod(number: usize) -> Ipv4Addr {
    nth(PODS, number, PODS_MAX)
}

fn nth(first: Ipv4Addr, number: usize, count: u32) -> Ipv4Addr {
    let offset = u32::try_from(number % count as usize).unwrap_or(0);
    Ipv4Addr::from(u32::from(first) + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_used_to_their_ends_and_then_again() {
        assert_eq!(node(0), Ipv4Addr::new(198, 18, 0, 1));
        assert_eq!(node(NODES_MAX as usize - 1), Ipv4Addr::new(198, 19, 255, 254));
        assert_eq!(node(NODES_MAX as usize), node(0));
        assert_eq!(pod(PODS_MAX as usize - 1), Ipv4Addr::new(100, 127, 255, 254));
    }
}
